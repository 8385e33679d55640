"""The real CIFAR-10, decoded once: its images, its published statistics, its splits."""

import os
from pathlib import Path

import pytest
import torch

from moe.data.canonical import DataSet
from moe.data.sources import class_names, load
from moe.data.splits import split
from moe.schema import Data, Splits

pytestmark = pytest.mark.skipif("MOE_CIFAR10" not in os.environ, reason="MOE_CIFAR10 names no folder")


def whole() -> Data:
    return Data(name="cifar10", source="cifar10", root=os.environ["MOE_CIFAR10"], download=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return load(whole(), tmp_path_factory.mktemp("cifar10"))


def test_images_and_labels_are_those_that_were_published(data: DataSet) -> None:
    assert data.train.images.shape == (50_000, 3, 32, 32)
    assert data.test.images.shape == (10_000, 3, 32, 32)
    assert data.train.labels.bincount().tolist() == [5000] * 10
    assert data.fingerprint == "f6a5fc8369b03a904a27465e743a3b08deef32faa8f1669d3fe1c8ccdaaea4de"
    # The published statistics of the training images on the 0-1 scale.
    counts = torch.stack([data.train.images[:, k].flatten().bincount(minlength=256) for k in range(3)])
    share, values = counts.double() / counts.sum(dim=1, keepdim=True), torch.arange(256).double() / 255
    mean = torch.tensor([0.49139968, 0.48215841, 0.44653091], dtype=torch.float64)
    std = torch.tensor([0.24703223, 0.24348513, 0.26158784], dtype=torch.float64)
    torch.testing.assert_close(share @ values, mean, atol=1e-7, rtol=0)
    torch.testing.assert_close((share @ values**2 - (share @ values) ** 2).sqrt(), std, atol=1e-7, rtol=0)
    assert class_names(whole(), Path("absent"))[0] == "airplane"


def test_splits_are_even_by_class_and_share_no_image(data: DataSet) -> None:
    indices = split(data, Splits(gate=2500, val=2500, seed=0, protocol="held_out"))
    for index, count in ((indices.train, 4500), (indices.gate, 250), (indices.val, 250)):
        assert data.train.labels[index].bincount().tolist() == [count] * 10
    assert len(data.test.labels) == 10_000
    assert len(set(torch.cat([indices.train, indices.gate, indices.val]).tolist())) == 50_000
