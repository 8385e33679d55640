"""Runs of one config and several seeds are a row of means and intervals."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.compared import changed, command, rounded, write


@pytest.fixture
def found(run: Path) -> dict[str, Any]:
    return rounded(run)


def seeded(found: dict[str, Any], seed: int, val: float, test: float, gain: float, **config: Any) -> dict[str, Any]:
    """A copy that is another seed's run: its accuracies and its difference to the uniform average."""
    other = changed(found, val, seed=seed, **config) | {"seed": seed}
    other["test"]["accuracy"] = test
    other["verdict"]["uniform"].update(difference=gain, ci95=[gain - 0.015, gain + 0.015])
    return other


def test_seeds_share_a_row_of_means_and_intervals(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, (val, test, gain) in enumerate([(0.80, 0.75, 0.01), (0.85, 0.80, 0.02), (0.90, 0.85, 0.03)]):
        write(tmp_path / f"narrow{seed}", seeded(found, seed, val, test, gain, gate__width=16))
    write(tmp_path / "wide", seeded(found, 0, 0.86, 0.70, -0.01, gate__width=64))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    # The mean of the narrow on val is 0.85, below the wide's 0.86; that its test is better orders nothing.
    # t of 2 degrees of freedom is 4.302653; sd 0.05: 4.302653 * 0.05 / sqrt(3) = 0.124207; sd 0.01: 0.024841.
    out = command(capsys, ".")[1].splitlines()
    assert out[0].startswith("#  experiment  n           val          test  width  ")
    assert out[1].startswith("1  demo        1  86.00         70.00         64     ")
    assert out[2].startswith("2  demo        3  85.00 ±12.42  80.00 ±12.42  16     ")
    assert "-1.00 [-2.50, +0.50]" in out[1] and "+2.00 [-0.48, +4.48]" in out[2]
    assert out[4:6] == ["1  wide", "2  narrow0 and 2 more"]
    assert "95% interval of the mean over n seeds" in out[7] and "[ ] where n is 1: the paired" in out[8]

    wide, narrow = json.loads(command(capsys, ".", "--json")[1])
    assert (narrow["n"], narrow["seeds"], narrow["config"]) == (3, [0, 1, 2], {"gate.width": 16})
    assert narrow["val"]["accuracy"] == pytest.approx(0.85)
    assert narrow["test"]["ci95"] == pytest.approx([0.8 - 0.124207, 0.8 + 0.124207], abs=1e-6)
    assert narrow["verdict"]["uniform"]["over"] == "seeds"
    assert narrow["verdict"]["uniform"]["ci95"] == pytest.approx([0.02 - 0.024841, 0.02 + 0.024841], abs=1e-6)
    assert [(run["seed"], run["val"]["accuracy"]) for run in narrow["runs"]] == [(0, 0.8), (1, 0.85), (2, 0.9)]
    assert wide["test"] | {"router": 0, "branch": 0} == {"accuracy": 0.7, "ci95": None, "router": 0, "branch": 0}

    lines = list(csv.DictReader(io.StringIO(command(capsys, ".", "--csv")[1])))
    assert [line["n"] for line in lines] == ["1", "3"]
    assert float(lines[1]["test.ci95.low"]) == pytest.approx(0.8 - 0.124207, abs=1e-6)
    assert json.loads(lines[1]["runs"]) == ["narrow0", "narrow1", "narrow2"]


def test_a_run_that_is_there_twice_is_no_second_seed(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a" / "0", seeded(found, 0, 0.8, 0.8, 0.01))
    write(tmp_path / "a" / "1", seeded(found, 1, 0.9, 0.9, 0.02))
    write(tmp_path / "b" / "0", seeded(found, 0, 0.8, 0.8, 0.01, paths__store="elsewhere"))
    monkeypatch.setenv("COLUMNS", "300")
    (row,) = json.loads(command(capsys, tmp_path, "--json")[1])
    assert (row["seeds"], row["copies"]) == ([0, 1], [str(tmp_path / "b" / "0")])
    assert "Left out: 1 run of a config and seed that is here already" in command(capsys, tmp_path)[1]
    assert "the same seed" not in command(capsys, tmp_path, "--runs")[1]  # a row each, of which two are alike

    # Another machine's numbers for the same seed are a row of their own; rows are filled by path, never by accuracy.
    write(tmp_path / "c" / "0", seeded(found, 0, 0.7, 0.95, 0.01))
    rows = json.loads(command(capsys, tmp_path, "--json")[1])
    assert [[run["path"][-3:] for run in row["runs"]] for row in rows] == [["a/0", "a/1"], ["c/0"]]
    assert "Rows 1, 2 are of one config: the same seed came to different numbers" in command(capsys, tmp_path)[1]
    each = command(capsys, tmp_path, "--runs")[1]
    assert "Rows 1, 2, 3, 4 are of one config: the same seed came to different numbers" in each


def test_other_data_or_protocol_is_another_row(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", seeded(found, 0, 0.8, 0.8, 0.01))
    write(tmp_path / "b", seeded(found, 1, 0.8, 0.8, 0.01))
    other = seeded(found, 2, 0.8, 0.8, 0.01)
    other["data"]["fingerprint"] = "f" * 64
    write(tmp_path / "c", other)
    another = seeded(found, 3, 0.8, 0.8, 0.01)
    another["data"]["protocol"] = "notebook"
    write(tmp_path / "d", another)
    assert [row["seeds"] for row in json.loads(command(capsys, tmp_path, "--json")[1])] == [[0, 1], [2], [3]]


def test_the_precision_that_auto_came_to_be_makes_another_row(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, (asked, precision) in enumerate((("auto", "32-true"), ("32-true", "32-true"), ("auto", "bf16-mixed"))):
        run = changed(found, 0.9 - seed / 10, seed=seed, trainer__precision=asked)
        write(tmp_path / f"run{seed}", {**run, "seed": seed, "precision": precision})
    code, out, _ = command(capsys, tmp_path, "--json")
    rows = json.loads(out)
    assert code == 0 and [(row["seeds"], row["config"]) for row in rows] == [
        ([0, 1], {"trainer.precision": "32-true"}),
        ([2], {"trainer.precision": "bf16-mixed"}),
    ]


def test_runs_from_before_the_gates_parameters_were_counted(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del found["cost"]["gate_parameters"]
    write(tmp_path / "old", found)
    assert "gate parameters" not in command(capsys, tmp_path)[1]
    assert json.loads(command(capsys, tmp_path, "--json")[1])[0]["cost"]["gate_parameters"] is None
