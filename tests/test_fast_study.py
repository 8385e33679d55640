"""The fast study's tables, from results files made by hand."""

import json
import runpy
from pathlib import Path

from moe.results import SCHEMA

STUDY = Path(__file__).parents[1] / "experiments" / "fast"


def result(folder: Path, arm: str, seed: int, accuracy: float) -> None:
    run = folder / arm / str(seed)
    run.mkdir(parents=True)
    said = {
        "schema": SCHEMA,
        "seed": seed,
        "test": {"accuracy": accuracy},
        "config": {"base": {"recipe": {"epochs": 10}}},
        "seconds": {"base": {"seconds": 100.0 + seed, "machine": "one core", "reused": False}},
    }
    (run / "results.json").write_text(json.dumps(said))


def test_means_spreads_and_paired_differences_by_hand(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        result(tmp_path, "s", seed, accuracy)
        result(tmp_path, "s_views", seed, accuracy + 0.01)
    result(tmp_path, "no_dirac", 1, 0.91)
    sizes, ablation, words = runpy.run_path(str(STUDY / "table.py"))["tables"](tmp_path)
    # The standard deviation of 90 and 92 is the square root of 2.
    assert "| `s` | 2 | 10 | 91.00 ± 1.41 | 92.00 ± 1.41 | 100 |" in sizes
    assert "| `m` | 0 | - | - | - | - |" in sizes
    assert "| `s` without test-time views |  | -1.00 ± 0.00 |" in ablation
    assert "| convolutions that start at random | -1.00 | - |" in ablation  # of seed 1 alone: 91 less 92
    assert "one core" in words


def test_every_arm_of_the_command_has_a_row() -> None:
    arms = (STUDY / "run.sh").read_text()
    found = runpy.run_path(str(STUDY / "table.py"))
    assert all(f"{arm})" in arms for arm in found["ABLATION"]) and "s | m | l)" in arms
