import hashlib

import numpy as np
import pytest
import torch
from tiny import pictures

from moe.data.canonical import assemble, canonical, fingerprint, relabel
from moe.errors import DataError


def test_order_is_that_of_the_digests_then_labels() -> None:
    # One-pixel images of the bytes 0, 1, 2. sha256 of a single byte begins: 00 -> 6e34, 01 -> 4bf5,
    # 02 -> dbc1. So the order is 1, 0, 0, 2, the two copies of 0 by their labels 3 and 7.
    images = torch.tensor([0, 2, 0, 1], dtype=torch.uint8).view(4, 1, 1, 1)
    ordered = canonical(images, torch.tensor([7, 5, 3, 4]))
    assert ordered.images.flatten().tolist() == [1, 0, 0, 2]
    assert ordered.labels.tolist() == [4, 3, 7, 5]
    assert [digest[:2].hex() for digest in ordered.digests] == ["4bf5", "6e34", "6e34", "dbc1"]
    assert ordered.labels.dtype == torch.int64 and ordered.digests.dtype == "S32"


def test_any_order_of_the_same_images_becomes_one() -> None:
    images, labels = pictures(200), torch.arange(200) % 7
    shuffled = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    one, two = canonical(images, labels), canonical(images[shuffled], labels[shuffled])
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    expected = sorted(hashlib.sha256(image.numpy().tobytes()).digest() for image in images)
    assert one.digests.tobytes() == b"".join(expected)


def test_digests_are_of_the_channels_first_bytes_whatever_the_memory_format() -> None:
    images, labels = pictures(20), torch.zeros(20, dtype=torch.int64)
    last = images.contiguous(memory_format=torch.channels_last)
    assert np.array_equal(canonical(images, labels).digests, canonical(last, labels).digests)
    assert canonical(last, labels).images.is_contiguous()


def test_fingerprint_is_the_documented_hash() -> None:
    # One training image of the byte 1 with label 0, one test image of the byte 2 with label 1.
    one, two = (torch.full((1, 1, 1, 1), value, dtype=torch.uint8) for value in (1, 2))
    train, test = canonical(one, torch.tensor([0])), canonical(two, torch.tensor([1]))
    text = b"classes 2 shape (1, 1, 1) train 1 " + hashlib.sha256(b"\1").digest() + bytes(8)
    text += b" test 1 " + hashlib.sha256(b"\2").digest() + b"\1" + bytes(7)
    assert fingerprint(train, test, 2) == hashlib.sha256(text).hexdigest()


def test_fingerprint_sees_pixels_labels_splits_and_class_count_but_no_names() -> None:
    images, labels = pictures(20), torch.arange(20) % 2
    parts = (images[:15], labels[:15], images[15:], labels[15:])
    same = assemble("a", ["x", "y"], parts).fingerprint
    assert assemble("b", ["dog", "cat"], parts).fingerprint == same
    brighter = images.clone()
    brighter[3, 0, 0, 0] ^= 1
    other_label = labels.clone()
    other_label[3] ^= 1
    different = [
        assemble("a", ["x", "y", "z"], parts),
        assemble("a", ["x", "y"], (brighter[:15], *parts[1:])),
        assemble("a", ["x", "y"], (images[:15], other_label[:15], *parts[2:])),
        assemble("a", ["x", "y"], (images[:14], labels[:14], images[14:], labels[14:])),
        assemble("a", ["x", "y"], (images.transpose(2, 3)[:15], labels[:15], *parts[2:])),
    ]
    prints = {same, *(dataset.fingerprint for dataset in different)}
    assert len(prints) == 6


def test_relabel_moves_labels_to_the_wanted_order() -> None:
    # a was 0 and is 2, b was 1 and is 0, c was 2 and is 1.
    assert relabel([0, 1, 2, 0], ["a", "b", "c"], ["b", "c", "a"]).tolist() == [2, 0, 1, 2]
    with pytest.raises(DataError, match=r"data\.classes must be a, b, in any order"):
        relabel([0, 1], ["a", "b"], ["a", "x"])
