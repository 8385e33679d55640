import math

import numpy as np
import pytest
from scipy.stats import t

from moe.comparison.estimate import Estimate, estimate
from moe.verdict.significance import crossed, holm, paired_t


def test_holm_by_hand() -> None:
    # Ascending 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, and 0.04, which is raised to 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # 3 * 0.2 = 0.6, 2 * 0.6 = 1.2 is cut to 1, and so is what follows.
    assert holm([0.2, 0.9, 0.6]) == pytest.approx([0.6, 1.0, 1.0])
    assert holm([]) == [] and holm([0.03]) == [0.03]
    # Equals get the same.
    assert holm([0.01, 0.01]) == pytest.approx([0.02, 0.02])


def test_paired_t_by_hand() -> None:
    # 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3). With two degrees of freedom p = 1 - t / sqrt(2 + t^2), t^2 = 12.
    assert paired_t([1.0, 2.0, 3.0]) == pytest.approx(1 - (12 / 14) ** 0.5)
    assert paired_t([-1.0, -2.0, -3.0]) == pytest.approx(paired_t([3.0, 2.0, 1.0]))
    # Of two, 0 and 2: mean 1, deviation sqrt(2), t = 1; with one degree of freedom p = 1 - 2 atan(1) / pi.
    assert paired_t([0.0, 2.0]) == pytest.approx(0.5)


def test_seeds_that_agree_to_the_image_show_no_scatter() -> None:
    assert paired_t([0.01, 0.01]) == 1.0 and paired_t([0.0, 0.0, 0.0]) == 1.0


def test_seeds_and_images_that_cross_by_hand() -> None:
    # Means of seeds 1/2 and 1, of images 1, 1, 1/2, 1/2, of all 3/4. Mean squares: of seeds 4 * 1/8 = 1/2, of images
    # 2 * 1/12 = 1/6, of what is left 8 * 1/16 / 3 = 1/6. So the mean's variance is 1/2 / 8.
    found = crossed(np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    freedom = (1 / 2) ** 2 / ((1 / 2) ** 2 / 1 + (1 / 6) ** 2 / 3 + (1 / 6) ** 2 / 3)
    assert found.mean == 0.75 and found.half == pytest.approx(t.ppf(0.975, freedom) / 4)


def test_of_seeds_that_agree_in_every_image_only_images_scatter() -> None:
    found = crossed(np.array([[1.0, 0.0, 0.0, -1.0]] * 2))
    alone = estimate([1.0, 0.0, 0.0, -1.0])
    assert alone is not None and found.ci95 == pytest.approx(alone.ci95)
    assert found.half == pytest.approx(3.182446 * math.sqrt(2 / 3) / 2, rel=1e-6)


def test_of_images_that_are_all_alike_only_seeds_scatter() -> None:
    found = crossed(np.array([[0.0] * 4, [1.0] * 4]))
    assert found.mean == 0.5 and found.half == pytest.approx(12.7062 / 2, rel=1e-5)
    assert crossed(np.array([[1.0] * 4] * 3)) == Estimate(1.0)


def test_with_other_images_no_interval_is_narrower_than_over_the_seeds() -> None:
    # Means of seeds -0.5, 0 and 0.5 and images that differ alike: more degrees of freedom than the seeds' two.
    apart = np.array([[-1.0, 0.0] * 10, [-0.5, 0.5] * 10, [0.0, 1.0] * 10]) * 0.1
    alone = estimate(apart.mean(axis=1).tolist())
    found = crossed(apart)
    assert alone is not None and alone.half is not None and found.half is not None and found.half >= alone.half
