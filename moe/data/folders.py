"""Class folders train/<class>/*.png and test/<class>/*.png: their names, listing and decoding.

Shapes: N images, C channels, H height, W width. Importing this file is cheap: torch, numpy and Pillow
are imported where they are used.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moe.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from moe.data.canonical import Parts

log = logging.getLogger(__name__)
# At level DEBUG it writes several lines an image.
logging.getLogger("PIL").setLevel(logging.INFO)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
LARGEST = 4096 * 4096  # pixels; a small file can claim to be a picture that fills the memory
CACHE_FORMAT = 1

# An image of a class folder: its path below the root, label, size in bytes, mtime in nanoseconds.
Row = tuple[str, int, int, int]


def names(parent: Path) -> list[str]:
    """Sorted names of the folders inside; hidden ones are no classes. Raises DataError where there is no `parent`."""
    if not parent.is_dir():
        raise DataError(f"{parent} does not exist; it should hold a folder for each class")
    return sorted(at.name for at in parent.iterdir() if at.is_dir() and at.name[0] != ".")


def read(root: Path, classes: tuple[str, ...], cache: Path) -> "Parts":
    """The images of train/<class>/ and test/<class>/ below `root`, or what the folder `cache` keeps of them.

    Raises DataError, naming the file or folder, unless the folders are the classes, each holds an image, and
    all images can be decoded and are alike.
    """
    import torch

    from moe.data.cache import read_cache, write_cache

    train, test = (_list_split(root, split, classes) for split in ("train", "test"))
    rows = train + test
    key = hashlib.sha256(repr((CACHE_FORMAT, str(root.resolve()), classes, sorted(rows))).encode()).hexdigest()
    kept = cache / f"{key}.safetensors"
    if parts := read_cache(kept):
        return parts
    log.info("decoding %d images in %s; the next run finds them in %s", len(rows), root, cache)
    images = decode([root / path for path, *_ in rows])
    labels = torch.tensor([label for _, label, *_ in rows])
    n = len(train)
    parts = (images[:n], labels[:n], images[n:], labels[n:])
    write_cache(parts, kept)
    return parts


def decode(paths: Sequence[Path]) -> "Tensor":
    """Decode image files, in their order, into one uint8 (N, C, H, W); C is 3, or 1 for greyscale.

    Raises DataError with the first file that is broken, too large, of another mode than RGB and L,
    or unlike most others in size or mode, and with how many others are.
    """
    import numpy as np
    import torch

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


def _decode_one(path: Path) -> "np.ndarray":
    """One image as uint8 (H, W) or (H, W, 3); raises DataError with why it cannot be used."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                fault = f"has {image.width}x{image.height} pixels, more than 4096x4096"
            elif (frames := getattr(image, "n_frames", 1)) > 1:
                fault = f"is animated ({frames} frames)"  # as predict says
            elif image.mode not in ("RGB", "L"):
                fault = f"has mode {image.mode}; images must be RGB, or all of them greyscale (L)"
            else:
                return np.asarray(ImageOps.exif_transpose(image))  # as predict turns them
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


def _list_split(root: Path, split: str, classes: tuple[str, ...]) -> list[Row]:
    """A split's images; raises DataError unless its folders are the classes and none is empty."""
    found = names(root / split)
    if missing := sorted(set(classes) - set(found)):
        raise DataError(f"{root / split} has no folder for class {', '.join(missing)}")
    if extra := sorted(set(found) - set(classes)):
        raise DataError(f"{root / split} has a folder that is no class: {', '.join(extra)}")
    return [row for name in found for row in _list_class(root, split, name, classes.index(name))]


def _list_class(root: Path, split: str, name: str, label: int) -> list[Row]:
    folder = root / split / name
    rows, ignored = [], []
    for entry in os.scandir(folder):
        if entry.is_dir() or not entry.name.lower().endswith(SUFFIXES):
            ignored.append(entry.name)
        elif not entry.name.startswith("."):
            # Of a broken link take the link's own: decoding will name it.
            stat = entry.stat(follow_symlinks=entry.is_file())
            rows.append((f"{split}/{name}/{entry.name}", label, stat.st_size, stat.st_mtime_ns))
    if ignored := sorted(entry for entry in ignored if not entry.startswith(".")):
        log.warning("%s: %d entries are no images: %s ...", folder, len(ignored), ignored[0])
    if not rows:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return sorted(rows)
