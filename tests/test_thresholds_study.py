"""The table of the cascades' thresholds, from results files made by hand."""

import json
import runpy
from pathlib import Path
from statistics import fmean

import pytest

import moe
from moe.comparison import collect
from moe.results import SCHEMA
from moe.verdict import rivals
from moe.verdict.significance import holm, paired_t

STUDY = Path(__file__).parents[1] / "experiments" / "thresholds"
TABLE = runpy.run_path(str(STUDY / "table.py"))
KEYS = {"cascaded": "mixture.cascade", "tuned_cascade": "base.cascade", "cascade": "base.cascade"}


def result(folder: Path, rival: str, threshold: float, seed: int, accuracy: float, flops: float) -> None:
    run = folder / f"{rival}-{threshold}" / str(seed)
    run.mkdir(parents=True)
    config = moe.compose(
        "experiment=verdict", f"rival={rival}", f"{KEYS[rival]}={threshold}", "base.net.size=s", f"seed={seed}"
    )
    said = {
        "schema": SCHEMA,
        "experiment": "verdict",
        "seed": seed,
        "machine": "one core",
        "git": "abcdef0",
        "val": {"accuracy": 0.5},
        "test": {"accuracy": accuracy},
        "baselines": None,
        "verdict": None,
        "cost": {
            "parameters": 1,
            "gate_parameters": 0,
            "flops_per_image": {"dense": 2 * flops, "routed": flops},
            "training_flops": {"total": 1.0},
        },
        "data": {"name": "cifar10", "fingerprint": "f", "protocol": "held_out", "sizes": {"test": 10}},
        "config": config.plain(),
        "seconds": {},
    }
    (run / "results.json").write_text(json.dumps(said))


def test_cascades_of_one_threshold_are_held_against_each_other(tmp_path: Path) -> None:
    for seed, (cascaded, tuned) in enumerate([(0.82, 0.81), (0.85, 0.82)]):
        result(tmp_path, "cascaded", 0.5, seed, cascaded, 10e6)
        result(tmp_path, "tuned_cascade", 0.5, seed, tuned, 10.1e6)
    result(tmp_path, "cascaded", 0.95, 0, 0.84, 12e6)
    result(tmp_path, "cascade", 0.95, 0, 0.80, 12e6)
    result(tmp_path, "cascade", 0.99, 0, 0.86, 13e6)  # which the mixture has not
    curves = TABLE["read"](tmp_path)
    assert [list(curve) for curve in curves.values()] == [[0.5, 0.95], [0.5], [0.95, 0.99]]
    assert TABLE["compared"](curves) == {
        (0.5, "tuned_cascade"): pytest.approx([0.01, 0.03]),
        (0.95, "cascade"): pytest.approx([0.04]),
    }
    assert TABLE["unlike"](curves) == pytest.approx(0.01)
    # 82 and 85: 83.5, give or take 1.5 times 12.706; 81 and 82: 81.5; they differ by 1 and 3 points, 2 give or take
    # 12.706. On val all agree: no scatter shows.
    rows = TABLE["table"](curves).splitlines()
    both = "+2.00 [-10.71, +14.71]"
    assert rows[2] == f"| 0.5 | 2 | 10.0 | 50.00 | 83.50 ±19.06 | 50.00 | 81.50 ±6.35 |  |  | {both} |  |"
    assert rows[3] == "| 0.95 | 1 | 12.0 | 50.00 | 84.00 |  |  | 50.00 | 80.00 |  | +4.00 |"
    assert "of the others are within 1.0 % of it. On one core." in rows[5]


def test_a_cascade_of_several_configs_is_refused(tmp_path: Path) -> None:
    result(tmp_path, "cascaded", 0.5, 0, 0.8, 10e6)
    result(tmp_path, "cascaded", 0.6, 1, 0.8, 10e6)
    (tmp_path / "cascaded-0.6" / "1").rename(tmp_path / "cascaded-0.5" / "1")
    (tmp_path / "cascaded-0.6").rmdir()
    with pytest.raises(SystemExit, match=r"cascaded-0.5 holds runs of several configs"):
        TABLE["read"](tmp_path)


def test_the_readme_has_the_table_of_the_results_files() -> None:
    begin, end = TABLE["MARKS"]
    shown = (STUDY / "README.md").read_text().partition(begin)[2].partition(end)[0]
    assert shown.strip() == TABLE["table"](TABLE["read"](STUDY / "results"))


def test_what_the_readme_says() -> None:
    said = " ".join((STUDY / "README.md").read_text().split())
    curves = TABLE["read"](STUDY / "results")
    runs, faults = collect([STUDY / "results" / name for name in TABLE["SINGLE"]])
    single = rivals(runs)
    assert faults == [] and {row.n for curve in curves.values() for row in curve.values()} == {5}
    assert set(single) == set(TABLE["SINGLE"]) and {row.n for row in single.values()} == {5}
    base, hard = single["base"], single["hard"]
    test = {name: {at: 100 * row.test.mean for at, row in curve.items()} for name, curve in curves.items()}
    cost = {at: row.mean("routed") / base.mean("routed") for at, row in curves["cascaded"].items()}

    def share(at: float) -> str:
        own, all_of_it = (fmean(row.less(base)) for row in (curves["cascaded"][at], hard))
        return f"{100 * own / all_of_it:.0f} %"

    later = [test["cascaded"][at] for at in (0.9, 0.95, 0.98, 0.99)]
    assert hard.mean("routed") / base.mean("routed") == pytest.approx(2, rel=0.01)
    compared = TABLE["compared"](curves)
    corrected = dict(zip(compared, holm([paired_t(each) for each in compared.values()]), strict=True))
    ahead = {other: {at: 100 * fmean(compared[at, other]) for at in curves["cascaded"]} for other in TABLE["OTHERS"]}
    two, copy = ahead["cascade"], {at: by for at, by in ahead["tuned_cascade"].items() if at >= 0.7}
    for sentence in (
        f"At 0.7 an image costs {cost[0.7]:.2f} times what it costs the base, and the mixture has {share(0.7)} of the "
        "points that it adds",
        f"at 0.9, which is the verdict's, {share(0.9)} for {cost[0.9]:.2f} times.",
        f"from 0.9 to 0.99 its accuracy stays within {max(later) - min(later):.2f} points.",
        f"Two bases have at 0.6 all but {max(test['cascade'].values()) - test['cascade'][0.6]:.2f} points of what they "
        f"ever have, the base and its copy at 0.7 all but "
        f"{max(test['tuned_cascade'].values()) - test['tuned_cascade'][0.7]:.2f}.",
        f"at every threshold, by {min(two.values()):.2f} to {max(two.values()):.2f} points, each beyond",
        f"from 0.7 on, by {min(copy.values()):.2f} to {max(copy.values()):.2f}; at 0.5 they are level.",
    ):
        assert sentence in said, sentence
    assert (
        max(corrected[at, "cascade"] for at in two) < 0.05 and max(corrected[at, "tuned_cascade"] for at in copy) < 0.05
    )
    assert min(corrected[at, "tuned_cascade"] for at in (0.5, 0.6)) > 0.05
    assert abs(ahead["tuned_cascade"][0.5]) < 0.05
