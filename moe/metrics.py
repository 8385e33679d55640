"""What is measured: pure functions of CPU tensors.

Legend: N images, K classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Of a standard normal variable, 95% lies within this of zero.
Z95 = 1.959963984540054


def right(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Whether (N,) the most probable class, the first of equals, of probabilities (N, K) is the label (N,)."""
    return probabilities.argmax(dim=1) == labels


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """The part of images whose most probable class, the first of equals, is their label."""
    return right(probabilities, labels).double().mean().item()


def nll(probabilities: Tensor, labels: Tensor) -> float:
    """The mean negative log-likelihood in nats of labels (N,) under probabilities (N, K).

    A probability of zero counts as the smallest normal one of its type: 87.3 nats in fp32.
    """
    given = probabilities.gather(1, labels[:, None]).clamp_min(torch.finfo(probabilities.dtype).tiny)
    return -given.double().log().mean().item()


def ece(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The expected calibration error: the mean gap between confidence and accuracy over `bins` equal bins.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error  # late: its import is slow

    # Above one by rounding alone, probabilities would be taken for logits.
    safe = probabilities.clamp(0, 1)
    return multiclass_calibration_error(safe, labels, safe.shape[1], n_bins=bins, norm="l1").item()


def mean_or_none(values: Tensor) -> float | None:
    """The mean of values (N,), None where there are none."""
    return values.double().mean().item() if len(values) else None


def per_class(right: Tensor, labels: Tensor, num_classes: int) -> list[float | None]:
    """The part of each class's images that are `right` (N,), None for a class without images."""
    return [mean_or_none(right[labels == label]) for label in range(num_classes)]


def confusion(truth: Tensor, said: Tensor, size: int) -> Tensor:
    """Counts (size, size): in row i and column j the images of `truth` (N,) i of which j was `said` (N,)."""
    return torch.bincount(truth * size + said, minlength=size * size).view(size, size)


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same images: `difference` of their accuracies, its 95% interval, McNemar's p."""

    difference: float
    ci95: list[float] | None
    mcnemar_p: float


def compare(right_a: Tensor, right_b: Tensor) -> Comparison:
    """Whether a is better than b, from what each got right (N,) of the same images.

    The interval is the normal one of the paired difference, None where all images say the same, as a single one does:
    these show no scatter, not that there is none. p is the exact two-sided binomial test on the images that only one
    got right, 1 where there are none. Source: McNemar 1947, Note on the sampling error of the difference between
    correlated proportions or percentages.
    """
    from scipy.stats import binomtest  # late: its import is slow

    differences = right_a.double() - right_b.double()
    mean, count = differences.mean().item(), len(differences)
    only_a, only_b = int((differences > 0).sum()), int((differences < 0).sum())
    interval = None
    if count > 1 and (deviation := differences.std().item()) > 0:
        half = Z95 * deviation / math.sqrt(count)
        interval = [mean - half, mean + half]
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return Comparison(mean, interval, p)
