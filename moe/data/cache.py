"""A source's tensors kept in one file, so that its images are decoded once.

What is damaged is as good as absent, and a cache that cannot be written is only logged.
"""

import hashlib
import logging
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from moe.data.canonical import Parts
from moe.errors import StoreError
from moe.store import write_whole

log = logging.getLogger(__name__)

CACHED = ("train.images", "train.labels", "test.images", "test.labels")


def write_cache(parts: Parts, path: Path) -> None:
    """Keep a source's tensors at `path`, whole or not at all; where that fails, only log it."""
    tensors = dict(zip(CACHED, (part.contiguous() for part in parts), strict=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not save_file, which lets nobody but its writer read the file.
        write_whole(path, save(tensors, {"sha256": _checksum(parts)}))
    except (OSError, StoreError) as error:
        log.warning("images are not cached (%s): they are decoded anew", error)


def read_cache(path: Path) -> Parts | None:
    """The tensors kept at `path`, or None where there are none or they are damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            kept = (file.metadata() or {}).get("sha256")
            train_images, train_labels, test_images, test_labels = map(file.get_tensor, CACHED)
        parts = (train_images, train_labels, test_images, test_labels)
        sound = _checksum(parts) == kept
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        log.debug("%s is damaged (%s): decoding the images anew", path, error)
        return None
    if not sound:
        log.debug("%s is damaged (wrong sha256): decoding the images anew", path)
        return None
    return parts


def _checksum(parts: Parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()
