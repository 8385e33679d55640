"""How rows are called by what tells them apart, and how config keys and values are shown."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from moe.comparison.rows import Row

WIDTH = "gate.width"
NETWORKS = ("moe.nets.", "torchvision.models.", "torch.optim.")


def short_names(keys: Sequence[str]) -> list[str]:
    """Each dotted key as its last part, else its first and last, whichever tells it from the others, else whole.

    The key of a network or an optimiser is shown as what it builds: `gate` for `gate._target_`.
    """
    whole = [key.removesuffix("._target_") for key in keys]
    forms = [(key.rpartition(".")[2], f"{key.partition('.')[0]}.{key.rpartition('.')[2]}", key) for key in whole]
    counts = Counter(form for own in forms for form in set(own))
    return [next((form for form in own if counts[form] == 1), own[-1]) for own in forms]


def said(value: Any) -> str:
    """A config value in few letters: a class without its module, a list or a tree without spaces and quotes."""
    if not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace('"', "")
    return value.rpartition(".")[2] if value.startswith(NETWORKS) else value


def row_names(rows: Sequence[Row], differences: Sequence[str]) -> list[str]:
    """Each row by its values of the keys in `differences`: "MLPGate, joint, width 64".

    A key that some rows have and others have not, but never with two values, only follows from another key; it is
    said where rows would have the same name without it.
    """
    titles = dict(zip(differences, short_names(differences), strict=True))
    values = {key: {json.dumps(row.first.config[key]) for row in rows if key in row.first.config} for key in titles}
    telling = [key for key in titles if len(values[key]) > 1]
    names = [_name(row, telling, titles) for row in rows]
    if len(set(names)) < len(rows):
        names = [_name(row, list(titles), titles) for row in rows]
    if len({row.first.fingerprint for row in rows}) > 1:
        names = [f"{row.first.data}, {name}" for row, name in zip(rows, names, strict=True)]
    return [name + "*" * row.on_test for row, name in zip(rows, names, strict=True)]


def _name(row: Row, keys: Sequence[str], titles: dict[str, str]) -> str:
    config = row.first.config
    # A number says nothing without its key; a word does.
    parts = [
        said(config[key]) if isinstance(config[key], str) else f"{titles[key]} {said(config[key])}"
        for key in keys
        if key in config
    ]
    return ", ".join(parts) or row.experiment
