"""The verdict's study of wide networks: what the READMEs say is what its results files say."""

from statistics import fmean

from moe import verdict
from tests.verdict_said import README, STUDY, TABLE, TOP, compared, minus, plus, points


def test_what_the_readme_at_the_top_says_of_wide_networks() -> None:
    held, rivals = compared(STUDY / "s"), verdict.rivals(TABLE["read"](STUDY / "s"))
    base, ensemble, wider = (held["hard", other] for other in ("base", "ensemble", "wider"))
    said = " ".join(TOP.read_text().split())
    assert (
        "over three seeds, and with the draw of the test images counted, it is "
        f"{points(base)} points above its base {plus(base.over_both)}, {points(ensemble)} behind an average of two "
        f"bases {minus(ensemble.over_both)}, which costs the same to run, and {points(wider)} behind one wider network "
        f"{minus(wider.over_both)}. That average and that network cost half as much again to train"
    ) in said
    alone = held["hard", "routed specialists"]
    assert (
        f"The mixture's gates are {points(alone)} above the specialist alone to which the router sends an image "
        f"{plus(alone.over_both)}."
    ) in said
    assert {held["hard", other].sign for other in ("base", "ensemble", "longer", "wider")} == {0}
    more = [found.first.training_flops for found in (rivals[name] for name in ("ensemble", "cascade", "wider"))]
    own = rivals["hard"].first.training_flops
    assert all(1.4 < each / own < 1.55 for each in more)  # half as much again


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
        f"at {cascaded.inference:.2f} times the base's cost, {points(cascaded)} above the base, which three seeds that "
        f"happen to agree put at {plus(cascaded)}, beyond Holm's correction, and which is {plus(cascaded.over_both)} "
        f"with other test images, and {points(behind)} behind the cascade of two bases, not beyond the correction, for "
        "which half as much again is trained",
        f"the plain average of base and specialist is {points(uniform)} below them, the routed specialist alone "
        f"{points(alone)}, in each seed by 13 or 14 images of the 10,000, which is {plus(alone.over_both)} with other "
        "images.",
    ):
        assert sentence in said, sentence
    others = ("base", "longer", "tuned", "ensemble", "wider", "routed uniform")
    assert {hard[name].sign for name in others} == {held["cascaded", "cascade"].sign} == {0}
    assert hard["routed specialists"].sign == held["cascaded", "base"].sign == 1
    own = [run.verdict["specialists"]["difference"] for run in found["hard"].runs]
    assert {round(1e4 * each) for each in own} == {13, 14}
    assert {hard[name].over_both.sign for name in ("base", "longer", "tuned", "ensemble", "wider")} == {0}
    assert [abs(hard[name].difference.sign) for name in ("base", "tuned", "ensemble")] == [1] * 3
    assert [hard[name].difference.sign for name in ("longer", "wider")] == [0] * 2
    assert regret["experts"] > sum(regret.values()) / 2
