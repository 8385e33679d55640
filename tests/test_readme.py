"""What the README shows is tried as it stands there."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import moe
from moe.package import CONF, PACKAGE
from tests.commands import Commands

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
QUICK = ("base.recipe.epochs=1", "expert.recipe.epochs=1", "router.recipe.epochs=1", "gate.recipe.epochs=1")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the README's own network, gate and data set added, and images for the last."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(PACKAGE, folder / "moe", ignore=shutil.ignore_patterns("__pycache__"))
    if not (folder / "moe" / "conf").exists():
        shutil.copytree(CONF, folder / "conf")
    for block in blocks("python") + blocks("yaml"):
        if path := re.search(r"^# ((?:moe|conf)/\S+)", block, flags=re.MULTILINE):
            (folder / path[1]).write_text(block)
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 16), ("test", 4)):
        for name, bright in (("cat", 0), ("dog", 90), ("bus", 180)):
            (folder / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(bright, bright + 60, (8, 8, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / "images" / split / name / f"{number}.png")
    return folder


def test_an_experiment_of_ones_own_composes(changed: Path, commands: Commands) -> None:
    asked = ["-m", "moe.train", "experiment=mine", "--cfg", "job"]
    ran = commands.run(asked, changed, {**os.environ, "PYTHONPATH": str(changed)})
    assert ran.returncode == 0, ran.stderr
    assert "\nexperiment: mine\n" in f"\n{ran.stdout}" and "_target_: moe.nets.gates.MLPGate" in ran.stdout
    assert re.search(r"\n  weights: per_class\n", ran.stdout) and re.search(r"\n  width: 64\n", ran.stdout)


@pytest.mark.parametrize("command", re.findall(r"python -m moe\.train experiment=demo [^`\n]+", README))
def test_extensions_train(changed: Path, tmp_path: Path, command: str, commands: Commands) -> None:
    arguments = shlex.split(command)[1:]
    flags = (*QUICK, "logger=none", "report=false", "trainer.enable_progress_bar=false", f"hydra.run.dir={tmp_path}")
    ran = commands.run([*arguments, *flags], changed, {**os.environ, "PYTHONPATH": str(changed)})
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    wanted = {"net@base.net=softmax": ("base", "net", "_target_"), "gate=trusting": ("gate", "_target_")}
    for option, keys in wanted.items():
        if option in command:
            value = found["config"]
            for key in keys:
                value = value[key]
            assert option.rpartition("=")[2] in value
    if "data=mine" in command:
        assert found["data"]["sizes"] == {"train": 36, "gate": 6, "val": 6, "test": 12}
        assert set(found["test"]["branch"]) == {"animals", "vehicles"}
    elif "taxonomy" in command:
        ends = {"loose", "round", "tailed"} if "taxonomy=ends" in command else {"one", "two", "none"}
        assert set(found["test"]["branch"]) == ends


def test_extensions_are_shown() -> None:
    assert len(re.findall(r"python -m moe\.train experiment=demo [^`\n]+", README)) >= 4


def test_from_python(run: Path) -> None:
    (block,) = (b for b in blocks("python") if "moe.load" in b)
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    names: dict[str, object] = {"images": images, "moe": moe}
    exec(block.replace("runs/demo/TIME", str(run)), names)
    said, config = names["said"], names["config"]
    assert said.probabilities.shape == (2, 10)  # type: ignore[attr-defined]
    assert config.gate.net["width"] == 64  # type: ignore[attr-defined]


def test_under_a_trainer_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (b for b in blocks("python") if "Trainer(" in b)
    monkeypatch.chdir(tmp_path)  # in which Lightning leaves its logs
    short = "Trainer(max_epochs=2, enable_progress_bar=False, accelerator='cpu')"
    found: dict[str, Any] = {}
    exec(block.replace("Trainer(max_epochs=recipe.epochs)", short), found)
    said = found["trainer"].callback_metrics
    # Digits of four kinds, by chance 0.25; of 250 images the labels 0, 1, 8 and 9 alone.
    assert found["trainer"].current_epoch == 2 and said["val/accuracy"] > 0.5
    assert len(found["data"].examples("val")) < 250 and found["specialist"].net(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


def test_every_file_and_package_of_the_code_is_named() -> None:
    code = README[README.index("## The code") : README.index("## Make it yours")]
    files = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]
    missing = [
        name for name in (*files, *packages) if not re.search(rf"[`/]{name.removesuffix('.py').rstrip('/')}\b", code)
    ]
    assert not missing, f"README's section The code does not name {', '.join(missing)}"


def test_every_group_of_conf_is_named() -> None:
    for group in ("gate", "net", "experiment"):
        for path in (CONF / group).glob("*.yaml"):
            assert f"`{path.stem}`" in README, f"README does not name {group}={path.stem}"
