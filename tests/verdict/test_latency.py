"""How long an image takes each rival: what is timed, which runs it is of, and how it is shown."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moe.errors import StoreError
from moe.report.verdict import against_cost
from moe.verdict import Latency, Spread, notes, rival_columns, rivals
from moe.verdict.latency import clocked, measure
from tests.verdict.contested import run

OLD = "ms an image is from before what was measured was recorded: that it is of these very runs nothing says."


def measured(**given: Any) -> Latency:
    """Three repeats of two rivals at batch 1."""
    seconds = {"hard": {"1": [0.011, 0.00716, 0.00616]}, "ensemble": {"1": [0.127, 0.0095, 0.00999]}}
    keys, seeds = {"hard": "run-h", "ensemble": "run-e"}, {"hard": 0, "ensemble": 0}
    whole = {"keys": keys, "routed": {"hard": 2e6, "ensemble": 2e6}, "load": 0.5}
    return Latency("a CPU", "2.15", 3, seeds, seconds, **{**whole, **given})


def test_batches_are_waited_for_one_by_one_and_their_time_is_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("moe.verdict.latency.time", SimpleNamespace(perf_counter=iter([10.0, 16.0]).__next__))
    spent = clocked(
        lambda part: done.append(f"of {len(part)}"), torch.zeros(3, 2).split(2), lambda: done.append("wait")
    )
    assert done == ["of 2", "wait", "of 1", "wait"] and spent == 6 / 3


def test_a_figure_has_two_digits_and_its_spread() -> None:
    found = rivals([run("hard", 0, 8, key="run-h"), run("ensemble", 0, 7, key="run-e")])
    cells = {column.title: dict(zip(found, column.cells, strict=True)) for column in rival_columns(found, measured())}
    assert cells["ms at 1"] == {"hard": "7.2 (6.2 to 11)", "ensemble": "10 (9.5 to 127)"}
    (said,) = (note for note in notes(found, [], measured()) if note.startswith("ms an image"))
    assert "least and greatest of 3 repeats taken in turn, of seed 0, on a CPU at a load of 0.5, torch 2.15;" in said
    (said,) = (note for note in notes(found, [], measured(alone=7)) if note.startswith("ms an image"))
    assert " repeats taken in turn, at a batch of 1 each of 7 other images, of seed 0, on a CPU" in said


def test_the_very_same_networks_have_one_figure() -> None:
    twin = {name: run(name, 0, 7, key="run-e") for name in ("ensemble", "long_ensemble")}
    found = rivals([run("hard", 0, 8, key="run-h"), *twin.values()])
    # Whether only one of them was measured, or both, as files from before have it.
    ensemble = Spread(pytest.approx(9.99), pytest.approx(9.5), pytest.approx(127))
    seconds = {**measured().seconds, "long_ensemble": {"1": [1.0, 1.0, 1.0]}}
    both = replace(measured(keys={}, routed={}), seconds=seconds)
    for latency in (measured(), both):
        spreads = latency.spreads(found, 1)
        assert spreads["ensemble"] == spreads["long_ensemble"] == ensemble


@pytest.mark.parametrize("other", [{"key": "run-x"}, {"routed": 1e6}, {"seed": 1}])
def test_what_was_measured_of_other_runs_is_left_out_and_said(other: dict[str, Any]) -> None:
    hard = run("hard", other.get("seed", 0), 8, **{"key": "run-h", **{k: v for k, v in other.items() if k != "seed"}})
    found = rivals([hard, run("ensemble", 0, 7, key="run-e")])
    assert list(measured().spreads(found, 1)) == ["ensemble"]
    assert "Without ms an image, measured by other runs than these: hard; see --latency." in notes(
        found, [], measured()
    )


def test_a_file_from_before_keys_were_recorded_is_read_and_doubted(tmp_path: Path) -> None:
    found = rivals([run("hard", 0, 8, key="run-x"), run("ensemble", 0, 7, key="run-e")])
    plain = {key: value for key, value in asdict(measured()).items() if key not in ("keys", "routed", "load")}
    (tmp_path / "latency.json").write_text(json.dumps(plain))
    latency = Latency.read(tmp_path / "latency.json")
    assert latency is not None and set(latency.spreads(found, 1)) == {"hard", "ensemble"}
    assert OLD in notes(found, [], latency) and OLD not in notes(found, [], measured())


@pytest.mark.parametrize(
    "damage",
    [
        *({"seconds": {"hard": each}} for each in ({"1": []}, {"1": [0.0]}, {"1": [math.inf]}, {"x": [1.0]})),
        *({"seconds": {}}, {"load": "a"}, {"repeats": [1]}, {"machine": 3}),
    ],
)
def test_a_damaged_file_is_refused(damage: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    measured().write(file)
    assert Latency.read(file) == measured()
    file.write_text(json.dumps({**asdict(measured()), **damage}))
    with pytest.raises(StoreError, match="is damaged: measure again with --latency"):
        Latency.read(file)
    file.write_text(json.dumps({**asdict(measured()), "seeds": {}}))  # of which runs the keys are
    with pytest.raises(StoreError, match="is damaged"):
        Latency.read(file)


def test_the_picture_has_bars_and_no_front_where_a_cost_was_measured() -> None:
    found = rivals([run("hard", 0, 8, key="run-h"), run("ensemble", 0, 7, key="run-e")])
    counted = against_cost(found, {"hard": 2.0, "ensemble": 1.0}, "MFLOP").axes[0]
    clock = against_cost(found, measured().spreads(found, 1), "ms").axes[0]

    def fronts(axes: Any) -> int:
        return sum(line.get_drawstyle() == "steps-post" for line in axes.lines)

    assert (fronts(counted), fronts(clock)) == (1, 0)
    ends = [segment[:, 0].tolist() for lines in clock.collections for segment in lines.get_segments()]
    for least, greatest in ((6.16, 11.0), (9.5, 127.0)):
        assert pytest.approx([least, greatest]) in ends


def test_it_is_measured_on_the_gpu_that_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def device_again(trainer: Any) -> None:
        asked.append(trainer)
        raise StoreError("enough")

    trained = SimpleNamespace(config=SimpleNamespace(trainer={"accelerator": "gpu", "devices": [1]}))
    monkeypatch.setattr("moe.verdict.latency.device_again", device_again)
    monkeypatch.setattr("moe.verdict.latency.runs.load", lambda path: trained)
    with pytest.raises(StoreError, match="enough"):
        measure(rivals([run("hard", 0, 8)]))
    assert asked == [trained.config.trainer]
