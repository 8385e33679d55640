"""The one form that every data set takes: uint8 images, their order decided by themselves alone.

Shapes: N images, C channels, H height, W width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moe.errors import DataError

# What a source gives, in any order: train images (N, C, H, W) and labels (N,), then test's.
Parts = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Images:
    """Images in canonical order: uint8 (N, C, H, W), int64 labels (N,), sha256 digests (N,) as S32.

    `numpy.unique` and `isin` work on the digests, but a single item drops trailing zero bytes, so
    take bytes out of them only by `tobytes()`.
    """

    images: Tensor
    labels: Tensor
    digests: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (C, H, W) of each image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True, eq=False)
class DataSet:
    """A whole data set; `fingerprint` says which images and labels it holds, not their names."""

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images
    fingerprint: str


def canonical(images: Tensor, labels: Tensor) -> Images:
    """Sort images by the sha256 of each one's (C, H, W) bytes, then by label.

    Takes uint8 (N, C, H, W) and integer (N,) in any order. Copies of an image with the same label
    cannot be told apart, so the result is the same whatever order they came in.
    """
    pixels = images.contiguous().numpy()
    digests = np.array([hashlib.sha256(image).digest() for image in pixels], dtype="S32")
    order = np.lexsort((labels.numpy(), digests))
    at = torch.from_numpy(order)
    return Images(images[at].contiguous(), labels[at].to(torch.int64), digests[order])


def fingerprint(train: Images, test: Images, n_classes: int) -> str:
    """Hex sha256 over the class count, the image shape, each split's ordered digests and labels.

    No name of a class or file is in it, so every source of the same images gives the same one.
    """
    digest = hashlib.sha256(f"classes {n_classes} shape {train.shape}".encode())
    for name, split in (("train", train), ("test", test)):
        digest.update(f" {name} {len(split.labels)} ".encode())
        digest.update(split.digests.tobytes())
        digest.update(split.labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def relabel(labels: Sequence[int], own: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Turn labels (N,) that count along `own` into int64 ones that count along `classes`.

    Raises DataError unless both name the same classes.
    """
    if set(own) != set(classes):
        raise DataError(f"data.classes must be {', '.join(own)}, in any order")
    return torch.tensor([classes.index(name) for name in own])[torch.as_tensor(labels)]


def assemble(name: str, classes: Sequence[str], parts: Parts) -> DataSet:
    """Put what a source gave in canonical order and take its fingerprint."""
    train, test = canonical(*parts[:2]), canonical(*parts[2:])
    return DataSet(name, tuple(classes), train, test, fingerprint(train, test, len(classes)))
