"""The fast study's tables, from results files made by hand."""

import json
import runpy
from pathlib import Path
from statistics import fmean

import pytest

import moe
from moe import metrics
from moe.comparison.estimate import estimate
from moe.results import SCHEMA
from moe.results.bits import unpack

STUDY = Path(__file__).parents[1] / "experiments" / "fast"
TABLE = runpy.run_path(str(STUDY / "table.py"))
NARROW = ("base.net.size=s", "base.net.widths=[16,64,64]", "base.recipe.epochs=10")


def result(folder: Path, arm: str, seed: int, accuracy: float, *overrides: str) -> None:
    run = folder / arm / str(seed)
    run.mkdir(parents=True)
    views = "base.views=flip_shift" if arm.endswith("_views") else "base.views=none"
    said = {
        "schema": SCHEMA,
        "experiment": "base",
        "seed": seed,
        "precision": "32-true",
        "git": "abcdef0",
        "val": None,
        "test": {"accuracy": accuracy},
        "baselines": None,
        "verdict": None,
        "cost": {"training_flops": {"stages": {"base": 1.8e15}, "optimizer": 1e13, "total": 1.8e15}},
        "data": {"name": "cifar10", "fingerprint": "f", "protocol": "held_out"},
        "config": moe.compose("experiment=base", *NARROW, views, *overrides, f"seed={seed}").plain(),
        "seconds": {"base": {"seconds": 600.0 * (seed + 1), "machine": "one core", "reused": False}},
    }
    (run / "results.json").write_text(json.dumps(said))


def test_means_spreads_and_paired_differences_by_hand(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        for arm in ("s", "narrow"):
            result(tmp_path, arm, seed, accuracy)
            result(tmp_path, f"{arm}_views", seed, accuracy + 0.01)
        result(tmp_path, "sgd", seed, accuracy + (0.01, 0.03)[seed], "base.recipe.muon=null")
    for seed in (1, 2):
        result(tmp_path, "no_dirac", seed, 0.91, "base.net.dirac=false")
    arms = TABLE["read"](tmp_path)
    sizes, ablation = TABLE["sizes"](arms), TABLE["ablation"](arms)
    # The standard error of 90 and 92 is 1, Student's t of one degree of freedom 12.706; in 15 minutes 1.8 PFLOP are 2
    # TFLOP a second.
    assert "| `s` | 2 | 10 | 91.00 ±12.71 | 92.00 ±12.71 | 1.80 | 15 (10 to 20) | 2.00 |" in sizes
    assert "| `m` | 0 | - | - | - | - | - | - |" in sizes
    assert sizes.endswith("Trained on one core in 32-true.")
    # Seeds that agree have no interval.
    assert "| nothing else | 2 | 91.00 ±12.71 |  | -1.00 | 15.0 (10.0 to 20.0) |" in ablation
    # Of seed 1 alone, which both have: 91 less 92.
    assert "| convolutions that start at random | 2 | 91.00 | -1.00 (n=1) | - | 25.0 (20.0 to 30.0) |" in ablation
    # 91 and 95: a standard error of 2; 1 and 3 points: one of 1.
    sgd = "| kernels by SGD, too, in place of Muon | 2 | 93.00 ±25.41 | +2.00 [-10.71, +14.71] | - |"
    assert f"{sgd} 15.0 (10.0 to 20.0) |" in ablation


def test_minutes_are_the_median(tmp_path: Path) -> None:
    for seed in (0, 1, 5):
        result(tmp_path, "s", seed, 0.9)
    # 10, 20 and 60 minutes, in 20 of which 1.8 PFLOP are 1.5 TFLOP a second.
    assert "| `s` | 3 | 10 | 90.00 | - | 1.80 | 20 (10 to 60) | 1.50 |" in TABLE["sizes"](TABLE["read"](tmp_path))


def test_a_size_by_another_recipe_differs_in_that_alone(tmp_path: Path) -> None:
    large = ["base.net.size=l"]
    plain = ["base.recipe.augment.shift=2", "base.recipe.augment.cutout=0", "base.recipe.muon.bf16=false"]
    own = ("base.recipe.augment.shift=4", "base.recipe.augment.cutout=12", "base.recipe.muon.bf16=true")
    result(tmp_path, "l", 0, 0.9, *large, *own)
    result(tmp_path, "l_plain", 0, 0.8, *large, *plain)
    assert "| `l`, Muon in fp32, shifted by 2 pixels and not 4, nothing cut out | 1 | 10 | 80.00 |" in TABLE["sizes"](
        TABLE["read"](tmp_path)
    )
    for other, said in (
        ([*plain, "base.recipe.decay=0.1"], r"base\.recipe\.decay"),
        ([plain[0], "base.recipe.augment.cutout=12", plain[2]], "nothing that it says"),
    ):
        (tmp_path / "l_plain" / "0" / "results.json").unlink()
        (tmp_path / "l_plain" / "0").rmdir()
        result(tmp_path, "l_plain", 0, 0.8, *large, *other)
        with pytest.raises(SystemExit, match=rf"^l_plain differs from l in {said}$"):
            TABLE["sizes"](TABLE["read"](tmp_path))


def test_an_arm_is_its_own_change_and_no_other(tmp_path: Path) -> None:
    result(tmp_path, "narrow", 0, 0.9)
    result(tmp_path, "no_dirac", 0, 0.9, "base.net.dirac=false", "base.net.widths=null")
    with pytest.raises(SystemExit, match=r"^no_dirac differs from narrow in base\.net\.widths$"):
        TABLE["ablation"](TABLE["read"](tmp_path))
    result(tmp_path, "no_dirac", 1, 0.9, "base.net.dirac=false")
    with pytest.raises(SystemExit, match=r"no_dirac holds runs that differ in base\.net\.widths, "):
        TABLE["read"](tmp_path)


def test_every_arm_of_the_command_has_a_row() -> None:
    command = (STUDY / "run.sh").read_text()
    named = command.partition('ablation="')[2].partition('"')[0].split()
    assert named == ["narrow", *TABLE["ABLATION"]]
    assert all(f"            {arm})" in command for arm in named) and "s | m)" in command
    assert all(arm in ("s", "m") or f"            {arm})" in command for arm in TABLE["SIZES"])


@pytest.mark.parametrize("name", ["sizes", "ablation"])
def test_the_readme_has_the_tables_of_the_results_files(name: str) -> None:
    begin, end = f"<!-- table: experiments/fast/table.py, {name} -->", "<!-- end of table -->"
    made = TABLE[name](TABLE["read"](STUDY / "results"))
    assert (STUDY / "README.md").read_text().partition(begin)[2].partition(end)[0].strip() == made


def test_what_the_readme_says_of_the_methods() -> None:
    arms, said = TABLE["read"](STUDY / "results"), " ".join((STUDY / "README.md").read_text().split())
    lost = {name: estimate(arms["narrow"].less(arms[name])) for name in TABLE["ABLATION"] if name != "narrow"}
    seen = {name: estimate(arms["narrow_views"].less(arms[f"{name}_views"])) for name in lost}
    viewed = {name: 100 * seen[name].mean for name in ("no_flip", "no_shift")}
    by = {name: f"{100 * found.mean:.1f}" for name, found in lost.items()}
    ends = {
        name: f"{100 * found.mean:.1f} [{100 * found.ci95[0]:.2f}, {100 * found.ci95[1]:.2f}]"
        for name, found in seen.items()
    }
    for sentence in (
        f"is worth most, {by['constant']} points over one that stays. Frozen whitening is next, "
        f"{by['no_whitening']}, or {by['standardised']} where",
        f"Test-time views are worth {100 * fmean(arms['narrow_views'].less(arms['narrow'])):.1f} points",
        f"of label smoothing {by['no_smoothing']}, convolutions that begin by passing their input on "
        f"{by['no_dirac']}, Muon for the kernels {by['sgd']}, flips that alternate in place of flips by chance "
        f"{by['no_alternating']}, shifts {by['no_shift']}, a rate of their own for normalisations' biases "
        f"{by['no_bias_lr']}, flips {by['no_flip']}.",
        f"while learning are worth {viewed['no_flip']:.1f} and {viewed['no_shift']:.1f}. Two",
        f"convolutions that begin by passing their input on, {ends['no_dirac']}, and a rate of their own for "
        f"normalisations' biases, {ends['no_bias_lr']}.",
        f"A square cut out of each image costs {by['cutout']} points,",
        f"in place of the average {by['lookahead']}, as much below a network that has neither",
    ):
        assert sentence in said, sentence
    clear = {"constant", "no_whitening", "standardised", "cutout", "lookahead"}
    assert {name for name, found in lost.items() if found.sign} == clear
    assert {name for name, found in seen.items() if found.sign} == clear | {"no_dirac", "no_bias_lr"}
    assert by["no_averaging"] == "0.0"
    neither = 100 * fmean(arms["no_averaging"].less(arms["lookahead"]))
    assert f"{neither:.1f}" == by["lookahead"]


def test_what_the_readme_says_of_shifts_and_squares_at_size_l() -> None:
    arms, said = TABLE["read"](STUDY / "results"), " ".join((STUDY / "README.md").read_text().split())
    own, plain = arms["l_views"].first, arms["l_plain_views"].first
    right = [unpack(run.right["test"], run.images) for run in (own, plain)]
    compared = metrics.compare(*right)
    assert compared.ci95 is not None and compared.mcnemar_p < 0.001
    low, high = (100 * end for end in compared.ci95)
    better = 100 * (own.val - plain.val)
    assert (
        f"with views it has {100 * own.test:.2f}, from 45,000 images. That is {100 * compared.difference:.2f} more "
        f"than `l_plain`, shifted by 2 pixels with nothing cut out ({low:.2f} to {high:.2f} over the test images, "
        f"McNemar p below 0.001; on `val` {better:.2f})."
    ) in said
    small, middle, large = (100 * arms[f"{size}_views"].test.mean for size in ("s", "m", "l"))
    memory = json.loads((own.path.parents[1] / "l" / "0" / "results.json").read_text())["peak_memory_bytes"]
    top = " ".join((STUDY.parents[1] / "README.md").read_text().split())
    assert (
        f"the base alone then has {small:.1f} % (three seeds), with `base.net.size=m` {middle:.1f}, and with `l` "
        f"{large:.1f}, after two hours on two cores that are quick in bf16 and with {memory / 1e9:.1f} GB."
    ) in top
    assert arms["s_views"].n == 3 and arms["m_views"].n == arms["l_views"].n == 1
    assert 110 < arms["l"].first.seconds / 60 < 130


def test_what_the_readme_says_of_muon_in_bf16() -> None:
    arms, said = TABLE["read"](STUDY / "results"), " ".join((STUDY / "README.md").read_text().split())
    of_s = estimate(arms["s_bf16_views"].less(arms["s_views"]))
    gaps = []
    for beside, own in (
        ("verdict/earlier/base", "kernels/results/one-16"),
        ("verdict/narrow_earlier/base", "kernels/results/one-8"),
    ):
        for seed in range(5):
            run, other = (
                json.loads((STUDY.parent / place / str(seed) / "results.json").read_text()) for place in (own, beside)
            )
            assert run["config"]["base"]["net"]["widths"] == other["config"]["base"]["net"]["widths"]
            gaps.append(run["test"]["accuracy"] - other["test"]["accuracy"])
    narrow = estimate(gaps)
    assert (
        f"over the three seeds of `s` it is {100 * of_s.mean:+.2f} points with views "
        f"[{100 * of_s.ci95[0]:+.2f}, {100 * of_s.ci95[1]:+.2f}], over ten pairs of narrow bases of other studies "
        f"{100 * narrow.mean:+.2f} [{100 * narrow.ci95[0]:+.2f}, {100 * narrow.ci95[1]:+.2f}]"
    ) in said
    assert of_s.sign == narrow.sign == 0
