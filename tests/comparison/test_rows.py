"""What a row says of its runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from moe.comparison import Row, machines
from tests.comparison.conftest import Make


def test_differences_are_of_the_same_seed_whatever_the_order(make: Make) -> None:
    one = Row(tuple(make(seed, test=test) for seed, test in ((0, 0.5), (1, 0.7), (4, 0.9))))
    other = Row(tuple(make(seed, test=test) for seed, test in ((4, 0.8), (3, 0.1), (1, 0.3))))
    assert one.less(other) == pytest.approx([0.4, 0.1])
    assert other.less(one) == pytest.approx([-0.1, -0.4])


def test_a_mean_is_of_the_runs_that_know_it(make: Make) -> None:
    row = Row(tuple(make(seed, routed=routed) for seed, routed in ((0, 2e6), (1, None), (2, 4e6))))
    assert row.mean("routed") == 3e6
    assert Row((make(routed=None),)).mean("routed") is None


def test_machines_are_those_of_runs_and_of_their_networks(make: Make, tmp_path: Path) -> None:
    base = {"seconds": 1.0, "machine": "CPU, 2 threads"}
    old = {"seconds": 1.0}  # from before a network's record had it
    said = {"machine": "CPU, 1 threads", "seconds": {"base": base, "gates": old}}
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, **said}))
    assert machines([replace(make(), path=tmp_path)]) == ["CPU, 1 thread", "CPU, 2 threads"]
