"""Which training images the experts, the gates and the choices see, before any filtering."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from moe.data.canonical import DataSet, Images
from moe.errors import ConfigError

if TYPE_CHECKING:
    from moe.schema import Splits

log = logging.getLogger(__name__)

PROTOCOLS = ("held_out", "notebook")


@dataclass(frozen=True, eq=False)
class SplitIndices:
    """Indices into the training images, int64 and ascending; test is `dataset.test` whole."""

    train: Tensor
    gate: Tensor
    val: Tensor


def split(dataset: DataSet, splits: "Splits") -> SplitIndices:
    """Divide the training images as `data.splits` says.

    Protocol `held_out`: stratified by class, disjoint, the same for every run with the same
    `data.splits.seed`. `gate` and `val` are counts of images over all classes; 0 makes an empty
    split. Images with a byte-identical copy among the training images stay in `train`; those with
    one among the test images are in no split.

    Protocol `notebook`: `train` and `gate` are all training images and `val` is empty: the notebook
    made its choices on `test`, and so does the caller.

    Raises ConfigError, naming the key, for an unknown protocol, or for counts below 0, too small
    for one image a class, or so large that a class would keep no training image.
    """
    if splits.protocol == "notebook":
        everything = torch.arange(len(dataset.train.labels))
        return SplitIndices(everything, everything, everything[:0])
    if splits.protocol != "held_out":
        raise ConfigError(f"data.splits.protocol must be one of {', '.join(PROTOCOLS)}, not {splits.protocol!r}")
    return _held_out(dataset, splits)


def folds(images: Images, count: int, seed: int) -> Tensor:
    """Which of `count` folds (N,) each image is in: of each class as many in one as in another, give or take one.

    Byte-identical images are in the same one.
    """
    fold = np.empty(len(images.labels), dtype=np.int64)
    labels = images.labels.numpy()
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        fold[np.random.default_rng([seed, int(label)]).permutation(own)] = np.arange(len(own)) % count
    _, first, inverse = np.unique(images.digests, return_index=True, return_inverse=True)
    return torch.from_numpy(fold[first][inverse])


def largest_remainder(total: int, sizes: list[int]) -> list[int]:
    """Divide `total` over classes in proportion to their sizes, in whole images that add up to it.

    Ties go to the lower label. Source: Hamilton's method of apportionment.
    """
    everything = sum(sizes)
    shares = [total * size // everything for size in sizes]
    left = total - sum(shares)
    by_remainder = sorted(range(len(sizes)), key=lambda c: (-(total * sizes[c] % everything), c))
    for label in by_remainder[:left]:
        shares[label] += 1
    return shares


def _held_out(dataset: DataSet, splits: "Splits") -> SplitIndices:
    usable = ~np.isin(dataset.train.digests, dataset.test.digests)
    _warn_of_test_copies(dataset.name, int((~usable).sum()))
    movable = usable & _only_copies(dataset.train.digests)
    labels = dataset.train.labels.numpy()
    sizes = np.bincount(labels[usable], minlength=len(dataset.classes)).tolist()
    gate_counts = _counts("gate", splits.gate, dataset.classes, sizes)
    val_counts = _counts("val", splits.val, dataset.classes, sizes)

    parts: dict[str, list[np.ndarray]] = {"gate": [], "val": []}
    for label, (n_gate, n_val) in enumerate(zip(gate_counts, val_counts, strict=True)):
        pool = np.flatnonzero(movable & (labels == label))
        _check_room(dataset.classes[label], sizes[label], len(pool), n_gate, n_val)
        shuffled = np.random.default_rng([splits.seed, label]).permutation(pool)
        # From opposite ends, so that the size of one split never moves the images of the other.
        parts["gate"].append(shuffled[:n_gate])
        parts["val"].append(shuffled[len(pool) - n_val :])
    gate, val = (np.sort(np.concatenate(parts[name])) for name in ("gate", "val"))
    usable[gate] = False
    usable[val] = False
    train = np.flatnonzero(usable)
    return SplitIndices(*(torch.from_numpy(part) for part in (train, gate, val)))


def _only_copies(digests: np.ndarray) -> np.ndarray:
    """True (N,) where an image has no byte-identical copy, of whatever label, among the others."""
    _, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    return np.equal(counts[inverse], 1)


def _warn_of_test_copies(name: str, count: int) -> None:
    if count:
        log.warning(
            "%d training images of %s are byte for byte test images: they are in no split",
            count,
            name,
        )


def _counts(key: str, total: int, classes: tuple[str, ...], sizes: list[int]) -> list[int]:
    """Images of each class in a split of `total`, at least one each, or none at all for total 0."""
    if not 0 <= total < sum(sizes):
        raise ConfigError(
            f"data.splits.{key}={total} must be a part of the {sum(sizes)} training images, of which most "
            "are to be left to train on"
        )
    counts = largest_remainder(total, sizes)
    if total and 0 in counts:
        raise ConfigError(
            f"data.splits.{key}={total} leaves no image for class {classes[counts.index(0)]}; "
            "it must give every class one"
        )
    return counts


def _check_room(name: str, size: int, movable: int, n_gate: int, n_val: int) -> None:
    """Raise ConfigError unless the class keeps a training image and has the images to move."""
    if n_gate + n_val > min(movable, size - 1):
        raise ConfigError(
            f"data.splits.gate and data.splits.val take {n_gate} + {n_val} images of class {name}, "
            f"but at most {min(movable, size - 1)} of its {size} can leave the train split"
        )
