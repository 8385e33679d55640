"""The one form that every data set takes: uint8 images, their order decided by themselves alone.

Shapes: N images, C channels, H height, W width.
"""

import hashlib
import logging
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from moe.errors import DataError

log = logging.getLogger(__name__)
# At level DEBUG it writes several lines an image.
logging.getLogger("PIL").setLevel(logging.INFO)

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
LARGEST = 4096 * 4096  # pixels; a small file can claim to be a picture that fills the memory
# What a source gives, in any order: train images (N, C, H, W) and labels (N,), then test's.
Parts = tuple[Tensor, Tensor, Tensor, Tensor]
CACHED = ("train.images", "train.labels", "test.images", "test.labels")


@dataclass(frozen=True, eq=False)
class Images:
    """Images in canonical order: uint8 (N, C, H, W), int64 labels (N,), sha256 digests (N,) as S32.

    `numpy.unique` and `isin` work on the digests, but a single item drops trailing zero bytes, so
    take bytes out of them only by `tobytes()`.
    """

    images: Tensor
    labels: Tensor
    digests: np.ndarray


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
    shape = tuple(train.images.shape[1:])
    digest = hashlib.sha256(f"classes {n_classes} shape {shape}".encode())
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


def decode(paths: Sequence[Path]) -> Tensor:
    """Decode image files, in their order, into one uint8 (N, C, H, W); C is 3, or 1 for greyscale.

    Raises DataError with the first file that is broken, too large, of another mode than RGB and L,
    or unlike most others in size or mode, and with how many others are.
    """
    # One thread: for small images two take longer, as they wait for each other's Python.
    shapes: list[tuple[int, ...]] = []
    faults: dict[int, str] = {}
    stack = np.empty(0, dtype=np.uint8)
    for at, path in enumerate(paths):
        try:
            pixels = _decode_one(path)
        except DataError as error:
            faults[at] = str(error)
            continue
        if not shapes:
            stack = np.empty((len(paths), *pixels.shape), dtype=np.uint8)
        if pixels.shape == stack.shape[1:]:
            stack[at] = pixels
        shapes.append(pixels.shape)
    faults |= _unlike_most([at for at in range(len(paths)) if at not in faults], shapes, paths)
    if faults:
        others = f" (and {len(faults) - 1} more images are faulty)" if len(faults) > 1 else ""
        raise DataError(faults[min(faults)] + others)
    channels_first = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)
    return torch.from_numpy(channels_first).contiguous()


def _decode_one(path: Path) -> np.ndarray:
    """One image as uint8 (H, W) or (H, W, 3); raises DataError with why it cannot be used."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                fault = f"has {image.width}x{image.height} pixels, more than 4096x4096"
            elif image.mode not in ("RGB", "L"):
                fault = f"has mode {image.mode}; images must be RGB, or all of them greyscale (L)"
            else:
                return np.asarray(image)
    # On damaged bytes decoders raise OSError, SyntaxError, ValueError, struct.error and more.
    except Exception as error:
        fault = f"cannot be decoded ({error})"
    raise DataError(f"{path} {fault}")


def _unlike_most(decoded: list[int], shapes: list[tuple[int, ...]], paths: Sequence[Path]) -> dict[int, str]:
    """A fault for each decoded image, by its place in `paths`, whose shape is not the commonest."""
    usual = Counter(shapes).most_common(1)
    return {
        at: f"{paths[at]} is {_words(shape)}, but most images are {_words(usual[0][0])}"
        for at, shape in zip(decoded, shapes, strict=True)
        if shape != usual[0][0]
    }


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} {'RGB' if len(shape) == 3 else 'greyscale (L)'}"


def write_cache(parts: Parts, path: Path) -> None:
    """Keep a source's tensors at `path`, whole or not at all; where that fails, only log it."""
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = dict(zip(CACHED, (part.contiguous() for part in parts), strict=True))
        # Not save_file, which lets nobody but its writer read the file.
        beside.write_bytes(save(tensors, {"sha256": _checksum(parts)}))
        os.replace(beside, path)
    except OSError as error:
        log.warning("images are not cached in %s (%s): they are decoded anew", path.parent, error)
        with suppress(OSError):
            beside.unlink()


def read_cache(path: Path) -> Parts | None:
    """The tensors kept at `path`, or None where there are none or they are damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            kept = (file.metadata() or {}).get("sha256")
            train_images, train_labels, test_images, test_labels = map(file.get_tensor, CACHED)
    except (OSError, SafetensorError) as error:
        log.debug("%s is damaged (%s): decoding the images anew", path, error)
        return None
    parts = (train_images, train_labels, test_images, test_labels)
    if _checksum(parts) != kept:
        log.debug("%s is damaged (wrong sha256): decoding the images anew", path)
        return None
    return parts


def _checksum(parts: Parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()
