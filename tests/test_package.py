"""What is installed is what the checkout has."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "moe").rglob("__init__.py")}
    assert set(listed) == there | {"moe.conf", "hydra_plugins.moe_sweeps"}


def test_every_floor_has_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]\n")[0].splitlines()
    dependencies = [line for line in lines if '"' in line]
    assert dependencies and all(">=" in line and "# " in line for line in dependencies)
