"""The verdict's study of wide networks: what the READMEs say is what its results files say."""

from statistics import fmean

from moe import verdict
from tests.verdict_said import README, STUDY, TABLE, TOP, compared, minus, plus, points


def test_what_the_readme_at_the_top_says_of_wide_networks() -> None:
    held, rivals = compared(STUDY / "s"), verdict.rivals(TABLE["read"](STUDY / "s"))
    base, ensemble = held["hard", "base"], held["hard", "ensemble"]
    said = " ".join(TOP.read_text().split())
    assert (
        f"over three seeds it is {points(base)} points above its base {plus(base)}, and an average of two bases, at "
        f"the same cost to run, {points(ensemble)} above the mixture {minus(ensemble)}; both are within chance once "
        "all comparisons are corrected for, as is what parts it from the base trained for as long as all its networks "
        f"({100 * held['hard', 'longer'].difference.mean:+.2f}) and from one wider network "
        f"({100 * held['hard', 'wider'].difference.mean:+.2f})."
    ) in said
    halves = [100 * held["hard", other].difference.half for other in ("base", "ensemble", "longer", "wider")]
    assert f"leave each of these open by {min(halves):.1f} to {max(halves):.1f} points either way." in said
    assert {held["hard", other].sign for other in ("base", "ensemble", "longer", "wider")} == {0}
    cascaded, behind = held["cascaded", "base"], held["cascaded", "cascade"]
    assert (
        f"they are {points(cascaded)} above it at {cascaded.inference:.2f} times its cost {plus(cascaded)}, beyond the "
        f"correction, but {points(behind)} behind a cascade of two bases {minus(behind)}, which is not beyond it."
    ) in said
    more = [found.first.training_flops for found in (rivals[name] for name in ("ensemble", "cascade", "wider"))]
    own = rivals["hard"].first.training_flops
    assert all(1.4 < each / own < 1.55 for each in more)  # half as much again
    assert cascaded.sign == 1 and behind.difference.mean < 0 and behind.sign == 0


def test_what_the_readme_says_of_wide_networks() -> None:
    held, found = compared(STUDY / "s"), verdict.rivals(TABLE["read"](STUDY / "s"))
    hard = {other: one for (name, other), one in held.items() if name == "hard"}
    regret = {part: fmean(run.regret[part] for run in found["hard"].runs) for part in found["hard"].first.regret}
    said = " ".join(README.read_text().split())
    cascaded, behind = held["cascaded", "base"], held["cascaded", "cascade"]
    uniform, alone = hard["routed uniform"], hard["routed specialists"]
    longer = found["longer"].first.matched
    for sentence in (
        f"it is {points(hard['base'])} points over the base, at twice the cost to run, and "
        f"{points(hard['longer'])} under the base trained for {longer['epochs']} epochs in place of",
        f"it costs the same to train (`longer`, {plus(hard['longer'])[1:-1].replace(', ', ' to ')}).",
        f"taught on by as many epochs, it is {points(hard['tuned'])} ahead.",
        f"the average of two bases by {points(hard['ensemble'])} and one wider network by {points(hard['wider'])}.",
        f"at {cascaded.inference:.2f} times the base's cost, {points(cascaded)} above the base {plus(cascaded)}, "
        f"beyond Holm's correction, and {points(behind)} behind the cascade of two bases, not "
        "beyond it, for which half as much again is trained",
        f"the plain average of base and specialist is {points(uniform)} below them, the routed specialist alone "
        f"{points(alone)} {plus(alone)}, beyond the correction.",
    ):
        assert sentence in said, sentence
    others = ("base", "longer", "tuned", "ensemble", "wider", "routed uniform")
    assert {hard[name].sign for name in others} == {held["cascaded", "cascade"].sign} == {0}
    assert hard["routed specialists"].sign == held["cascaded", "base"].sign == 1
    assert regret["experts"] > sum(regret.values()) / 2
