"""The notebook's study: what its READMEs say is what its results files say."""

import runpy
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[1] / "experiments" / "notebook"
TABLE = runpy.run_path(str(STUDY / "table.py"))


@pytest.mark.parametrize("readme", TABLE["READMES"], ids=("the study's", "the project's"))
def test_the_table_is_that_of_the_results_files(readme: Path) -> None:
    begin, end = TABLE["MARKS"]
    shown = readme.read_text().partition(begin)[2].partition(end)[0]
    assert shown.strip() == TABLE["table"](TABLE["READMES"][readme]).strip()


def test_every_arm_of_the_command_has_a_column() -> None:
    assert f"for arm in {' '.join(TABLE['ARMS'])}; do" in (STUDY / "run.sh").read_text()


def test_mean_and_spread_by_hand() -> None:
    assert TABLE["cell"]([0.80, 0.82], "") == "81.00 ± 1.41"  # half of 2 is 1, times the square root of 2
    assert TABLE["cell"]([-0.015], "+") == "-1.50" and TABLE["cell"]([], "") == "-"
    found = [{"verdict": {"base": {"ci95": interval}}} for interval in ([0.1, 0.2], [-0.1, 0.2], [-0.3, -0.1])]
    assert TABLE["clear"](found, "base") == " (better in 1, worse in 1 of 3)"
    assert TABLE["clear"](found[1:2], "base") == " (clear in none of 1)"
