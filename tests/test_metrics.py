"""Every expected number is worked out in a comment or by another library."""

import math

import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss

from moe import metrics

PROBABILITIES = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
LABELS = torch.tensor([0, 1, 2, 1])


def test_accuracy_takes_the_first_of_equals() -> None:
    # The second image's first two classes are level: class 0 is said, its label is 1. Three of four are right.
    assert metrics.accuracy(PROBABILITIES, LABELS) == 0.75


def test_nll_is_sklearns() -> None:
    # -(ln 0.7 + ln 0.4 + ln 0.6 + ln 0.5) / 4 = 0.61923
    assert metrics.nll(PROBABILITIES, LABELS) == pytest.approx(0.61923, abs=1e-5)
    assert metrics.nll(PROBABILITIES, LABELS) == pytest.approx(
        log_loss(LABELS, PROBABILITIES.double().round(decimals=6)), abs=1e-6
    )


def test_nll_of_an_impossible_label_is_finite() -> None:
    # The smallest normal fp32 number is 2^-126: 126 ln 2 = 87.336 nats.
    nll = metrics.nll(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    assert nll == pytest.approx(126 * math.log(2), rel=1e-6)


def test_ece_is_the_gap_weighted_by_bin() -> None:
    # Ten bins. Confidences 0.95 (right) and 0.93 (wrong) share a bin: |0.5 - 0.94| = 0.44, half of the images;
    # 0.62 (right) and 0.68 (right): |1 - 0.65| = 0.35, the other half. 0.22 + 0.175 = 0.395.
    top = torch.tensor([0.95, 0.93, 0.62, 0.68])
    probabilities = torch.stack([top, 1 - top], dim=1)
    assert metrics.ece(probabilities, torch.tensor([0, 1, 0, 0]), bins=10) == pytest.approx(0.395, abs=1e-6)


def test_ece_takes_a_rounding_error_for_no_logit() -> None:
    probabilities = torch.tensor([[1.0 + 1e-6, 0.0], [0.0, 1.0]])
    assert metrics.ece(probabilities, torch.tensor([0, 1])) == 0.0


def test_per_class_has_none_for_a_class_without_images() -> None:
    right = torch.tensor([True, False, True, True])
    assert metrics.per_class(right, LABELS, 4) == [1.0, 0.5, 1.0, None]


def test_confusion_is_sklearns() -> None:
    said = torch.tensor([0, 0, 2, 1])
    counts = metrics.confusion(LABELS, said, 3)
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert counts.tolist() == confusion_matrix(LABELS, said).tolist()


def test_compare_by_hand() -> None:
    # Both right 3, only a 4, only b 1, none 2. The mean difference is (4 - 1) / 10 = 0.3; the sum of squares is 5,
    # so the variance is (5 - 10 * 0.09) / 9 = 0.45556, its root 0.67495, the half interval
    # 1.95996 * 0.67495 / sqrt(10) = 0.41833.
    a = torch.tensor([1, 1, 1, 1, 1, 1, 1, 0, 0, 0]).bool()
    b = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1, 0, 0]).bool()
    comparison = metrics.compare(a, b)
    assert comparison.difference == pytest.approx(0.3)
    assert comparison.ci95 == pytest.approx([-0.11833, 0.71833], abs=1e-5)
    # Five discordant, 4 to 1: 2 * (5 + 1) / 2^5 = 0.375.
    assert comparison.mcnemar_p == pytest.approx(0.375)


def test_compare_is_scipys_and_antisymmetric() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(500, generator=generator) < 0.8
    b = torch.rand(500, generator=generator) < 0.7
    there, back = metrics.compare(a, b), metrics.compare(b, a)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert there.mcnemar_p == binomtest(only_a, only_a + only_b, 0.5).pvalue == back.mcnemar_p
    assert there.ci95 is not None and back.ci95 is not None
    assert there.ci95 == pytest.approx([-back.ci95[1], -back.ci95[0]])


def test_compare_of_equals_and_of_one_image() -> None:
    same = torch.tensor([True, False, True])
    assert metrics.compare(same, same) == metrics.Comparison(0.0, None, 1.0)
    # Ten images that only one gets right: no scatter either, and 2 / 2^10 of such a chance.
    assert metrics.compare(torch.ones(10).bool(), torch.zeros(10).bool()) == metrics.Comparison(1.0, None, 2 / 2**10)
    assert metrics.compare(torch.tensor([True]), torch.tensor([False])) == metrics.Comparison(1.0, None, 1.0)
