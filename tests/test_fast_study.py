"""The fast study's tables, from results files made by hand."""

import json
import runpy
from pathlib import Path

import pytest

from moe.results import SCHEMA

STUDY = Path(__file__).parents[1] / "experiments" / "fast"


def result(folder: Path, arm: str, seed: int, accuracy: float) -> None:
    run = folder / arm / str(seed)
    run.mkdir(parents=True)
    said = {
        "schema": SCHEMA,
        "seed": seed,
        "precision": "32-true",
        "test": {"accuracy": accuracy},
        "config": {"base": {"recipe": {"epochs": 10}}},
        "seconds": {"base": {"seconds": 600.0 * (seed + 1), "machine": "one core", "reused": False}},
    }
    (run / "results.json").write_text(json.dumps(said))


def test_means_spreads_and_paired_differences_by_hand(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        for arm in ("s", "narrow"):
            result(tmp_path, arm, seed, accuracy)
            result(tmp_path, f"{arm}_views", seed, accuracy + 0.01)
        result(tmp_path, "muon", seed, accuracy + (0.01, 0.03)[seed])
    result(tmp_path, "no_dirac", 1, 0.91)
    study = runpy.run_path(str(STUDY / "table.py"))
    sizes, ablation = study["sizes"](tmp_path), study["ablation"](tmp_path)
    # The standard deviation of 90 and 92 is the square root of 2; 10 and 20 minutes are 15.
    assert "| `s` | 2 | 10 | 91.00 ± 1.41 | 92.00 ± 1.41 | 15 |" in sizes
    assert "| `m` | 0 | - | - | - | - |" in sizes
    assert sizes.endswith("Trained on one core in 32-true.")
    assert "| nothing else | 2 | 91.00 ± 1.41 |  | -1.00 |" in ablation  # seeds that agree have no interval
    assert "| convolutions that start at random | 1 | 91.00 | -1.00 | - |" in ablation  # of seed 1 alone: 91 less 92
    # 1 and 3 points: Student's t of one degree of freedom is 12.706, the standard error 1.
    assert "| kernels by Muon | 2 | 93.00 ± 2.83 | +2.00 [-10.71, +14.71] | - |" in ablation


def test_every_arm_of_the_command_has_a_row() -> None:
    arms = (STUDY / "run.sh").read_text()
    found = runpy.run_path(str(STUDY / "table.py"))
    assert all(f"{arm})" in arms for arm in found["ABLATION"]) and "s | m | l)" in arms


@pytest.mark.parametrize("name", ["sizes", "ablation"])
def test_the_readme_has_the_tables_of_the_results_files(name: str) -> None:
    begin, end = f"<!-- table: experiments/fast/table.py, {name} -->", "<!-- end of table -->"
    made = runpy.run_path(str(STUDY / "table.py"))[name](STUDY / "results")
    assert (STUDY / "README.md").read_text().partition(begin)[2].partition(end)[0].strip() == made
