"""The kernels study's table, from results files made by hand."""

import json
import runpy
from pathlib import Path
from statistics import fmean, median

import pytest

import moe
from moe.comparison.estimate import estimate
from moe.results import SCHEMA
from moe.verdict.significance import holm, paired_t

STUDY = Path(__file__).parents[1] / "experiments" / "kernels"
TABLE = runpy.run_path(str(STUDY / "table.py"))
MIXED = ("net@base.net=cond_vgg", "base.net.widths=[8,29,29]")
NETS = {"one": ("base.net.widths=[8,32,32]",), "kernels": MIXED, "static": (*MIXED, "base.net.gating=static")}


def result(folder: Path, arm: str, seed: int, accuracy: float, flops: float, *overrides: str) -> None:
    run = folder / f"{arm}-8" / str(seed)
    run.mkdir(parents=True)
    said = {
        "schema": SCHEMA,
        "experiment": "base",
        "seed": seed,
        "precision": "bf16-mixed",
        "git": "abcdef0",
        "val": {"accuracy": {"one": 0.5, "static": 0.5, "kernels": 0.52}[arm]},
        "test": {"accuracy": accuracy},
        "baselines": None,
        "verdict": None,
        "cost": {
            "parameters": {"one": 100, "static": 600, "kernels": 600}[arm],
            "gate_parameters": 0,
            "flops_per_image": {"dense": flops, "routed": flops},
            "training_flops": {"total": 2e6 * flops},
        },
        "data": {"name": "cifar10", "fingerprint": "f", "protocol": "held_out", "sizes": {"test": 10}},
        "config": moe.compose("experiment=base", "base.net.size=s", *NETS[arm], *overrides, f"seed={seed}").plain(),
        "seconds": {"base": {"seconds": 600.0 + 60 * seed, "machine": "one core", "reused": False}},
    }
    (run / "results.json").write_text(json.dumps(said))


def test_differences_are_paired_by_seed_and_costs_side_by_side(tmp_path: Path) -> None:
    for seed, (one, kernels) in enumerate([(0.80, 0.81), (0.82, 0.85)]):
        result(tmp_path, "one", seed, one, 10e6)
        result(tmp_path, "kernels", seed, kernels, 9e6)
    result(tmp_path, "one", 2, 0.5, 10e6)  # has no partner yet
    pairs = TABLE["read"](tmp_path)
    assert TABLE["differences"](pairs[8]) == pytest.approx([0.01, 0.03])
    # 1 and 3 points: 2, give or take 12.706; t = 2 of one degree of freedom, p = 1 - 2 atan(2) / pi = 0.295.
    # On val 2 points in each seed: no scatter shows.
    cells = (
        "+2.00 [-10.71, +14.71] | 0.3 | 0.3 | +2.00 | 0.90 | 0.90 | 6.00 | 10.5 (10.0 to 11.0) | 10.5 (10.0 to 11.0) |"
    )
    assert f"| [8,32,32] | [8,29,29] | 10.0 | 2 | 81.00 ±12.71 | 83.00 ±25.41 | {cells}" in TABLE["table"](pairs)


def test_kernels_mixed_for_each_image_are_held_beside_the_same_mixed_alike(tmp_path: Path) -> None:
    for seed, (one, same, kernels) in enumerate([(0.80, 0.81, 0.83), (0.82, 0.81, 0.85)]):
        result(tmp_path, "one", seed, one, 10e6)
        result(tmp_path, "static", seed, same, 10e6)
        result(tmp_path, "kernels", seed, kernels, 10e6)
    gated, beside = (TABLE["read"](tmp_path, ("static", other)) for other in ("kernels", "one"))
    # 2 and 4 points: 3, give or take 12.706; t = 3 of one degree of freedom, p = 1 - 2 atan(3) / pi = 0.205. On val 2
    # points in each seed. 81 and 81 beside 80 and 82: 1 and -1.
    cells = "+3.00 [-9.71, +15.71] | 0.2 | 0.2 | +2.00 | +0.00 [-12.71, +12.71] | 10.5 (10.0 to 11.0) |"
    assert f"| [8,29,29] | 2 | 81.00 | 84.00 ±12.71 | {cells}" in TABLE["static"](gated, beside)
    assert TABLE["static"]({}, {}) == "Nothing has run yet."


def test_what_the_readme_says_of_each_width() -> None:
    pairs, said = TABLE["read"](STUDY / "results"), " ".join((STUDY / "README.md").read_text().split())

    def listed(each: list[float]) -> str:
        *first, last = (f"{one:.1f}" for one in each)
        return f"{', '.join(first)} and {last}"

    ahead = [100 * fmean(TABLE["differences"](pair)) for pair in pairs.values()]
    on_val = [estimate(kernels.less(one, "val")) for one, kernels in pairs.values()]
    longer = [
        median(run.seconds for run in kernels.runs) / median(run.seconds for run in one.runs)
        for one, kernels in pairs.values()
    ]
    assert list(pairs) == [8, 11, 16, 24, 32] and {one.n for one, _ in pairs.values()} == {5}
    *narrow, wide = pairs.values()
    apart = estimate(TABLE["differences"](wide))
    assert apart.sign == 0
    assert (
        f"at 32, 128 and 128 they are {-100 * apart.mean:.2f} behind, which is not distinguishable from zero "
        f"({100 * apart.ci95[0]:+.2f} to {100 * apart.ci95[1]:+.2f})."
    ) in said
    ends = "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in apart.ci95))
    top = " ".join((STUDY.parents[1] / "README.md").read_text().split())
    assert f"[it is not](experiments/kernels/README.md): {-100 * apart.mean:.2f} behind {ends}." in top
    # In no more time one network learns that is more accurate.
    mixed, one = pairs[24][1], pairs[32][0]
    assert median(run.seconds for run in one.runs) < median(run.seconds for run in mixed.runs)
    quicker = estimate(one.less(mixed))
    assert quicker.sign == 1
    assert (
        f"and is {100 * quicker.mean:.2f} ahead of them [{100 * quicker.ci95[0]:.2f}, {100 * quicker.ci95[1]:.2f}], "
        f"though it asks {one.mean('routed') / 1e6:.0f} MFLOP an image for their {mixed.mean('routed') / 1e6:.0f}."
    ) in top
    assert f"mixed kernels are {listed(ahead[:-1])} points ahead, each beyond Holm's correction." in said
    assert (
        f"they are {listed([100 * one.mean for one in on_val])} ahead, which over five seeds is not distinguishable"
        in said
    )
    assert (
        f"learning took {listed(longer)} times as long, from the least width to the greatest, the first three by"
        in said
    )
    corrected = holm([paired_t(TABLE["differences"](pair)) for pair in (*narrow, wide)])
    assert max(corrected[:-1]) < 0.05 < corrected[-1]
    assert all(one.ci95[0] < 0 < one.ci95[1] for one in on_val)
    for cost, most in (("routed", [0.01] * 5), ("training_flops", [0.03, 0.03, 0.03, 0.04, 0.05])):
        more = [abs(kernels.mean(cost) / one.mean(cost) - 1) for one, kernels in pairs.values()]
        assert all(one <= limit for one, limit in zip(more, most, strict=True)), cost


def test_what_the_readmes_say_of_gating() -> None:
    gated, beside = (TABLE["read"](STUDY / "results", ("static", other)) for other in ("kernels", "one"))
    said, top = (" ".join(file.read_text().split()) for file in (STUDY / "README.md", STUDY.parents[1] / "README.md"))
    gain = [estimate(TABLE["differences"](pair)) for pair in gated.values()]
    on_val = [estimate(kernels.less(same, "val")) for same, kernels in gated.values()]
    below = [estimate(same.less(one)) for same, one in beside.values()]
    assert list(gated) == list(beside) == [16, 24] and {pair[0].n for pair in gated.values()} == {5}
    assert max(holm([paired_t(TABLE["differences"](pair)) for pair in gated.values()])) < 0.05
    first, second = (f"{100 * one.mean:.2f}" for one in gain)
    assert f"Mixed for each image kernels are {first} and {second} points above the same mixed alike" in said
    assert f"mixed alike for all images it is {first} to {second} points worse" in top
    assert (
        "on `val` {:.2f} and {:.2f}, the latter not distinguishable from zero.".format(
            *(100 * one.mean for one in on_val)
        )
        in said
    )
    assert "Mixed alike they are {:.2f} and {:.2f} below one".format(*(-100 * one.mean for one in below)) in said
    assert [one.sign for one in on_val] == [1, 0] and [one.sign for one in below] == [0, -1]


def test_runs_of_other_configs_are_refused(tmp_path: Path) -> None:
    result(tmp_path, "one", 0, 0.8, 10e6)
    result(tmp_path, "kernels", 0, 0.8, 9e6)
    result(tmp_path, "kernels", 1, 0.8, 9e6, "base.net.kernels=4")
    with pytest.raises(SystemExit, match=r"kernels-8 holds runs of several configs$"):
        TABLE["read"](tmp_path)


def shown(marks: tuple[str, str]) -> str:
    return (STUDY / "README.md").read_text().partition(marks[0])[2].partition(marks[1])[0].strip()


def test_the_readme_has_the_tables_of_the_results_files() -> None:
    assert shown(TABLE["MARKS"]) == TABLE["table"](TABLE["read"](STUDY / "results"))
    gated, beside = (TABLE["read"](STUDY / "results", ("static", other)) for other in ("kernels", "one"))
    assert shown(TABLE["STATIC"]) == TABLE["static"](gated, beside)
