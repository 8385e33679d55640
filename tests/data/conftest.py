"""A made-up CIFAR-10 as torchvision keeps it."""

from pathlib import Path

import numpy as np
import pytest
from tiny import NAMES, TEST, TRAIN, write_batch
from torchvision.datasets import CIFAR10


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like torchvision's, with the made-up images; torchvision is told its checksums."""
    folder = tmp_path / "torchvision" / "cifar-10-batches-py"

    def batch(name: str, pixels: np.ndarray, first: int) -> list[str]:
        labels = [(first + i) % 3 for i in range(len(pixels))]
        content = {"data": pixels.reshape(len(pixels), -1), "labels": labels}
        return [name, write_batch(folder / name, content)]

    train = [batch(f"data_batch_{i + 1}", TRAIN[6 * i : 6 * i + 6], 6 * i) for i in range(5)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", TEST, 0)])
    md5 = write_batch(folder / "batches.meta", {"label_names": list(NAMES)})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return folder
