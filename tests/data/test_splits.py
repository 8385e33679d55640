import numpy as np
import pytest
import torch

from moe.data.canonical import DataSet, Images, assemble
from moe.data.splits import SplitIndices, folds, largest_remainder, split
from moe.errors import ConfigError
from moe.schema import Splits

TEST = torch.tensor([250, 251], dtype=torch.uint8).view(2, 1, 1, 1)


def dataset(pixels: list[int], labels: list[int], n_classes: int = 2) -> DataSet:
    """Images of one pixel, so that images with the same pixel are byte-identical."""
    images = torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 1)
    names = [f"c{label}" for label in range(n_classes)]
    return assemble("tiny", names, (images, torch.tensor(labels), TEST, torch.tensor([0, 1])))


def held_out(gate: int, val: int, seed: int = 0) -> Splits:
    return Splits(gate=gate, val=val, seed=seed, protocol="held_out")


def counts(data: DataSet, index: torch.Tensor) -> list[int]:
    return data.train.labels[index].bincount(minlength=len(data.classes)).tolist()


def parts(indices: SplitIndices) -> list[list[int]]:
    return [indices.train.tolist(), indices.gate.tolist(), indices.val.tolist()]


def test_largest_remainder() -> None:
    # Quotas of 7 over 5:3:2 are 3.5, 2.1, 1.4; floors 3, 2, 1; the one left goes to the .5.
    assert largest_remainder(7, [5, 3, 2]) == [4, 2, 1]
    # Quotas of 2 over 1:1:1 are 2/3 each; the two left go to the lower labels.
    assert largest_remainder(2, [1, 1, 1]) == [1, 1, 0]
    assert largest_remainder(2500, [5000] * 10) == [250] * 10


def test_held_out_is_stratified_disjoint_ascending_and_complete() -> None:
    # 40 images of class 0, 20 of class 1: gate 6 = 4 + 2, val 9 = 6 + 3, train 45 = 30 + 15.
    data = dataset(list(range(60)), [0] * 40 + [1] * 20)
    indices = split(data, held_out(6, 9))
    assert counts(data, indices.gate) == [4, 2]
    assert counts(data, indices.val) == [6, 3]
    assert counts(data, indices.train) == [30, 15]
    train, gate, val = parts(indices)
    assert sorted(train + gate + val) == list(range(60))
    assert all(part == sorted(part) for part in (train, gate, val))
    assert {index.dtype for index in (indices.train, indices.gate, indices.val)} == {torch.int64}


def test_split_depends_on_its_seed_and_not_on_the_order_of_the_source() -> None:
    pixels, labels = list(range(60)), [0] * 40 + [1] * 20
    data = dataset(pixels, labels)
    backwards = dataset(pixels[::-1], labels[::-1])
    assert parts(split(data, held_out(6, 9))) == parts(split(backwards, held_out(6, 9)))
    assert parts(split(data, held_out(6, 9))) != parts(split(data, held_out(6, 9, seed=1)))


def test_size_of_one_split_does_not_move_the_other() -> None:
    data = dataset(list(range(60)), [0] * 40 + [1] * 20)
    small, large = split(data, held_out(6, 9)), split(data, held_out(12, 9))
    assert parts(small)[2] == parts(large)[2]
    assert set(parts(small)[1]) < set(parts(large)[1])


def test_none_held_out() -> None:
    data = dataset(list(range(60)), [0] * 40 + [1] * 20)
    train, gate, val = parts(split(data, held_out(0, 9)))
    assert gate == [] and len(val) == 9 and len(train) == 51


@pytest.mark.parametrize("seed", range(20))
def test_copies_stay_in_train(seed: int) -> None:
    # Class 0: pixels 0..9 and two 100s; class 1: pixels 10..19, one 100, one 101. The three 100s
    # are byte-identical, though their labels differ, so only 20 + 1 images can move.
    data = dataset([*range(10), 100, 100, *range(10, 20), 100, 101], [0] * 12 + [1] * 12)
    train, gate, val = parts(split(data, held_out(8, 8, seed)))
    copies = (data.train.images.flatten() == 100).nonzero()[:, 0].tolist()
    assert len(copies) == 3 and set(copies) <= set(train)
    assert (len(train), len(gate), len(val)) == (8, 8, 8)


def test_copies_of_test_images_are_in_no_split(caplog: pytest.LogCaptureFixture) -> None:
    # 250 and 251 are the test images; three training images are copies of them.
    data = dataset([*range(20), 250, 250, 251], [0] * 10 + [1] * 10 + [0, 1, 1])
    train, gate, val = parts(split(data, held_out(4, 4)))
    copies = (data.train.images.flatten() >= 250).nonzero()[:, 0].tolist()
    assert sorted(train + gate + val + copies) == list(range(23))
    assert (len(train), len(gate), len(val)) == (12, 4, 4)
    assert "3 training images of tiny are byte for byte test images" in caplog.text


def test_notebook_trains_on_everything() -> None:
    data = dataset(list(range(60)), [0] * 40 + [1] * 20)
    train, gate, val = parts(split(data, Splits(gate=6, val=9, seed=0, protocol="notebook")))
    assert train == gate == list(range(60)) and val == []


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        (held_out(-1, 9), r"data\.splits\.gate=-1 must be a part of the 60 "),
        (held_out(6, -1), r"data\.splits\.val=-1 must be a part of the 60 "),
        (held_out(6, 60), r"data\.splits\.val=60 must be a part of the 60 training images"),
        (held_out(1, 9), r"data\.splits\.gate=1 leaves no image for class c1"),
        (held_out(6, 1), r"data\.splits\.val=1 leaves no image for class c1"),
        # gate 30 = 20 + 10 and val 30 = 20 + 10 leave nothing of class 0's 40 images.
        (held_out(30, 30), r"gate and data\.splits\.val take 20 \+ 20 images of class c0, but at"),
        (Splits(gate=6, val=9, seed=0, protocol="folds"), r"data\.splits\.protocol must be one of"),
    ],
)
def test_impossible_splits_name_their_key(splits: Splits, sentence: str) -> None:
    data = dataset(list(range(60)), [0] * 40 + [1] * 20)
    with pytest.raises(ConfigError, match=sentence):
        split(data, splits)


def test_copies_can_leave_too_few_to_hold_out() -> None:
    # Of class 1's ten images six are copies of one another, so only four can leave train.
    data = dataset([*range(10), *range(10, 14), *[100] * 6], [0] * 10 + [1] * 10)
    split(data, held_out(4, 4))
    with pytest.raises(ConfigError, match=r"class c1, but at most 4 of its 10 can leave"):
        split(data, held_out(6, 4))


def test_folds_are_even_by_class_and_keep_copies_together() -> None:
    # Seven images of class 0, five of class 1; of the first class two are the same.
    digests = np.array([f"{n:032d}".encode() for n in (0, 1, 2, 3, 4, 5, 5, 7, 8, 9, 10, 11)], dtype="S32")
    labels = torch.tensor([0] * 7 + [1] * 5)
    fold = folds(Images(torch.zeros(12, 1, 1, 1).byte(), labels, digests), 3, seed=0)
    assert fold[5] == fold[6]
    assert sorted(torch.bincount(fold[labels == 1], minlength=3).tolist()) == [1, 2, 2]
    assert torch.bincount(fold[labels == 0], minlength=3).min() >= 1
    other = folds(Images(torch.zeros(12, 1, 1, 1).byte(), labels, digests), 3, seed=1)
    assert not torch.equal(fold, other)
