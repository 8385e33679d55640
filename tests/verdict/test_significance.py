import pytest

from moe.verdict.significance import holm, paired_t


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
