"""Where images come from: CIFAR-10 as torchvision keeps it, class folders, scikit-learn's digits.

Importing this file is cheap: torch, torchvision and scikit-learn are imported where they are used.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from moe.data import folders
from moe.errors import ConfigError, DataError

if TYPE_CHECKING:
    from moe.data.canonical import DataSet, Parts
    from moe.schema import Data

log = logging.getLogger(__name__)
UNPACKED = ".unpacked-"


def class_names(data: "Data", default_root: Path) -> tuple[str, ...]:
    """Class names in the order of their labels, without reading an image.

    They are `data.classes` where given, else digits' own or the sorted names of the class folders.
    Raises ConfigError for an unknown `data.source`, a class named twice, or where torchvision's
    folder leaves the names to the config; DataError where there is no folder at all.
    """
    if data.source not in ("cifar10", "folder", "digits"):
        raise ConfigError(f"data.source must be cifar10, folder or digits, not {data.source!r}")
    if data.classes is not None:
        if not data.classes or len(set(data.classes)) < len(data.classes):
            raise ConfigError(f"data.classes={data.classes} must name each class once, or be null")
        return tuple(data.classes)
    if data.source == "digits":
        return tuple(str(digit) for digit in range(10))
    root = _root(data, default_root)
    if (root / "train").is_dir():
        return tuple(folders.names(root / "train"))
    if data.source == "folder":
        raise _nothing_there(data, root)
    raise ConfigError(f"data.classes must name the classes: {root} has no class folders to do so")


def load(data: "Data", default_root: Path) -> "DataSet":
    """Read and check the whole data set that `data` names, and put it in canonical order.

    `default_root` is `paths.data`: it holds the data sets whose `data.root` is null, and the cache
    of class folders. Raises ConfigError as `class_names` does, and DataError, naming the file or
    folder, where images are missing, damaged, unlike each other, or not of `data.fingerprint`.
    """
    from moe.data.canonical import assemble

    classes = class_names(data, default_root)
    root = _root(data, default_root)
    if data.source == "digits":
        parts = _read_digits(classes)
    elif (root / "train").is_dir():
        parts = folders.read(root, classes, Path(default_root) / ".cache")
    elif data.source == "cifar10" and (batches := _batches_folder(data, root)):
        parts = _read_batches(data, batches, classes)
    else:
        raise _nothing_there(data, root)
    dataset = assemble(data.name, classes, parts)
    if data.fingerprint is not None and data.fingerprint != dataset.fingerprint:
        asked = data.fingerprint[: len(dataset.fingerprint)]  # one of any length may be given
        raise DataError(
            f"the images in {'scikit-learn' if data.source == 'digits' else root} are not those of "
            f"{data.name}: their fingerprint is {dataset.fingerprint}, not {asked}; "
            "data.fingerprint=null accepts them"
        )
    return dataset


def _root(data: "Data", default_root: Path) -> Path:
    return Path(data.root).expanduser() if data.root else Path(default_root) / data.name


def _nothing_there(data: "Data", root: Path) -> DataError:
    expected = "class folders train/<class>/*.png and test/<class>/*.png"
    remedy = "" if data.root else "; name their folder with data.root=DIR"
    if data.source == "cifar10":
        expected = f"torchvision's cifar-10-batches-py or {expected}"
        remedy += "" if data.root else ", or set data.download=true"
    fault = "does not hold" if root.is_dir() else "is no folder; it should hold"
    fault = fault if root.exists() else "does not exist; it should hold"
    return DataError(f"{'data.root=' if data.root else ''}{root} {fault} {expected}{remedy}")


def _batches_folder(data: "Data", root: Path) -> Path | None:
    """torchvision's folder, the root or inside it; downloaded where asked for and not there."""
    from torchvision.datasets import CIFAR10

    inside = root / CIFAR10.base_folder
    if not inside.is_dir() and any((root / name).is_file() for name, _ in _checksums()):
        return root
    # A root that the user named is never written to.
    if data.download and not data.root and _missing(inside):
        _download(root)
    return inside if inside.is_dir() else None


def _checksums() -> list[tuple[str, str]]:
    """Name and md5 of each of torchvision's files, the one with the class names included."""
    from torchvision.datasets import CIFAR10

    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    return [*((name, md5) for name, md5 in CIFAR10.train_list + CIFAR10.test_list), meta]


def _missing(folder: Path) -> list[str]:
    return [name for name, _ in _checksums() if not (folder / name).exists()]


def _download(root: Path) -> None:
    """Fetch torchvision's files that are missing; one that is there is never written over."""
    from filelock import FileLock
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    folder = root / CIFAR10.base_folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Unpacked beside and moved in file by file: no other process ever sees half a file.
        with FileLock(root / ".download.lock"), _empty_folder(root) as fresh:
            if missing := _missing(folder):  # still, now that the others are done
                log.info("downloading %s into %s", CIFAR10.url, root)
                archive = (CIFAR10.filename, CIFAR10.tgz_md5)
                download_and_extract_archive(CIFAR10.url, str(root), fresh, *archive)
                folder.mkdir(exist_ok=True)
            for name in missing:
                os.replace(Path(fresh, CIFAR10.base_folder, name), folder / name)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"{CIFAR10.filename} could not be downloaded from {CIFAR10.url} "
            f"({' '.join(str(error).split())}); download it by hand and unpack it in {root}, or name torchvision's "
            "folder or class folders with data.root=DIR"
        ) from None


@contextmanager
def _empty_folder(root: Path) -> Iterator[str]:
    """A folder for what is unpacked; those of downloads that were killed go first. Only under the download's lock."""
    for left in root.glob(f"{UNPACKED}*"):
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=UNPACKED, dir=root) as fresh:
        yield fresh


def _check_batches(folder: Path, remedy: str) -> None:
    """Raise DataError, before anything is unpickled, unless every file has torchvision's md5."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in _checksums():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing: {remedy}")
        if not check_integrity(path, md5):
            raise DataError(f"{path} is truncated or altered (wrong md5): delete it, then {remedy}")


def _read_batches(data: "Data", folder: Path, classes: tuple[str, ...]) -> "Parts":
    import torch
    from torchvision.datasets import CIFAR10

    from moe.data.canonical import relabel

    fetched = not data.root and folder.name == CIFAR10.base_folder
    _check_batches(folder, "set data.download=true" if fetched else "put CIFAR-10's own there")

    class Batches(CIFAR10):
        base_folder = ""  # so that the folder may have any name

    train, test = Batches(folder, train=True), Batches(folder, train=False)
    return (
        torch.from_numpy(train.data).permute(0, 3, 1, 2),
        relabel(train.targets, train.classes, classes),
        torch.from_numpy(test.data).permute(0, 3, 1, 2),
        relabel(test.targets, test.classes, classes),
    )


def _read_digits(classes: tuple[str, ...]) -> "Parts":
    """1,797 images (1, 8, 8); the first fifth of each class, in canonical order, is for testing."""
    import torch
    from sklearn.datasets import load_digits

    from moe.data.canonical import canonical, relabel

    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8)[:, None]
    own = [str(name) for name in digits.target_names]
    whole = canonical(pixels, relabel(digits.target, own, classes))
    test = torch.zeros(len(whole.labels), dtype=torch.bool)
    for label in range(len(classes)):
        of_class = (whole.labels == label).nonzero()[:, 0]
        test[of_class[: round(len(of_class) / 5)]] = True
    return whole.images[~test], whole.labels[~test], whole.images[test], whole.labels[test]
