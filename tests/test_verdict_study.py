"""The verdict's study: what the READMEs say is what its results files say."""

import runpy
from pathlib import Path

import pytest
import torch

from moe import results
from moe.nets.build import build_network
from moe.training_cost import step_flops

STUDY = Path(__file__).parents[1] / "experiments" / "verdict"
TABLE = runpy.run_path(str(STUDY / "table.py"))
README, TOP = STUDY / "README.md", STUDY.parents[1] / "README.md"


@pytest.mark.parametrize("name", TABLE["TABLES"])
def test_the_table_is_that_of_the_results_files(name: str) -> None:
    assert shown(README, name) == TABLE["TABLES"][name]().strip()


@pytest.mark.parametrize(("name", "folder"), TABLE["SUMMARIES"].items())
def test_the_summary_is_that_of_the_results_files(name: str, folder: Path) -> None:
    assert shown(TOP, name) == TABLE["summary"](folder).strip()


@pytest.mark.parametrize("folder", TABLE["SUMMARIES"].values())
def test_what_is_pictured_is_there(folder: Path) -> None:
    assert all((STUDY / file).is_file() for file in TABLE["pictures"](folder).values())


def shown(readme: Path, name: str = "") -> str:
    begin, end = TABLE["marks"](name)
    return readme.read_text().partition(begin)[2].partition(end)[0].strip()


def test_what_muon_would_add_is_what_the_readme_says() -> None:
    # These runs are from before it was counted: by their networks and epochs, over 45,000 images.
    passes, steps = {}, {}
    for rival in ("kernels", "wider", "tuned"):
        found = results.read(STUDY / "results" / rival / "0" / "results.json")
        became, recipe = found["matched"], found["config"]["base"]["recipe"]
        with torch.device("meta"):
            net = build_network(became["net"], (3, 32, 32), 10)
        epochs = became["members"] * became["epochs"]
        passes[rival] = found["cost"]["training_flops"]["total"]
        steps[rival] = epochs * step_flops(net, recipe, found["data"]["sizes"]["train"])
    added = {rival: 100 * steps[rival] / passes[rival] for rival in passes}
    whole = {rival: passes[rival] + steps[rival] for rival in passes}
    assert max(added["wider"], added["tuned"]) < 0.55
    said = " ".join(README.read_text().split())
    assert f"training `kernels` costs {added['kernels']:.1f} % more, and the others half a percent at most" in said
    assert f"it is {whole['kernels'] / whole['wider']:.2f} times what `wider` costs" in said
    assert f"and {whole['kernels'] / whole['tuned']:.2f} times what `tuned` does" in said


def test_every_rival_of_the_sweep_is_explained() -> None:
    said = (STUDY / "README.md").read_text()
    for path in sorted((STUDY.parents[1] / "conf" / "rival").glob("*.yaml")):
        assert f"`{path.stem}`" in said, path.stem
