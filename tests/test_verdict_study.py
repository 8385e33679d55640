"""The verdict's study: what the READMEs say is what its results files say."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from moe import verdict
from moe.comparison.estimate import estimate
from moe.results import read
from moe.verdict import Latency
from tests.verdict_said import README, STUDY, TABLE, TOP, between, clocked, compared, minus, plus, points, shown

THRESHOLDS = STUDY.parent / "thresholds" / "results"


@pytest.mark.parametrize("name", TABLE["TABLES"])
def test_the_table_is_that_of_the_results_files(name: str) -> None:
    assert shown(README, name) == TABLE["TABLES"][name]().strip()


def test_the_summary_is_that_of_the_results_files() -> None:
    assert shown(TOP) == TABLE["summary"](TABLE["RESULTS"]).strip()
    assert shown(TOP, "first") == TABLE["first"](TABLE["RESULTS"]).strip()
    assert shown(TOP, "first, s") == TABLE["first"](STUDY / "s").strip()


def test_what_stands_against_mixed_kernels_is_what_the_readme_says() -> None:
    found = verdict.rivals(TABLE["read"](STUDY / "results"))
    kernels, *others = (found[name] for name in ("kernels", "wider", "tuned", "longer"))
    dearer = [f"{kernels.first.training_flops / other.first.training_flops:.2f}" for other in others]
    assert dearer[1] == dearer[2]  # said of both at once
    slower, least = clocked("results"), clocked("narrow")
    assert clocked("results", "hard") == ["1.1", "2.0"] and clocked("narrow", "hard")[0] == "0.9"
    top = " ".join(TOP.read_text().split())
    assert f"{slower[0]} times as long as `wider` for a single image, and {slower[1]} times for one among many;" in top
    said = " ".join(README.read_text().split())
    for sentence in (
        f"It has {kernels.first.parameters / others[0].first.parameters:.1f} times the parameters of `wider`.",
        f"to train {dearer[0]} times as much, for Muon turns each of its kernels, and {dearer[1]} times as much as",
        f"an image takes `kernels` {slower[0]} times as long as `wider`, {slower[1]} times among 1,024; alone that is "
        "little more than it takes `hard`, among many twice as much",
        f"{slower[0]} times as long for one image and {slower[1]} times among many",
        f"an image takes it {least[0]} times as long as `wider`, {least[1]} times among 1,024, and alone less than it "
        "takes `hard`",
    ):
        assert sentence in said


def test_every_rival_of_the_sweep_is_explained() -> None:
    said = (STUDY / "README.md").read_text()
    for path in sorted((STUDY.parents[1] / "conf" / "rival").glob("*.yaml")):
        assert f"`{path.stem}`" in said, path.stem


def test_what_the_readme_at_the_top_says_of_specialists() -> None:
    held, narrow, earlier = (compared(TABLE[name]) for name in ("RESULTS", "NARROW", "EARLIER"))
    hard = {other: one for (name, other), one in held.items() if name == "hard"}
    before = {other: one for (name, other), one in earlier.items() if name == "hard"}
    cascades = sorted(held["cascaded", other].difference.mean for other in ("cascade", "tuned_cascade"))
    on_val, seconds = hard["longer"].on_val, Latency.read(STUDY / "results" / "latency.json").seconds
    assert on_val is not None and max(seconds["wider"]["1"]) < min(seconds["hard"]["1"])  # quicker for single images
    said = " ".join(TOP.read_text().split())
    for sentence in (
        f"are {points(hard['ensemble'])} points ahead of an average of two bases, and {points(hard['tuned'])} ahead of",
        f"they are {100 * cascades[0]:.2f} to {100 * cascades[1]:.2f} ahead of cascades of bases",
        f"they are {points(hard['longer'])} ahead of it {plus(hard['longer'])}, with ten earlier seeds "
        f"{points(earlier['hard', 'longer'])} {plus(earlier['hard', 'longer'])}, on `val` {100 * on_val.mean:.2f}, not "
        "distinguishable from zero.",
        f"one network with more channels is {points(hard['wider'])} ahead of them at the same count of operations "
        f"{between(hard['wider'].difference)}; it is also quicker for single images. In networks half as wide the base "
        f"trained for longer is {points(narrow['hard', 'longer'])} behind them "
        f"{between(narrow['hard', 'longer'].difference)}, and the network with more channels "
        f"{points(narrow['hard', 'wider'])} ahead.",
        f"The gates are {points(hard['routed uniform'])} ahead of a plain average of base and specialist",
        f"alone to which the router sends an image is {points(hard['routed specialists'])} ahead of the gates "
        f"{between(hard['routed specialists'].difference)}, with the earlier seeds "
        f"{points(earlier['hard', 'routed specialists'])}, neither of them beyond Holm's correction",
    ):
        assert sentence in said
    ahead = [hard["ensemble"], hard["tuned"], hard["routed uniform"]]
    ahead += [held["cascaded", "cascade"], held["cascaded", "tuned_cascade"]]
    assert {one.sign for one in ahead} == {1} and {hard["wider"].sign, narrow["hard", "wider"].sign} == {-1}
    assert narrow["hard", "longer"].sign == 1
    assert [each[name].sign for name in ("longer", "routed specialists") for each in (hard, before)] == [0] * 4


def test_what_the_readme_at_the_top_says_of_mixed_kernels() -> None:
    held, narrow = compared(TABLE["RESULTS"]), compared(TABLE["NARROW"])
    said = " ".join(TOP.read_text().split())
    tuned, ensemble, wider = (held["kernels", other] for other in ("tuned", "ensemble", "wider"))
    half, before = (found["kernels", "wider"] for found in (narrow, compared(TABLE["EARLIER"])))
    assert wider.on_val is not None and len(wider.seeds) == 8 and len(before.seeds) == 10
    assert (
        f"It is ahead of averages of two networks by {points(tuned)} and {points(ensemble)} points, of the mixture "
        f"of specialists by {points(held['hard', 'kernels'])}, and of one network with more channels that costs as "
        f"much to run and to train by {points(wider)} {between(wider.difference)}, on `val` by "
        f"{100 * wider.on_val.mean:.2f} {plus(wider.on_val)}. Ten earlier seeds, with the same test "
        f"images, had {points(before)} {between(before.difference)}."
    ) in said
    assert (
        f"it is ahead of one network with more channels by {points(half)} {between(half.difference)}, on `val` by "
        f"{100 * half.on_val.mean:.2f} {between(half.on_val)};"
    ) in said
    # Of every rival that is no mixture, and of the mixture of specialists; of those as dear by 0.2 and more.
    for found in (held, narrow):
        own = [one for (name, _), one in found.items() if name == "kernels"]
        assert {one.sign for one in own} == {1} and found["hard", "kernels"].sign == -1
        assert min(one.difference.mean for one in own) >= 0.002


def test_the_ten_sentences_are_ten_and_what_the_results_files_say() -> None:
    text = README.read_text().partition("## When gating pays, in ten sentences\n")[2].partition("\n### ")[0]
    ten = [" ".join(item.split()) for item in re.split(r"(?m)^\d+\. ", text)[1:]]
    assert len(ten) == 10 and all(re.findall(r"\.(?= |$)", each) == ["."] and each.endswith(".") for each in ten)
    assert max(len(each.split()) for each in ten) <= 40
    held = compared(TABLE["RESULTS"])
    hard = {other: points(one) for (name, other), one in held.items() if name == "hard"}
    runs = verdict.rivals(TABLE["read"](TABLE["RESULTS"]))
    regret = {part: 100 * fmean(run.regret[part] for run in runs["hard"].runs) for part in runs["hard"].first.regret}
    taught = fmean(read(run.path)["stages"]["base-2"]["test"]["accuracy"] for run in runs["tuned"].runs)
    for each, said in zip(
        ten,
        (
            f"is {hard['ensemble']} points ahead of two bases, and {hard['tuned']} ahead of the base averaged with",
            f"a base with more channels is {hard['wider']} ahead of the mixture",
            f"a base trained for twice as long is {hard['longer']} behind",
            f"they add {hard['base']} points at twice its cost to run, where teaching the base itself on adds "
            f"{100 * (taught - fmean(run.test for run in runs['base'].runs)):.2f} at none",
            f"{points(held['cascaded', 'base'])} of the {hard['base']} points are left",
            f"{hard['routed uniform']} above a plain average of base and specialist and {hard['routed specialists']} "
            "below the routed specialist alone",
            f"{regret['experts']:.1f} of {sum(regret.values()):.1f} points of error, and little by the router, "
            f"{regret['router']:.1f}",
            f"all but the base's last block are {hard['trunk']} behind",
            f"one gate over all experts is {hard['flat']} behind, not beyond Holm's correction",
            f"by {points(held['kernels', 'wider'])} points, if cost is operations and not time",
        ),
        strict=True,
    ):
        assert said in each, each


def test_what_the_ten_sentences_rest_on() -> None:
    held = compared(TABLE["RESULTS"])
    hard = {other: one for (name, other), one in held.items() if name == "hard"}
    found = verdict.rivals(TABLE["read"](TABLE["RESULTS"]))
    free = {name: found["hard"].baseline(name).mean for name in ("uniform", "specialists", "oracle_router")}
    tuned, wider = (found[name].test.mean for name in ("tuned", "wider"))
    regret = {part: 100 * fmean(run.regret[part] for run in found["hard"].runs) for part in found["hard"].first.regret}
    perfect = free["oracle_router"] - found["hard"].test.mean
    theirs = {run.seed: run.test for run in found["wider"].runs}
    perfectly = estimate([run.baselines["oracle_router"] - theirs[run.seed] for run in found["hard"].runs])
    earlier = compared(TABLE["EARLIER"])
    kernels, before = held["kernels", "wider"], earlier["kernels", "wider"]
    longer = earlier["hard", "longer"].on_val
    assert longer is not None and longer.sign == 1
    assert kernels.on_val is not None and before.on_val is not None and hard["longer"].difference.half is not None
    copy = {run.seed: read(run.path)["stages"]["base-2"]["test"]["accuracy"] for run in found["tuned"].runs}
    taught = estimate([copy[run.seed] - run.test for run in found["base"].runs])
    beyond = estimate([run.test - copy[run.seed] for run in found["hard"].runs])
    said = " ".join(README.read_text().split())
    for sentence in (
        f"The mixture is {points(hard['ensemble'])} points ahead of two bases of different seeds, and "
        f"{points(hard['tuned'])} ahead of the base averaged with itself",
        f"by {100 * (free['uniform'] - tuned):.2f} as a plain average, by {100 * (free['specialists'] - tuned):.2f} "
        "where the routed specialist speaks alone",
        f"The base with more channels is {points(hard['wider'])} points ahead of the mixture "
        f"{between(hard['wider'].difference)}",
        f"`kernels` is {points(kernels)} ahead of `wider` {between(kernels.difference)}, for the same",
        f"({100 * found['longer'].test.mean:.2f} and {100 * found['hard'].test.mean:.2f}, which is "
        f"{points(hard['longer'])} less {plus(hard['longer'].difference)})",
        f"(On those the ten earlier seeds have the mixture {100 * longer.mean:.2f} ahead {between(longer)}, before any "
        "correction.)",
        f"On top of the base alone specialists gain {points(hard['base'])} points, nearly three times",
        f"adds {100 * taught.mean:.2f} {between(taught)} at no cost to run: that copy, the second of `tuned`, has "
        f"{100 * fmean(copy.values()):.2f} %, and the mixture is {100 * beyond.mean:.2f} ahead of it "
        f"{between(beyond)}.",
        f"{points(held['cascaded', 'base'])} of the {points(hard['base'])} points are left; at that cost `cascaded` is "
        f"{points(held['cascaded', 'cascade'])} ahead of a cascade of two bases and "
        f"{points(held['cascaded', 'tuned_cascade'])} ahead of one of the base and itself",
        f"Gates are {points(hard['routed uniform'])} points above the uniform average of base and specialist, "
        f"beyond Holm's correction, but {points(hard['routed specialists'])} below the routed specialists alone "
        f"{between(hard['routed specialists'].difference)}, not beyond it, and were "
        f"{points(earlier['hard', 'routed specialists'])} with the earlier seeds",
        f"{points(held['cascaded', 'base'])} of the {points(hard['base'])} points are left",
        f"what `wider` is ahead by is {between(hard['wider'].over_both)} then, and what `kernels` is ahead of it by "
        f"{between(kernels.over_both)}.",
        f"is right is {regret['experts']:.1f} of the {sum(regret.values()):.1f} points of error, then comes the router "
        f"({regret['router']:.1f}), then an expert that was outvoted ({regret['outvoted']:.1f}). A perfect router "
        f"would be worth {100 * perfect:.1f} points only",
        f"(`soft`) {points(hard['soft'])}, not distinguishable from zero, for half as much again (with the earlier "
        f"seeds {points(earlier['hard', 'soft'])}, beyond the correction).",
        f"Sharing all but the base's last block loses {points(hard['trunk'])} points",
        f"a start as a second base gains {points(hard['member'])}, not beyond Holm's correction",
        f"(`flat`) is {points(hard['flat'])} below the mixture, not beyond Holm's correction",
        f"have {100 * free['oracle_router']:.2f} %, {100 * (free['oracle_router'] - wider):.1f} more than `wider` "
        f"{between(perfectly)}.",
        f"of `wider` by {points(kernels)}, of `tuned` by {points(held['kernels', 'tuned'])}, of `ensemble` by "
        f"{points(held['kernels', 'ensemble'])} and of `longer`, as costly to train and half as costly to run, by "
        f"{points(held['kernels', 'longer'])}, each beyond Holm's correction",
        f"Ten earlier seeds have `kernels` {points(before)} ahead of `wider` {between(before.difference)}, on `val` "
        f"{100 * before.on_val.mean:.2f}",
        f"On `val` the difference to `wider` is {100 * kernels.on_val.mean:.2f} {plus(kernels.on_val)}, which just "
        "takes in zero.",
    ):
        assert sentence in said, sentence
    thresholds = " ".join((STUDY.parent / "thresholds" / "README.md").read_text().split())
    slower = held["cascaded", "longer"]
    assert f"is not distinguishable from the cascaded mixture ({points(slower)} behind {minus(slower)})" in thresholds
    # What is distinguishable from zero over the seeds is so with other images, too.
    for each in (held, compared(TABLE["NARROW"])):
        assert all(one.over_both.sign == one.sign for one in each.values() if one.sign)
    assert [earlier["hard", "routed specialists"].sign, held["cascaded", "longer"].sign] == [0, 0]
    signs = {name: one.sign for name, one in hard.items()}
    assert [signs[name] for name in ("ensemble", "tuned", "base", "trunk", "routed uniform")] == [1] * 5
    assert [signs[name] for name in ("wider", "kernels")] == [-1] * 2
    assert [signs[name] for name in ("longer", "soft", "member", "flat", "routed specialists", "cascaded")] == [0] * 6
    assert earlier["hard", "soft"].sign == -1 and hard["longer"].on_val and hard["longer"].on_val.sign == 0
    assert 2.6 < hard["base"].difference.mean / (found["ensemble"].test.mean - found["base"].test.mean) < 3
    assert 100 * perfect < regret["router"] / 2  # more than half would be wrong, too


def test_what_the_readme_says_of_the_same_base_by_later_code_and_on_another_processor() -> None:
    def base(folder: Path, seed: int) -> str:
        (run,) = TABLE["read"](folder / str(seed))
        assert run.config["base.net.widths"] == [16, 64, 64] and run.config["base.recipe.epochs"] == 8
        return f"{100 * run.test:.2f}"

    def elsewhere(seed: int) -> str:
        gated = THRESHOLDS.parents[1] / "gate_architectures" / "results" / "confidence-joint" / str(seed)
        found = json.loads((gated / "results.json").read_text())
        assert found["machine"].endswith("Intel Xeon Processor") and found["config"]["base"]["recipe"]["epochs"] == 8
        return f"{100 * found['baselines']['base']['accuracy']:.2f}"

    places = TABLE["EARLIER"] / "base", THRESHOLDS / "base"
    before, now = ([base(place, seed) for seed in (0, 1)] for place in places)
    said = " ".join(README.read_text().split())
    assert (
        f"of seeds 0 and 1 their base has {before[0]} and {before[1]} %, by a later revision, in "
        f"[thresholds](../thresholds/README.md), {now[0]} and {now[1]}, and on another processor, in "
        f"[gate_architectures](../gate_architectures/README.md), {elsewhere(0)} and {elsewhere(1)}."
    ) in said
