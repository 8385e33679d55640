"""What the READMEs say of gates is what their results files say."""

import json
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
    assert len(learnt) == 15 and len(beyond) == 12 and {row.n for row in made.values()} == {6}
    assert {key for key, each in corrected.items() if each < 0.05} == beyond
    assert set(learnt) - beyond == {("linear", "per_expert"), ("mlp", "per_expert"), ("mlp", "joint")}
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
    level = {best, ("linear", "per_class")}
    least = sorted(-one.mean for key, one in alone.items() if key not in level)
    assert best == ("mlp", "per_class") and least[0] > 0 and sum(one.sign == -1 for one in alone.values()) == 7
    assert 1 not in {one.sign for one in alone.values()}
    apart = [[run.verdict["specialists"]["difference"] for run in row.runs] for row in learnt.values()]
    lost = {key for key, each in zip(learnt, holm([paired_t(each) for each in apart]), strict=True) if each < 0.05}
    assert lost == {("linear", "per_expert")}
    assert "seven of them beyond their interval, one of these, `linear` with `per_expert`, beyond Holm's" in text
    assert "Twelve of the fifteen that learn are above it over six seeds, all twelve beyond Holm's" in text
    assert "twelve of fifteen combinations of gate and weights that learn are" in top
    assert f"that one has {has:.2f}. The best of the fifteen, `mlp` with `per_class`, is level with it" in text
    assert f"is level with it [{low}, {high}], as is `linear` with `per_class`; the others are {span(least, 2)}" in text
    assert all(abs(alone[key].mean) < 2e-4 for key in level)
    per_class = {kind: above(learnt[kind, "per_class"]).mean for kind in LEARN}
    assert f"all that learn are {span(list(per_class.values()), 2)} above the average" in text
    assert f"the same for every image, with {100 * per_class['constant']:.2f}:" in text
    constant = learnt["constant", "per_class"]
    assert constant.first.gate_parameters == 40 and learnt["constant", "per_expert"].first.gate_parameters == 4
    half = above(learnt["constant", "per_expert"]).mean / above(constant).mean
    assert 0.4 < half < 0.6
    less = {kind: learnt[kind, "per_class"].less(learnt[kind, "joint"]) for kind in LEARN}
    joint = {kind: found for kind, each in less.items() if (found := estimate(each))}
    assert {kind: one.sign for kind, one in joint.items()} == {kind: int(kind in ("linear", "mlp")) for kind in LEARN}
    of_pixels = " and ".join(f"{100 * joint[kind].mean:.2f}" for kind in ("linear", "mlp"))
    rest = [one.mean for one in joint.values() if not one.sign]
    assert f"the notebook's, by {of_pixels}, beyond the interval, of `mlp` also beyond Holm's" in text
    assert f"it is above by {span(rest, 2)}, not distinguishable" in text
    corrected_less = dict(zip(less, holm([paired_t(each) for each in less.values()]), strict=True))
    assert {kind for kind, each in corrected_less.items() if each < 0.05} == {"mlp"}
    per_expert = {kind: estimate(learnt[kind, "per_expert"].less(learnt[kind, "joint"])) for kind in LEARN}
    assert {kind: one.sign for kind, one in per_expert.items() if one} == {kind: -(kind == "mlp") for kind in LEARN}
    assert f"with `mlp`, where it is {-100 * per_expert['mlp'].mean:.2f} below" in text  # type: ignore[union-attr]
    of_constants = [100 * above(learnt["constant", how]).mean for how in ("joint", "per_class")]
    assert f"40 constants are so, too, by {of_constants[0]:.2f} and {of_constants[1]:.2f} (two kinds of" in top
    default = learnt["confidence", "joint"]
    of_test, of_val = (
        [f"{100 * fmean(getattr(run, split) for run in row.runs):.2f}" for row in (default, constant)]
        for split in ("test", "val")
    )
    assert f"`joint`, has {of_test[0]}, and 40 constants with `per_class` {of_test[1]}; on `val`," in text
    assert f"choose, {of_val[0]} and {of_val[1]}." in text
    by_val, by_test = (
        min(learnt, key=lambda key: fmean(getattr(run, split) for run in learnt[key].runs)) for split in ("val", "test")
    )
    assert by_val == by_test


def test_widths() -> None:
    made = read("gate_widths")
    text = said("gate_widths")
    rates = sorted({TABLE["rate"](row) for row in made}, key=float)
    slow, fast = ({int(TABLE["width"](row)): row for row in made if TABLE["rate"](row) == rate} for rate in rates)
    assert rates == ["0.0001", "0.001"] and len(made) == 14
    assert {above(row, "base").sign for row in made} == {1}
    assert f"better than its base by {span([above(row, 'base').mean for row in made], 1)} points" in text
    uniform = {width: 100 * (above(row, "base").mean - above(row).mean) for width, row in slow.items()}
    assert f"average of base and routed specialist has {uniform[16]:.1f} of that" in text
    wider = {width: estimate(row.less(slow[16])) for width, row in slow.items() if width > 16}
    assert {width: one.sign for width, one in wider.items() if one} == {width: int(width == 256) for width in wider}
    apart = 100 * wider[256].mean  # type: ignore[union-attr]
    assert f"256 units are {apart:.2f} above 16, also by Holm's correction over the six that are wider" in text
    by = dict(zip(wider, holm([paired_t(slow[width].less(slow[16])) for width in wider]), strict=True))
    assert len(wider) == 6 and {width for width, each in by.items() if each < 0.05} == {256}
    among = estimate(slow[256].less(slow[1024]))
    assert among is not None and among.sign == 0
    own = {width: above(row).mean for width, row in slow.items()}
    rest = [own[width] for width in (64, 128, 512, 1024)]
    assert {f"{100 * own[width]:.2f}" for width in (16, 32)} == {"0.04"}
    assert f"16 and 32 units add 0.04, of 256 {100 * own[256]:.2f}, of the others {span(rest, 2)}." in text
    assert {row.n for row in made} == {6} and sum(above(row).sign == 1 for row in made) == 7
    assert "Of fourteen rows seven are above the average beyond their interval, and three of these by Holm's" in text
    beyond = [row for row, each in zip(made, holm([p(row) for row in made]), strict=True) if each < 0.05]
    assert {id(row) for row in beyond} == {id(slow[256]), id(fast[16]), id(fast[32])}
    units = json.loads((STUDIES / "gate_widths" / "results" / "units.json").read_text()).values()
    spread = {
        width: fmean(one["spread"] for one in units if one["rate"] == 0.001 and one["width"] == width) for width in fast
    }
    assert {width for width, each in spread.items() if each < 0.0005} == {16, 32}
    narrowest = fast[16]
    assert {f"{100 * above(fast[width]).mean:.2f}" for width in (16, 32)} == {f"{100 * above(narrowest).mean:.2f}"}
    assert f"gain {100 * above(narrowest).mean:.2f}, as `constant` does" in text
    best = slow[max(own, key=lambda width: own[width])]
    more = estimate(narrowest.less(best))
    assert more is not None and more.sign == 0
    assert f"{100 * more.mean:.2f} more than the best of those whose units live, not distinguishable" in text
    down = {width: one for width, row in fast.items() if (one := estimate(row.less(narrowest)))}
    assert {width for width, one in down.items() if one.sign == -1} == {128, 256}
    lost = [-100 * down[width].mean for width in (128, 256)]
    assert f"128 and 256 are {lost[0]:.2f} and {lost[1]:.2f} below" in text
    assert max(above(fast[width]).mean for width in fast if width > 32) <= above(narrowest).mean
    assert f"256 are {apart:.1f} above 16" in said()


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
    assert f"Twelve of the fifteen rows are above the routed specialist alone, by {span(ahead, 2)};" in text
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
