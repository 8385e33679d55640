"""The verdict's study: what the READMEs say is what its results files say."""

import runpy
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "experiments" / "verdict"
TABLE = runpy.run_path(str(STUDY / "table.py"))
SHOWN = {
    "study": (STUDY / "README.md", "MARKS"),
    "tried": (STUDY / "README.md", "TRIED_MARKS"),
    "wide": (STUDY / "README.md", "WIDE_MARKS"),
    "gates": (STUDY / "README.md", "GATES_MARKS"),
    "summary": (STUDY.parents[1] / "README.md", "MARKS"),
}


@pytest.mark.parametrize("what", SHOWN)
def test_the_table_is_that_of_the_results_files(what: str) -> None:
    readme, marks = SHOWN[what]
    begin, end = TABLE[marks]
    assert readme.read_text().partition(begin)[2].partition(end)[0].strip() == TABLE[what]().strip()


def test_every_rival_of_the_sweep_is_explained() -> None:
    said = (STUDY / "README.md").read_text()
    for path in sorted((STUDY.parents[1] / "conf" / "rival").glob("*.yaml")):
        assert f"`{path.stem}`" in said, path.stem
