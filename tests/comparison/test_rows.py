"""What a row says of its runs."""

import pytest

from moe.comparison import Row
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
