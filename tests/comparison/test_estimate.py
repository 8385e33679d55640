"""Means, intervals and Pareto fronts against numbers worked out by hand."""

import pytest

from moe.comparison import values
from moe.comparison.estimate import Estimate, estimate, pareto, wilson


def test_the_interval_of_three_seeds() -> None:
    # Mean 0.85, deviations -0.05, 0, 0.05: sd = sqrt(0.005 / 2) = 0.05. t(0.975, 2) = 4.302653.
    # 4.302653 * 0.05 / sqrt(3) = 0.124207.
    found = estimate([0.8, 0.85, 0.9])
    assert found is not None and found.ci95 is not None
    assert found.mean == pytest.approx(0.85)
    assert found.ci95 == pytest.approx((0.725793, 0.974207), abs=1e-6)
    assert found.half == pytest.approx(0.124207, abs=1e-6)


def test_the_interval_of_two_seeds() -> None:
    # Mean 2, sd = sqrt(2), t(0.975, 1) = 12.706205: half = 12.706205 * sqrt(2) / sqrt(2).
    found = estimate([1.0, 3.0])
    assert found is not None and found.half == pytest.approx(12.706205, abs=1e-6)


def test_one_value_has_no_interval_and_a_missing_one_no_mean() -> None:
    assert estimate([0.5]) == Estimate(0.5, None)
    assert estimate([]) is None and estimate([None]) is None and estimate([0.5, None]) is None


def test_seeds_that_agree_have_no_interval() -> None:
    assert estimate([0.1 + 0.2, 0.3, 0.3]) == Estimate(pytest.approx(0.3), None)


@pytest.mark.parametrize("count", [10, 50, 200, 250, 10_000])
def test_where_all_or_none_are_right_the_interval_ends_there(count: int) -> None:
    # Wilson's ends at part 1 are 1 and 1 / (1 + z2 / count); by symmetry 0 and 1 less that at 0.
    end = 1 / (1 + 1.959963984540054**2 / count)
    every, none = wilson(1.0, count), wilson(0.0, count)
    assert every.ci95 is not None and none.ci95 is not None
    assert every.ci95[1] >= 1.0 and every.ci95 == pytest.approx((end, 1.0)) and none.ci95[0] <= 0.0
    assert none.ci95 == pytest.approx((0.0, 1 - end), abs=1e-12)


def test_only_a_whole_interval_with_a_width_is_above_or_below_zero() -> None:
    assert Estimate(0.2, (0.1, 0.3)).sign == 1
    assert Estimate(-0.2, (-0.3, -0.1)).sign == -1
    assert Estimate(0.1, (-0.1, 0.3)).sign == 0
    assert Estimate(0.1).sign == 0
    assert Estimate(0.1, (0.1, 0.1)).sign == 0  # three seeds, each one image better


def test_the_pareto_front() -> None:
    #          cost accuracy
    points = [
        (3.0, 0.90),  # the most accurate, though 4 is as accurate and costs more
        (1.0, 0.70),  # the cheapest
        (2.0, 0.70),  # as accurate as 1 and costs more: beaten
        (2.0, 0.80),  # between
        (4.0, 0.90),  # beaten by 0
        (2.0, 0.80),  # equals 3: neither beats the other
        (2.5, 0.75),  # beaten by 3
        (3.0, 0.85),  # beaten by 0 alone, which costs as much
    ]
    assert pareto(points) == [1, 3, 5, 0]
    assert pareto([(1.0, 0.5)]) == [0] and pareto([]) == []


def test_an_interval_of_a_file_holds_its_number_and_has_a_width() -> None:
    assert values.interval([-0.1, 0.3], 0.1) == [-0.1, 0.3]
    assert values.interval(None, 0.1) is None
    # As was written once of two classifiers that are right on the same images.
    assert values.interval([0.0, 0.0], 0.0) is None
    with pytest.raises(ValueError, match="no interval around"):
        values.interval([0.2, 0.3], 0.1)
