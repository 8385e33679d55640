"""A store with one small entry, for tests that damage it."""

from pathlib import Path

import torch

from moe.store import Store

KEY = "base-0123456789abcdef"


def small_store(root: Path) -> Store:
    store = Store(root)
    store.prepare()
    record = {"kind": "base", "name": "base", "inputs": {"in_shape": [1, 8, 8], "seed": 3}, "seconds": 1.25}
    store.publish(KEY, record, {"weight": torch.arange(40.0)})
    return store
