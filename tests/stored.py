"""Entries of a store, put there, aged, damaged and trained anew."""

import json
import shutil
import time
from pathlib import Path

import torch

from moe.store import Entry, Store, digest

KEY = "base-0123456789abcdef"
TENSORS = {"weight": torch.arange(6.0).view(2, 3)}
HOURS = 3600


def publish(store: Store, key: str, kind: str = "base", **record: object) -> None:
    store.publish(key, {"kind": kind, "name": kind, "inputs": {}, **record}, TENSORS)


def age(store: Store, key: str, days: float) -> None:
    path = store.root / key / "entry.json"
    record = {**json.loads(path.read_text()), "created": time.time() - days * 24 * HOURS}
    record.pop("checksum")
    path.write_text(json.dumps({**record, "checksum": digest(record)}))


def damage(store: Store, key: str) -> None:
    path = store.root / key / "tensors.safetensors"
    *content, last = path.read_bytes()
    path.write_bytes(bytes([*content, last ^ 1]))


def small_store(root: Path) -> Store:
    store = Store(root)
    store.prepare()
    publish(store, KEY)
    return store


def train_anew(entry: Entry) -> None:
    """Put other weights under an entry's key, as another processor would; here by more than rounding."""
    store, weights = Store(entry.path.parent), entry.tensors()
    record = {name: value for name, value in entry.record.items() if name not in ("key", "created", "checksum")}
    shutil.rmtree(entry.path)
    other = {name: 1.01 * tensor if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    store.publish(entry.key, record, other)
