"""The verdict's study: what the READMEs say is what its results files say."""

import runpy
from pathlib import Path
from statistics import fmean, median

import pytest

from moe import verdict
from moe.verdict import Latency

STUDY = Path(__file__).parents[1] / "experiments" / "verdict"
TABLE = runpy.run_path(str(STUDY / "table.py"))
README, TOP = STUDY / "README.md", STUDY.parents[1] / "README.md"


@pytest.mark.parametrize("name", TABLE["TABLES"])
def test_the_table_is_that_of_the_results_files(name: str) -> None:
    assert shown(README, name) == TABLE["TABLES"][name]().strip()


def test_the_summary_is_that_of_the_results_files() -> None:
    assert shown(TOP) == TABLE["summary"](TABLE["RESULTS"]).strip()


@pytest.mark.parametrize("folder", [TABLE["RESULTS"], TABLE["NARROW"]])
def test_what_is_pictured_is_there(folder: Path) -> None:
    assert all((STUDY / file).is_file() for file in TABLE["pictures"](folder).values())


def shown(readme: Path, name: str = "") -> str:
    begin, end = TABLE["marks"](name)
    return readme.read_text().partition(begin)[2].partition(end)[0].strip()


def test_what_stands_against_mixed_kernels_is_what_the_readme_says() -> None:
    found = verdict.rivals(TABLE["read"](STUDY / "results"))
    kernels, *others = (found[name] for name in ("kernels", "wider", "tuned", "longer"))
    dearer = [f"{kernels.first.training_flops / other.first.training_flops:.2f}" for other in others]
    assert dearer[1] == dearer[2]  # said of both at once
    ahead = 100 * (fmean(run.val for run in kernels.runs) - fmean(run.val for run in others[0].runs))
    seconds = Latency.read(STUDY / "results" / "latency.json").seconds
    slower = [f"{median(seconds['kernels'][size]) / median(seconds['wider'][size]):.1f}" for size in ("1", "1024")]
    said = " ".join(README.read_text().split())
    for sentence in (
        f"It has {kernels.first.parameters / others[0].first.parameters:.1f} times the parameters of `wider`.",
        f"to train {dearer[0]} times as much, for Muon turns each of its kernels, and {dearer[1]} times as much as",
        f"smaller on `val`, {ahead:.2f}, where",
        f"an image takes `kernels` {slower[0]} times as long as `wider`, {slower[1]} times among 1,024",
    ):
        assert sentence in said


def test_every_rival_of_the_sweep_is_explained() -> None:
    said = (STUDY / "README.md").read_text()
    for path in sorted((STUDY.parents[1] / "conf" / "rival").glob("*.yaml")):
        assert f"`{path.stem}`" in said, path.stem
