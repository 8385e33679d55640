"""The notebook's study: what its READMEs say is what its results files say."""

import json
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


def test_mean_and_interval_by_hand() -> None:
    # The standard error of 80 and 82 is 1; Student's t of one degree of freedom is 12.706.
    assert TABLE["cell"]([0.80, 0.82]) == "81.00 ±12.71"
    points = TABLE["difference"]
    assert TABLE["cell"]([0.01, 0.03], points) == "+2.00 [-10.71, +14.71]"
    assert TABLE["cell"]([-0.015], points) == "-1.50" and TABLE["cell"]([]) == "-"
    found = [{"verdict": {"base": {"ci95": interval}}} for interval in ([0.1, 0.2], [-0.1, 0.2], [-0.3, -0.1])]
    assert TABLE["clear"](found, "base") == " (better in 1, worse in 1 of 3)"
    assert TABLE["clear"](found[1:2], "base") == " (clear in none of 1)"


def test_results_that_are_not_the_studys_are_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLE["read"].__globals__, "HERE", tmp_path)
    results = tmp_path / "results" / "notebook" / "0" / "results.json"
    results.parent.mkdir(parents=True)
    found = {"seed": 0, "data": {"protocol": "held_out"}, "stages": {"base": {"key": "base-1"}}}
    results.write_text(json.dumps(found))
    with pytest.raises(SystemExit, match=r"^notebook, seed 0, is of data\.splits\.protocol=held_out, not notebook: "):
        TABLE["read"]("notebook")
    results.write_text(json.dumps({**found, "data": {"protocol": "notebook"}}))
    (results.parent / "base_curve.json").write_text(json.dumps({"key": "base-2", "test/accuracy": [0.5]}))
    with pytest.raises(SystemExit, match=r"base_curve\.json is of another base than the results beside it: run "):
        TABLE["after"](1)
