"""The store of trained networks and frozen outputs: one folder an entry, whole or not there at all.

`python -m moe.store list|verify|prune` looks after it.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from moe.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
RECORD, TENSORS = "entry.json", "tensors.safetensors"
# A folder of any other name is none of the store's, and is never touched.
KEY = re.compile(r"[a-z]+-[0-9a-f]{16}")


@dataclass(frozen=True)
class Entry:
    """One published entry. `record` holds at least key, kind, inputs, created and the files' checksums."""

    path: Path
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        return self.path.name

    def tensors(self) -> "dict[str, Tensor]":
        """The entry's tensors on the CPU. Raises StoreError where the file is not what was published."""
        from safetensors.torch import load  # late: listing a store needs no torch

        return load(self._checked())

    def verify(self) -> None:
        """Raise StoreError, naming the entry and the remedy, where its tensors are damaged or gone."""
        self._checked()

    def _checked(self) -> bytes:
        path = self.path / TENSORS
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); {_remedy(self.path)}") from None
        if hashlib.sha256(content).hexdigest() != self.record["sha256"]:
            raise StoreError(f"{path} is damaged: its checksum is not the published one; {_remedy(self.path)}")
        return content


class Store:
    """Entries by key below `root`. Raises StoreError where `root` cannot be made or written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aside, self._locks = root / ".unfinished", root / ".locks"
        self.checkpoints = root / ".checkpoints"  # of what is being trained; see `moe.modules.checkpoint`

    def prepare(self) -> None:
        """Make the folders and see that they can be written."""
        try:
            for folder in (self._aside, self._locks, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self._aside / f"probe-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StoreError(f"paths.store={self.root} cannot be written: {error.strerror}") from None

    def get(self, key: str) -> Entry | None:
        """The entry of `key`, or None. Raises StoreError where there is one that cannot be read."""
        path = self.root / key
        if not path.is_dir():
            return None
        try:
            record = json.loads((path / RECORD).read_text())
            if record["key"] == key and record["sha256"] and record["kind"] and float(record["created"]):
                return Entry(path, record)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise StoreError(f"{path} is no readable store entry; {_remedy(path)}")

    def publish(self, key: str, record: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> Entry:
        """Write an entry beside its place and rename it there; an entry of that key that is there stays."""
        from safetensors.torch import save

        content = save(dict(tensors))
        checked = {"key": key, **record, "created": time.time(), "sha256": hashlib.sha256(content).hexdigest()}
        aside = self._aside / f"{key}-{uuid.uuid4().hex}"
        try:
            aside.mkdir(parents=True)
            write_durably(aside / TENSORS, content)
            write_durably(aside / RECORD, json.dumps(checked, indent=1).encode())
            if not (self.root / key).exists():
                os.rename(aside, self.root / key)
        except OSError as error:
            raise StoreError(f"{self.root / key} cannot be written: {error.strerror}") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        entry = self.get(key)
        assert entry is not None
        return entry

    @contextmanager
    def lock(self, key: str, what: str) -> Iterator[None]:
        """Hold `key` alone among all processes; says so once where another has it. A dead process's lock is free."""
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is at work on %s; waiting for it", what, key)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def present(self) -> list[str]:
        """The key of every entry, damaged ones included."""
        return sorted(path.name for path in self.root.iterdir() if KEY.fullmatch(path.name) and path.is_dir())

    def leftovers(self, seconds: float) -> list[Path]:
        """What unfinished writes left behind that has not changed for so many seconds."""
        return sorted(path for path in self._aside.glob("*") if time.time() - _changed(path) > seconds)

    def unfinished(self) -> list[Path]:
        """Every checkpoint of what is being trained, or was until it was ended."""
        return sorted(self.checkpoints.glob("*"))

    def remove(self, path: Path) -> bool:
        """Remove an entry's folder or a leftover; False where another process is at work on it, and it stays."""
        key = path.name if path.parent == self.root else path.name.rpartition("-")[0]
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            aside = path
            if path.parent == self.root:  # out of its place at once, as it came
                self._aside.mkdir(exist_ok=True)
                aside = path.rename(self._aside / f"{key}-{uuid.uuid4().hex}")
            if aside.is_dir():
                shutil.rmtree(aside)
            else:
                aside.unlink(missing_ok=True)
        finally:
            lock.release()
        return True

    def entries(self) -> list[Entry]:
        """Every readable entry, oldest first."""
        found = []
        for key in self.present():
            try:
                entry = self.get(key)
            except StoreError as error:
                log.warning("%s", error)
                continue
            if entry is not None:
                found.append(entry)
        return sorted(found, key=lambda entry: float(entry.record["created"]))


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _changed(path: Path) -> float:
    """When anything at or in `path` was last written."""
    try:
        return max(part.stat().st_mtime for part in (path, *path.glob("*")))
    except FileNotFoundError:  # published meanwhile
        return time.time()


def _remedy(path: Path) -> str:
    return f"delete {path} and run again: it will be made anew"
