"""Files written whole or not at all, whatever ends the process or fills the disk meanwhile, and waited for in turn."""

import glob
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from moe.errors import StoreError

log = logging.getLogger(__name__)

# A write takes moments: what is older was left by a process that was killed.
ABANDONED_SECONDS = 3600.0


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it there.

    Raises StoreError where it cannot be written; what was there is then as it was.
    """
    sweep(path, ABANDONED_SECONDS)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_durably(aside, content)
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def sweep(path: Path, seconds: float) -> None:
    """Remove what writes of `path` that were cut off left beside it and that is so many seconds old."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime >= seconds:
                left.unlink()


@contextmanager
def held(lock: FileLock, busy: str) -> Iterator[None]:
    """Hold a lock alone among all processes; says so once, by `busy`, where another has it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s; waiting for it", busy)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
