"""What is installed is what the checkout has."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "moe").rglob("__init__.py")}
    assert set(listed) == there | {"moe.conf", "hydra_plugins.moe_sweeps"}


def test_every_floor_has_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    floors = [line for line in lines if ">=" in line and not line.startswith(("requires", "addopts"))]
    # All that are installed, the extras' and the developers' included; of those alone `moe` itself has none.
    assert len(floors) >= 20 and all(re.search(r">=[\d.]+.*\]?.*# \w", line) for line in floors)
