"""What the READMEs say of gates is what their results files say."""

import runpy
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from moe.comparison import Row, collect, rows
from moe.comparison.estimate import Estimate, estimate
from moe.verdict.significance import holm, paired_t

STUDIES = Path(__file__).parents[1] / "experiments"
TABLE = runpy.run_path(str(STUDIES / "gate_table.py"))
LEARN = ("linear", "constant", "mlp", "conv", "confidence")


def read(study: str) -> list[Row]:
    runs, faults = collect([STUDIES / study / "results"])
    assert faults == []
    return rows(runs)


def said(study: str = "") -> str:
    return " ".join((STUDIES / study / "README.md" if study else STUDIES.parent / "README.md").read_text().split())


def above(row: Row, baseline: str = "uniform") -> Estimate:
    found = row.against(baseline)
    assert found is not None and row.n > 1
    return found


def p(row: Row) -> float:
    return paired_t([run.verdict["uniform"]["difference"] for run in row.runs])


def span(found: Sequence[float], digits: int) -> str:
    return f"{100 * min(found):.{digits}f} to {100 * max(found):.{digits}f}"


def test_architectures() -> None:
    made = {(TABLE["kind"](row), TABLE["weights"](row)): row for row in read("gate_architectures")}
    text, top = said("gate_architectures"), said()
    learnt = {key: row for key, row in made.items() if key[0] in LEARN}
    beyond = {key for key, row in learnt.items() if above(row).sign == 1}
    corrected = dict(zip(learnt, holm([p(row) for row in learnt.values()]), strict=True))
    assert len(learnt) == 15 and len(beyond) == 13 and sum(each < 0.05 for each in corrected.values()) == 10
    assert set(learnt) - beyond == {("linear", "per_expert"), ("mlp", "per_expert")}
    assert {above(row, "base").sign for row in made.values()} == {1}
    assert f"by {span([above(row, 'base').mean for row in made.values()], 1)} points." in text
    uniform = next(row for (kind, _), row in made.items() if kind == "uniform")
    assert f"which learns nothing, has {100 * above(uniform, 'base').mean:.1f} of that" in text
    gains = [above(learnt[key]).mean for key in beyond]
    assert f"**Learnt gates add {span(gains, 1)} points to that average.**" in text
    assert f"are {span(gains, 1)} points above the average of base and routed specialist" in top
    alone = {key: above(row, "specialists") for key, row in learnt.items()}
    best = max(alone, key=lambda key: alone[key].mean)
    low, high = (f"{100 * end:+.2f}" for end in alone[best].ci95 or ())
    has = 100 * fmean(run.baselines["specialists"] for run in learnt[best].runs)
    least = sorted(-one.mean for key, one in alone.items() if key != best)
    assert best == ("linear", "per_class") and least[0] > 0 and sum(one.sign == -1 for one in alone.values()) == 6
    assert f"that one has {has:.2f}. The best of the fifteen, `linear` with `per_class`, is level with it" in text
    assert f"is level with it [{low}, {high}], the others are {span(least, 2)} below, six of them beyond" in text
    assert f"{100 * alone[best].mean:.2f}" in ("0.00", "-0.00")
    per_class = {kind: above(learnt[kind, "per_class"]).mean for kind in LEARN}
    assert f"all that learn are {span(list(per_class.values()), 2)} above the average" in text
    assert min(per_class, key=lambda kind: per_class[kind]) == "constant"
    constant = learnt["constant", "per_class"]
    assert constant.first.gate_parameters == 40 and learnt["constant", "per_expert"].first.gate_parameters == 4
    half = above(learnt["constant", "per_expert"]).mean / above(constant).mean
    assert 0.4 < half < 0.6
    joint = {kind: estimate(learnt[kind, "per_class"].less(learnt[kind, "joint"])) for kind in LEARN}
    assert {one.sign for one in joint.values() if one} == {1} and None not in joint.values()
    assert f"the notebook's, by {span([one.mean for one in joint.values() if one], 2)}," in text
    per_expert = [estimate(learnt[kind, "per_expert"].less(learnt[kind, "joint"])) for kind in LEARN]
    assert all(one is not None and one.sign < 1 for one in per_expert)
    default = learnt["confidence", "joint"]
    assert constant.test and default.test and default.val
    assert f"({100 * constant.test.mean:.2f} and {100 * default.test.mean:.2f})." in text
    pair = (learnt["confidence", how].runs for how in ("joint", "per_class"))
    both = {f"{100 * fmean(run.val or 0 for run in runs):.2f}" for runs in pair}
    assert both == {f"{100 * default.val.mean:.2f}"} and f"`confidence` has {both.pop()} with either" in text


def test_widths() -> None:
    made = read("gate_widths")
    text = said("gate_widths")
    rates = sorted({TABLE["rate"](row) for row in made}, key=float)
    slow, fast = ({int(TABLE["width"](row)): row for row in made if TABLE["rate"](row) == rate} for rate in rates)
    assert rates == ["0.0001", "0.001"] and len(made) == 14
    assert {above(row, "base").sign for row in made} == {1}
    assert f"better than its base by {span([above(row, 'base').mean for row in made], 1)} points" in text
    wider = {width: estimate(row.less(slow[16])) for width, row in slow.items() if width > 16}
    assert {width for width, one in wider.items() if one and one.sign == 1} == {256, 512}
    assert {one.sign for one in wider.values() if one} == {0, 1}
    apart = [f"{100 * wider[width].mean:.2f}" for width in (256, 512)]  # type: ignore[union-attr]
    assert f"256 and 512 units are {apart[0]} and {apart[1]} above 16, also by Holm's correction over the six" in text
    by = dict(zip(wider, holm([paired_t(slow[width].less(slow[16])) for width in wider]), strict=True))
    assert len(wider) == 6 and {width for width, each in by.items() if each < 0.05} == {256, 512}
    among = estimate(slow[256].less(slow[1024]))
    assert among is not None and among.sign == 0
    own = {width: above(row) for width, row in slow.items()}
    few = [100 * own[width].mean for width in (16, 32, 64)]
    assert f"({min(few):+.1f} to {max(few):+.1f})" in text
    assert f"256 and 512 gain {span([own[width].mean for width in (256, 512)], 1)} on it, 128 and 1,024 less" in text
    assert [own[width].sign for width in (128, 1024)] == [0, 0]
    assert sum(above(row).sign == 1 for row in made) == 8
    narrowest = above(fast[16])
    best = max((row for row in slow.values()), key=lambda row: above(row).mean)
    less = above(best).mean - narrowest.mean
    assert f"gain {100 * narrowest.mean:.2f}, as `constant` does" in text
    assert f"{100 * less:.2f} less than the best of those whose units live" in text
    down = [100 * (narrowest.mean - above(fast[width]).mean) for width in (256, 512)]
    assert f"256 and 512 are {down[0]:.2f} and {down[1]:.2f} below" in text
    assert max(above(fast[width]).mean for width in fast if width > 16) <= narrowest.mean
    top = f"256 and 512 are {span([one.mean for one in wider.values() if one and one.sign == 1], 1)} above 16"
    assert top in said()


def test_rates() -> None:
    made = {(TABLE["kind"](row), float(TABLE["rate"](row))): row for row in read("gate_rates")}
    text = said("gate_rates")
    below = {key: -100 * above(row).mean for key, row in made.items()}
    assert f"at 0.001 is {below['linear', 0.001]:.2f} points below the uniform average and at 0.0001 " in text
    assert f"and at 0.0001 {below['linear', 0.0001]:.2f}." in text
    assert f"and {below['mlp', 0.0001]:.2f} below it at 0.0001, at which they live" in text
    assert min((abs(below["mlp", rate]), rate) for kind, rate in made if kind == "mlp")[1] == 0.001
    on_val = [100 * made["mlp", rate].val.mean for kind, rate in made if kind == "mlp"]  # type: ignore[union-attr]
    assert max(on_val) - min(on_val) < 0.1
    assert all(above(row).sign < 1 for row in made.values())
    assert {above(made["confidence", rate]).sign for kind, rate in made if kind == "confidence"} == {0}
    alone = [above(row, "specialists").mean for row in made.values()]
    ahead = [each for each in alone if each > 0.5e-4]
    assert f"Twelve of the fifteen rows are above the routed specialist alone, by {span(ahead, 2)}," in text
    assert len(alone) == 15 and len(ahead) == 12
    default = [-above(row).mean for (kind, _), row in made.items() if kind == "confidence"]
    assert f"The default, `confidence`, is {span(default, 2)} below the average, not distinguishable from it" in text
    sizes = {kind: row.first.gate_parameters for (kind, _), row in made.items()}
    assert f"has {sizes['confidence']:,} weights where `mlp` has three million" in text
    assert round((sizes["mlp"] or 0) / 1e6) == 3


def test_images_to_learn_from() -> None:
    made = {(TABLE["kind"](row), row.first.config["gate.fit_on"]): row for row in read("gate_images")}
    text = said("gate_images")
    apart = {key: row.less(made[key[0], "gate"]) for key, row in made.items() if key[1] != "gate"}
    found = {key: estimate(values) for key, values in apart.items()}
    assert {row.n for row in made.values()} == {4} and len(found) == 6
    assert sum(one is not None and one.sign == 1 for one in found.values()) == 2
    assert all(one is not None and one.mean > 0 for one in found.values())
    assert min(holm([paired_t(values) for values in apart.values()])) > 0.05
    more = {key: one.mean for key, one in found.items() if one}
    own = {key: above(made[key]).mean - above(made[key[0], "gate"]).mean for key in more}
    train, folds = ([key for key in more if key[1] == name] for name in ("train", "folds"))
    assert f"are {span([more[key] for key in train], 2)} points above those of the default" in text
    assert f"they are {span([more[key] for key in folds], 2)} above, of which" in text
    assert {f"{100 * (more[key] - own[key]):.2f}" for key in folds} == {"0.31"}
    assert {f"{100 * (more[key] - own[key]) + 0:.2f}".lstrip("-") for key in train} == {"0.00"}
    assert f"as much better, and {span([own[key] for key in folds], 2)} the gates'" in text
    corrected = dict(zip(made, holm([p(row) for row in made.values()]), strict=True))
    beyond = [above(row).mean for key, row in made.items() if corrected[key] < 0.05]
    assert len(made) == 9 and len(beyond) == 8
    assert f"Eight of the nine gates are {span(beyond, 2)} above the plain average" in text
    alone = [[run.verdict["specialists"]["difference"] for run in row.runs] for row in made.values()]
    assert min(holm([paired_t(values) for values in alone])) > 0.05
    ends = 100 * min(map(fmean, alone)), 100 * max(map(fmean, alone))
    assert f"between {-ends[0]:.2f} below them and {ends[1]:.2f} above" in text
    dear = [made[kind, "folds"].first.training_flops / made[kind, "gate"].first.training_flops for kind, _ in folds]
    assert all(5 < each < 5.5 for each in dear)
