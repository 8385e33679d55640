import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import NAMES, TRAIN, config, same, write_batch, write_class_folders

from moe.data.sources import class_names, load
from moe.errors import ConfigError, DataError, UserError
from moe.schema import Data


def test_class_names_need_no_torch(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
    code = (
        "import sys, pathlib; from moe.schema import Data;"
        "from moe.data.sources import class_names;"
        "names = class_names(Data(source='digits', name='d'), pathlib.Path('absent'));"
        "assert names == tuple('0123456789'), names;"
        f"names = class_names(Data(source='folder', name='f', root={str(tmp_path)!r}), pathlib.Path('absent'));"
        "assert names == ('ant', 'bee'), names;"
        "heavy = {'torch', 'torchvision', 'PIL', 'sklearn', 'numpy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_class_names_are_the_configs_else_the_folders(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "tiny")
    (root / "train" / ".hidden").mkdir()
    assert class_names(config("folder", root, classes=None), tmp_path) == NAMES
    assert class_names(config("folder", None, classes=None), tmp_path) == NAMES
    assert class_names(config("folder", root, classes=["cow", "ant"]), tmp_path) == ("cow", "ant")


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (config("mnist"), ConfigError, r"data\.source must be cifar10, folder or digits, not"),
        (config("folder", classes=["a", "b", "a"]), ConfigError, r"data\.classes=.* each class"),
        (config("folder", classes=[]), ConfigError, r"data\.classes=\[\] must name each class"),
        (config("cifar10", classes=None), ConfigError, r"data\.classes must name the classes"),
        (config("folder", classes=None), DataError, r"does not exist; .*data\.root=DIR$"),
    ],
)
def test_class_names_say_what_is_wrong(data: Data, error: type[UserError], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=sentence):
        class_names(data, tmp_path)


def test_both_sources_of_cifar10_are_one_data_set(batches: Path, tmp_path: Path) -> None:
    folders = write_class_folders(tmp_path / "folders")
    elsewhere = tmp_path / "renamed"
    roots = [folders, batches.parent, batches, elsewhere]
    elsewhere.symlink_to(batches)
    one, *others = (load(config("cifar10", root), tmp_path / "data") for root in roots)
    assert all(same(one, other) for other in others)
    assert one.classes == NAMES
    assert one.train.images.shape == (30, 3, 32, 32) and one.train.images.dtype == torch.uint8
    # Image i has label i mod 3 in both; find the seventh training image by its bytes.
    digest = np.bytes_(hashlib.sha256(TRAIN[7].tobytes()).digest())
    at = int(np.flatnonzero(one.train.digests == digest)[0])
    assert torch.equal(one.train.images[at], torch.from_numpy(TRAIN[7]))
    assert one.train.labels[at] == 1


def test_labels_follow_the_order_of_the_configs_classes(batches: Path, tmp_path: Path) -> None:
    folders = write_class_folders(tmp_path / "folders")
    for root in (folders, batches):
        turned = load(config("cifar10", root, classes=["bee", "cow", "ant"]), tmp_path / "data")
        plain = load(config("cifar10", root), tmp_path / "data")
        # ant was 0 and is 2, bee was 1 and is 0, cow was 2 and is 1.
        assert torch.equal(turned.train.labels, torch.tensor([2, 0, 1])[plain.train.labels])
        assert turned.fingerprint != plain.fingerprint
    with pytest.raises(DataError, match=r"data\.classes must be ant, bee, cow, in any order"):
        load(config("cifar10", batches, classes=["ant", "bee", "dog"]), tmp_path / "data")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_altered_batch_is_named_and_never_unpickled(batches: Path, tmp_path: Path, name: str) -> None:
    write_batch(batches / name, Bomb(tmp_path / "unpickled"))
    with pytest.raises(DataError, match=rf"{name} is truncated or altered .*: delete it, then"):
        load(config("cifar10", batches.parent), tmp_path)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_truncated_and_missing_batches_are_named(batches: Path, tmp_path: Path) -> None:
    data = config("cifar10", name="torchvision")
    last = batches / "data_batch_5"
    last.write_bytes(last.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"5 is truncated .*delete it, then set data\.download=tr"):
        load(data, tmp_path)
    last.unlink()
    with pytest.raises(DataError, match=r"data_batch_5 is missing: set data\.download=true$"):
        load(data, tmp_path)
    with pytest.raises(DataError, match=r"data_batch_5 is missing: put CIFAR-10's own there$"):
        load(config("cifar10", batches, download=True), tmp_path)


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_fingerprint_is_checked(batches: Path, tmp_path: Path) -> None:
    right = load(config("cifar10", batches), tmp_path).fingerprint
    load(config("cifar10", batches, fingerprint=right), tmp_path)
    sentence = rf"^the images in {batches} are not those of tiny: their fingerprint is {right}, not"
    with pytest.raises(DataError, match=sentence):
        load(config("cifar10", batches, fingerprint="0" * 64), tmp_path)
    # One that is too long is not quoted whole.
    with pytest.raises(DataError, match=rf"{sentence} {'a' * 64}; data\.fingerprint=null accepts them$"):
        load(config("cifar10", batches, fingerprint="a" * 5000), tmp_path)


def test_digits(tmp_path: Path) -> None:
    data = Data(name="digits", source="digits", download=False)
    digits = load(data, tmp_path)
    assert digits.classes == tuple("0123456789")
    assert digits.train.images.shape == (1438, 1, 8, 8)
    assert digits.train.images.max() == 255 and digits.train.images.dtype == torch.uint8
    # scikit-learn's description counts 178 182 177 183 181 182 181 179 174 180 images a class (its
    # 1,797 in all); a fifth of each, rounded, is the test split, 359 images.
    assert digits.test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    whole = digits.test.labels.bincount() + digits.train.labels.bincount()
    assert whole.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # Within a class the test images come first: the largest digest is below train's smallest.
    for label in range(10):
        in_test = digits.test.digests[(digits.test.labels == label).numpy()]
        in_train = digits.train.digests[(digits.train.labels == label).numpy()]
        assert in_test[-1] < in_train[0]
    # 16 grey levels: 1 / 16 of 255 is 15.94, so 16; 8 / 16 is 127.5, and an even 128.
    assert sorted(set(digits.train.images.flatten().tolist()))[:2] == [0, 16]
    assert 128 in digits.train.images
    assert digits.fingerprint == "a80aeae55b4066380d6d9a603a54b780711d8dd91ddd59883388b37fc1c16183"
