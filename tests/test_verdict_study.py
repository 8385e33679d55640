"""The verdict's study: what the READMEs say is what its results files say."""

import runpy
from pathlib import Path

import pytest

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


def test_every_rival_of_the_sweep_is_explained() -> None:
    said = (STUDY / "README.md").read_text()
    for path in sorted((STUDY.parents[1] / "conf" / "rival").glob("*.yaml")):
        assert f"`{path.stem}`" in said, path.stem
