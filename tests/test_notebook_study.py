"""The notebook's study: what its READMEs say is what its results files say."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

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


def test_what_the_readmes_say_was_learnt() -> None:
    text, top = (" ".join(readme.read_text().split()) for readme in TABLE["READMES"])
    arms = {arm: TABLE["read"](arm) for arm in TABLE["ARMS"]}

    def mean(arm: str, number: Callable[[dict[str, Any]], float]) -> float:
        return 100 * fmean(number(found) for found in arms[arm])

    own = {key: mean("notebook", number) - TABLE["NOTEBOOK"][key] for key, _, number in TABLE["ROWS"] if key}
    near = max(abs(own[key]) for key in ("router", "artificial", "natural"))
    assert (
        f"come within {near:.2f} points of what it reports, and the mixture is {own['mixture']:.1f} above it." in text
    )
    assert f"The base alone is higher, by {own['base']:.1f}," in text
    assert abs(100 * fmean(TABLE["after"](TABLE["EPOCHS"])) - TABLE["AFTER"]) < 0.11
    gain, gates = (mean("notebook", TABLE["over"](name)) for name in ("base", "uniform"))
    theirs = TABLE["NOTEBOOK"]["mixture"] - TABLE["NOTEBOOK"]["base"]
    assert f"{gain:.1f} points and not {theirs:.1f}." in text
    said = f"of the {gain:.1f} points the gates add {gates:.1f} to the average's {gain - gates:.1f}, in none of three"
    assert said in text and TABLE["clear"](arms["notebook"], "uniform") == " (clear in none of 3)"
    assert f"of {gain:.1f} points the plain average of base and specialist has {gain - gates:.1f}." in top
    assert f"Without the leak they add {mean('leak_free', TABLE['over']('uniform')):.1f}, clearly" in text
    first = next(found for found in arms["notebook"] if found["seed"] == 0)
    (leak_free,) = arms["leak_free"]
    lost = {key: 100 * (number(first) - number(leak_free)) for key, _, number in TABLE["ROWS"] if key}
    networks = [lost[key] for key in ("base", "router", "artificial", "natural")]
    ends = [100 * found["test"]["accuracy"] for found in (first, leak_free)]
    assert (
        f"{min(networks):.1f} to {max(networks):.1f} points in each network and {lost['mixture']:.1f} in the mixture "
        f"(of seed 0, {ends[0]:.2f} to {ends[1]:.2f})"
    ) in text
    assert f"ahead of the average by {mean('held_out', TABLE['over']('uniform')):.1f} points in the mean" in text
    assert TABLE["clear"](arms["held_out"], "uniform") == " (better in 1 of 3)"
    collapsed = [found["seed"] for found in arms["held_out"] if TABLE["stage"]("natural")(found) < 0.2]
    assert collapsed == [1, 2] and "In seeds 1 and 2 of `held_out` the natural specialist never left its start" in text
    others = [TABLE["stage"]("natural")(found) for arm in ("notebook", "leak_free") for found in arms[arm]]
    assert min(others) > 0.7
    perfect = [-mean(arm, TABLE["over"]("oracle_router")) for arm in ("notebook", "held_out")]
    assert (
        f"would add {perfect[0]:.1f} points under the notebook's protocol and {perfect[1]:.1f} in `held_out`." in text
    )
    wrong, error = (
        [mean(arm, number) for arm in ("notebook", "held_out")]
        for number in (
            lambda found: 1 - found["baselines"]["oracle_expert"]["accuracy"],
            lambda found: 1 - found["test"]["accuracy"],
        )
    )
    assert (
        f"({wrong[0]:.1f} of {error[0]:.1f} points of error under the notebook's protocol, {wrong[1]:.1f} of "
        f"{error[1]:.1f} in `held_out`)"
    ) in text
