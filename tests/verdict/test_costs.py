"""What one side of a comparison costs beside the other."""

import pytest

from moe.verdict import contests, rivals
from tests.verdict.contested import run


def test_costs_are_of_the_seeds_that_are_compared() -> None:
    costs = {0: 1e6, 1: 1e6, 7: 9e6}
    mixture = [run("hard", seed, 8, routed=cost, training_flops=cost) for seed, cost in costs.items()]
    base = [run("base", seed, 7, routed=1.05e6, training_flops=0.95e6) for seed in (0, 1)]
    one, *_ = contests(rivals([*mixture, *base]))
    assert one.inference == pytest.approx(1 / 1.05) and one.training == pytest.approx(1 / 0.95)
    assert one.at_equal_cost and not one.against_cheaper


def test_costs_are_of_the_seeds_of_which_both_are_known() -> None:
    # Of seed 0 what training cost was not counted: 200 beside 200, not beside the mean of 100 and 200.
    mixture = [run("hard", 0, 8, training_flops=None), run("hard", 1, 8, training_flops=200.0)]
    base = [run("base", 0, 7, training_flops=100.0), run("base", 1, 7, training_flops=200.0)]
    assert contests(rivals([*mixture, *base]))[0].training == 1.0
    assert contests(rivals([mixture[0], *base]))[0].training is None


def test_costs_are_sums_beside_sums() -> None:
    mixture = [run("hard", seed, 8, routed=cost) for seed, cost in ((0, 2.0), (1, 3.0))]
    base = [run("base", seed, 7, routed=cost) for seed, cost in ((0, 1.0), (1, 3.0))]
    assert contests(rivals([*mixture, *base]))[0].inference == pytest.approx(5 / 4)


def test_a_tenth_is_a_tenth_of_what_the_other_costs() -> None:
    def beside(routed: float, training: float) -> tuple[bool, bool]:
        one, *_ = contests(
            rivals(
                [
                    run("hard", 0, 8, routed=routed, training_flops=training),
                    run("base", 0, 7, routed=100.0, training_flops=100.0),
                ]
            )
        )
        return one.at_equal_cost, one.against_cheaper

    assert beside(110, 110) == beside(90, 90) == (True, False)
    assert beside(111, 90) == (False, True)  # cheaper to run by more than a tenth, and no dearer to train
    assert beside(111, 89) == beside(89, 100) == beside(100, 111) == (False, False)
