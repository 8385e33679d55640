"""The verdict's study: what the READMEs say is what its results files say."""

import runpy
from pathlib import Path
from statistics import fmean, median

import pytest

from moe import verdict
from moe.comparison.estimate import Estimate
from moe.verdict import Contest, Latency

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


def compared(folder: Path) -> dict[tuple[str, str], Contest]:
    return {(one.one, one.other): one for one in verdict.contests(verdict.rivals(TABLE["read"](folder)))}


def points(one: Contest, digits: int = 1) -> str:
    return f"{abs(100 * one.difference.mean):.{digits}f}"


def between(one: Estimate) -> str:
    assert one.ci95 is not None and one.sign
    return "[{:.1f}, {:.1f}]".format(*sorted(abs(100 * end) for end in one.ci95))


def test_what_the_readme_at_the_top_says_of_specialists() -> None:
    held, narrow = compared(TABLE["RESULTS"]), compared(TABLE["NARROW"])
    hard = {other: one for (name, other), one in held.items() if name == "hard"}
    cascades = sorted(held["cascaded", other].difference.mean for other in ("cascade", "tuned_cascade"))
    said = " ".join(TOP.read_text().split())
    for sentence in (
        f"are {points(hard['ensemble'])} points ahead of an average of two bases, and {points(hard['tuned'])} ahead of",
        f"they are {100 * cascades[0]:.1f} to {100 * cascades[1]:.1f} ahead of cascades of bases",
        f"one network with more channels is {points(hard['wider'])} ahead at the same cost "
        f"{between(hard['wider'].difference)}: within chance once all comparisons are corrected for, but "
        f"in networks half as wide it is {points(narrow['hard', 'wider'])} ahead, beyond it",
        f"these are {points(hard['routed uniform'])} ahead of a plain average of base and specialist",
        f"the routed specialist alone is {points(hard['routed specialists'])} ahead of them, within chance",
    ):
        assert sentence in said
    ahead = [hard["ensemble"], hard["tuned"], hard["routed uniform"]]
    ahead += [held["cascaded", "cascade"], held["cascaded", "tuned_cascade"]]
    assert {one.sign for one in ahead} == {1} and narrow["hard", "wider"].sign == -1
    assert [hard[name].sign for name in ("wider", "longer", "routed specialists")] == [0, 0, 0]


def test_what_the_readme_at_the_top_says_of_mixed_kernels() -> None:
    held, narrow = compared(TABLE["RESULTS"]), compared(TABLE["NARROW"])
    said = " ".join(TOP.read_text().split())
    tuned, ensemble, wider = (held["kernels", other] for other in ("tuned", "ensemble", "wider"))
    assert (
        f"It is ahead of averages of two networks by {points(tuned)} and {points(ensemble)} points and of the mixture "
        f"of specialists by {points(held['hard', 'kernels'])}; its {points(wider)} on one network with more channels "
        f"{between(wider.difference)} are within chance once all comparisons are corrected for."
    ) in said
    assert (tuned.sign, ensemble.sign, held["hard", "kernels"].sign, wider.sign) == (1, 1, -1, 0)
    own = [one for (name, _), one in narrow.items() if name == "kernels"]
    tuned, ensemble, wider = (narrow["kernels", other] for other in ("tuned", "ensemble", "wider"))
    assert {one.sign for one in own} == {1}  # of every rival
    assert (
        f"it is ahead of every rival: of those averages by {points(tuned)} and {points(ensemble)}, of the mixture of "
        f"specialists by {points(narrow['hard', 'kernels'])}, and of one network with more channels by {points(wider)} "
        f"{between(wider.difference)}, on the fewer images of `val` by {100 * wider.on_val.mean:.1f} "
        f"{between(wider.on_val)}."
    ) in said


def test_what_the_readme_at_the_top_says_of_wide_networks() -> None:
    held = compared(STUDY / "s")
    base, ensemble = held["hard", "base"], held["hard", "ensemble"]
    assert base.difference.ci95 is not None and ensemble.difference.ci95 is not None
    low, high = (100 * end for end in base.difference.ci95)
    less, more = sorted(-100 * end for end in ensemble.difference.ci95)
    said = " ".join(TOP.read_text().split())
    assert (
        f"over three seeds the mixture is {points(base, 2)} points above its base [{low:+.2f}, {high:+.2f}], and an "
        f"average of two bases, at the same cost to run, {points(ensemble, 2)} above the mixture [{less:+.2f}, "
        f"{more:+.2f}]; both are within chance, as is what parts it from the base trained for as long as all its "
        f"networks ({100 * held['hard', 'longer'].difference.mean:+.2f}) and from one wider network "
        f"({100 * held['hard', 'wider'].difference.mean:+.2f})."
    ) in said
    halves = [100 * held["hard", other].difference.half for other in ("base", "ensemble", "longer", "wider")]
    assert f"leave each of these open by {min(halves):.1f} to {max(halves):.1f} points either way." in said
    assert {held["hard", other].sign for other in ("base", "ensemble", "longer", "wider")} == {0}
