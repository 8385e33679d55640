"""One entry of the store: what was published, and whether it still is what was published."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

RECORD, TENSORS = "entry.json", "tensors.safetensors"
LARGEST = 1e18  # of seconds; what is beyond cannot be printed as a time
CHECKSUM = "checksum"  # of the record without it; entries of earlier versions have none


def digest(value: Any) -> str:
    """The SHA-256 (hex) of a nested plain value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


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
        from safetensors import SafetensorError  # late: listing a store needs no torch
        from safetensors.torch import load

        content = self._checked()
        try:
            return load(content)
        except (SafetensorError, KeyError, TypeError, ValueError):  # a file of another kind, by its own checksum
            raise StoreError(f"{self.path / TENSORS} is no file of safetensors; {remedy(self.path)}") from None

    def outdated(self, entries: "Iterable[Entry]") -> bool:
        """Whether it learnt from other weights than those of `entries`: they were trained anew since.

        The same key comes to other weights where sums are rounded otherwise: by another processor, by another number of
        threads. Entries of earlier versions do not say what they learnt from.
        """
        then = self.record.get("learnt_from", {})
        return any(then.get(one.key, one.record["sha256"]) != one.record["sha256"] for one in entries)

    def verify(self) -> None:
        """Raise StoreError, naming the entry and the remedy, where its tensors are damaged or gone."""
        self._checked()

    def _checked(self) -> bytes:
        path = self.path / TENSORS
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}); {remedy(self.path)}") from None
        if hashlib.sha256(content).hexdigest() != self.record["sha256"]:
            raise StoreError(f"{path} is damaged: its checksum is not the published one; {remedy(self.path)}")
        return content


def read(path: Path) -> Entry:
    """The entry in a folder. Raises StoreError where its record is not the one that was published."""
    try:
        record = json.loads((path / RECORD).read_bytes())
        if _sound(record, path.name):
            return Entry(path, record)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise StoreError(f"{path} is no readable store entry; {remedy(path)}")


def _sound(record: Any, key: str) -> bool:
    if record["key"] != key or not (isinstance(record["sha256"], str) and isinstance(record["kind"], str)):
        return False
    seconds = record.get("seconds")
    if not (_number(record["created"]) and (seconds is None or _number(seconds))):
        return False
    if not (isinstance(record["inputs"], dict) and isinstance(record.get("name", ""), str)):
        return False
    if CHECKSUM in record:
        return bool(record[CHECKSUM] == digest({name: value for name, value in record.items() if name != CHECKSUM}))
    # Of an earlier version's entry at least what decides its weights is what its key says.
    return key == f"{record['kind']}-{digest(record['inputs'])[:16]}" and set(record) <= EARLIER


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < LARGEST  # NaN is below nothing


# What an entry without a checksum may hold: a damaged name does not make one of an entry that has it.
EARLIER = {"key", "kind", "name", "inputs", "seconds", "together", "epoch", "curves", "machine", "created", "sha256"}


def remedy(path: Path) -> str:
    """The end of a sentence about a damaged entry."""
    return f"delete {path} and run again: it will be made anew"
