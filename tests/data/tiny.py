"""Made-up images, and a CIFAR-10 of 36 of them as class folders."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from moe.data.canonical import DataSet
from moe.schema import Data

NAMES = ("ant", "bee", "cow")
# Splits of a made-up CIFAR-10: pixels (N, 3, 32, 32) and labels (N,), five train batches of six.
TRAIN = np.random.default_rng(0).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
TEST = np.random.default_rng(1).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (n, 3, 4, 5), generator=torch.Generator().manual_seed(seed)).byte()


def config(source: str, root: Path | None = None, **others: object) -> Data:
    settings = {"name": "tiny", "download": False, "classes": list(NAMES), **others}
    return Data(source=source, root=None if root is None else str(root), **settings)  # type: ignore[arg-type]


def write_class_folders(root: Path) -> Path:
    for split, pixels in (("train", TRAIN), ("test", TEST)):
        for i, image in enumerate(pixels):
            folder = root / split / NAMES[i % 3]
            folder.mkdir(parents=True, exist_ok=True)
            # Names in an order that has nothing to do with the batches'.
            name = hashlib.md5(bytes([i])).hexdigest()
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{name}.png")
    return root


def write_batch(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def same(one: DataSet, two: DataSet) -> bool:
    pairs = [(one.train, two.train), (one.test, two.test)]
    return one.fingerprint == two.fingerprint and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and np.array_equal(a.digests, b.digests)
        for a, b in pairs
    )
