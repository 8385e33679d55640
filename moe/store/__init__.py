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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from moe.errors import StoreError
from moe.store.entry import CHECKSUM, RECORD, TENSORS, Entry, digest, read
from moe.store.files import held, sweep, write_durably, write_whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KEY", "Entry", "Store", "digest", "sweep", "write_durably", "write_whole"]
log = logging.getLogger(__name__)
# A folder of any other name is none of the store's, and is never touched.
KEY = re.compile(r"[a-z]+-[0-9a-f]{16}")
PROBE_BYTES = 4096  # a full disk takes an empty file


class Store:
    """Entries by key below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aside, self._locks, self._damaged = root / ".unfinished", root / ".locks", root / ".damaged"
        self.checkpoints = root / ".checkpoints"  # of what is being trained; see `moe.modules.checkpoint`

    def prepare(self) -> None:
        """Make the folders, see that they can be written, and remove what killed processes left unfinished."""
        try:
            for folder in (self._aside, self._locks, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self._aside / f"probe-{uuid.uuid4().hex}"
            probe.write_bytes(bytes(PROBE_BYTES))
            for leftover in self._aside.iterdir():
                self.remove(leftover)  # the probe is one; those of writes going on are locked
        except OSError as error:
            raise StoreError(f"paths.store={self.root} cannot be written: {error.strerror}") from None

    def get(self, key: str) -> Entry | None:
        """The entry of `key`, or None. Raises StoreError where there is one that cannot be read."""
        path = self.root / key
        return read(path) if path.is_dir() else None

    def sound(self, key: str) -> Entry | None:
        """The entry of `key`, its tensors checked too; None where there is none or it is damaged."""
        try:
            entry = self.get(key)
            if entry is not None:
                entry.verify()
            return entry
        except StoreError:
            return None

    def mend(self, key: str) -> None:
        """Put a damaged entry of `key` aside, so that it can be made anew."""
        self.put_aside(key, "is damaged", lambda: self.sound(key) is None)

    def put_aside(self, key: str, why: str, unfit: Callable[[], bool]) -> None:
        """Put an entry of `key` that is `unfit` into the folder `.damaged`, with a warning that says why."""
        path = self.root / key
        if not path.is_dir() or not unfit():
            return
        with self.lock(key, "an entry to be made anew"):
            if path.is_dir() and unfit():  # still: another process may have made it anew
                self._damaged.mkdir(exist_ok=True)
                kept = path.rename(self._damaged / f"{key}-{uuid.uuid4().hex}")
                log.warning("%s %s: it is made anew; the old one is kept as %s", path, why, kept)

    def publish(self, key: str, record: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> Entry:
        """Write an entry beside its place and rename it there; an entry of that key that is there and whole stays.

        Holds the key's lock, also where the caller has it: what lies unfinished and is not locked is nobody's.
        """
        with self.lock(key, "an entry"):
            return self._publish(key, record, tensors)

    def _publish(self, key: str, record: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> Entry:
        from safetensors.torch import save

        content = save(dict(tensors))
        checked = {"key": key, **record, "created": time.time(), "sha256": hashlib.sha256(content).hexdigest()}
        checked[CHECKSUM] = digest(checked)
        aside = self._aside / f"{key}-{uuid.uuid4().hex}"
        try:
            aside.mkdir(parents=True)
            write_durably(aside / TENSORS, content)
            write_durably(aside / RECORD, json.dumps(checked, indent=1).encode())
            self.mend(key)
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
        """Hold `key` alone among all processes; says so once where another has it. A dead process's lock is free.

        Whoever holds it may take it again.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{key}.lock", is_singleton=True)
        with held(lock, f"{what}: another process is at work on {key}"):
            yield

    def present(self) -> list[str]:
        """The key of every entry, damaged ones included."""
        return sorted(path.name for path in self.root.iterdir() if KEY.fullmatch(path.name) and path.is_dir())

    def leftovers(self, seconds: float) -> list[Path]:
        """What unfinished writes left behind that has not changed for so many seconds."""
        return sorted(path for path in self._aside.glob("*") if time.time() - _changed(path) > seconds)

    def unfinished(self) -> list[Path]:
        """Every checkpoint of what is being trained, or was until it was ended."""
        return sorted(self.checkpoints.glob("*"))

    def damaged(self) -> list[Path]:
        """The entries that were put aside, to be made anew."""
        return sorted(self._damaged.glob("*"))

    def remove(self, path: Path) -> bool:
        """Remove an entry, a leftover or a damaged one; False, and it stays, where a process is at work on it."""
        # A file that is being written has a dot before its name.
        key = path.name if path.parent == self.root else path.name.lstrip(".").rpartition("-")[0]
        self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            aside = path
            if not path.exists():
                return True
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


def _changed(path: Path) -> float:
    """When anything at or in `path` was last written."""
    try:
        return max(part.stat().st_mtime for part in (path, *path.glob("*")))
    except FileNotFoundError:  # published meanwhile
        return time.time()
