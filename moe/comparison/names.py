"""How rows are called by what tells them apart, and how config keys and values are shown."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from moe.comparison.rows import Row

WIDTH = "gate.width"
MOST_KEYS = 8
# What the images are, and how their classes are arranged.
OF_DATA = ("data.", "taxonomy.")
# Where too many keys differ, those of sections that say most of a mixture come first.
SECTIONS = ("rival", "target", "gate", "mixture", "expert", "base", "router")
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


def shown_keys(rows: Sequence[Row], differences: Sequence[str]) -> list[str]:
    """The keys of `differences` that have a column, in their order: those first that tell rows apart, at most eight.

    Where rows are on different data, what follows from that has none.
    """

    def follows(key: str) -> bool:
        data = [(row.first.fingerprint, row.first.data) for row in rows]
        return len({fingerprint for fingerprint, _ in data}) > 1 and (
            len(set(zip(data, _values(rows, [key]), strict=True))) == len(set(data))
        )

    ranked = sorted((key for key in differences if not (key.startswith(OF_DATA) and follows(key))), key=_rank)
    telling: list[str] = []
    for key in ranked:
        if len(set(_values(rows, [*telling, key]))) > len(set(_values(rows, telling))):
            telling.append(key)
    most = list(dict.fromkeys([*telling, *ranked]))[:MOST_KEYS]
    return [key for key in differences if key in most]


def _rank(key: str) -> tuple[bool, bool, int]:
    section, _, rest = key.removesuffix("._target_").partition(".")
    order = SECTIONS.index(section) if section in SECTIONS else len(SECTIONS)
    return key.startswith(OF_DATA), "." in rest, order


def _values(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """Each row's values of some keys, as JSON, since 1, 1.0 and true are equal to Python."""
    return [json.dumps([row.first.config.get(key, ...) for key in keys], default=str) for row in rows]


def row_names(rows: Sequence[Row], differences: Sequence[str]) -> list[str]:
    """Each row by what tells it from the others of its values of the keys in `differences`: "MLP, joint, width 64"."""
    titles = dict(zip(differences, short_names(differences), strict=True))
    keys = list(titles)

    def distinct(keys: Sequence[str]) -> int:
        return len(set(_values(rows, keys)))

    if "rival" in keys and distinct(["rival"]) == distinct(keys):
        keys = ["rival"]  # it decides the others
    # A number that only follows from the other keys, as the default width of a kind of gate does, is not said.
    numbers = [key for key in keys if not any(isinstance(row.first.config.get(key), str) for row in rows)]
    for key in reversed(numbers):
        others = [other for other in keys if other != key]
        if distinct(others) == distinct(keys):
            keys = others
    names = [_name(row, keys, titles) for row in rows]
    if len({row.first.fingerprint for row in rows}) > 1:
        names = [f"{row.first.data}, {name}" for row, name in zip(rows, names, strict=True)]
    return [name + "*" * row.on_test for row, name in zip(rows, names, strict=True)]


def _name(row: Row, keys: Sequence[str], titles: dict[str, str]) -> str:
    config = row.first.config
    parts = []
    for key in keys:
        if key in config:
            word = said(config[key])
            # A number says nothing without its key; a word does.
            parts.append(word.removesuffix("Gate") or word if isinstance(config[key], str) else f"{titles[key]} {word}")
    return ", ".join(parts) or row.experiment
