"""A run's `results.json`, there whole or not at all."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from moe.errors import NonFiniteError, StoreError
from moe.schema import Plain
from moe.store.files import write_whole

SCHEMA = 1
RESULTS = "results.json"


def write(folder: Path, results: Plain) -> None:
    """Write `results.json` into `folder`, whole or not at all.

    Raises NonFiniteError, naming the entry, where a number is NaN or infinite, StoreError where it cannot be
    written.
    """
    for name, value in _numbers("", results):
        if not math.isfinite(value):
            raise NonFiniteError(f"{name} came out as {value}: {RESULTS} holds finite numbers only")
    write_whole(folder / RESULTS, json.dumps(results, indent=1, allow_nan=False).encode())


def read(path: Path) -> Plain:
    """The results of a finished run, from its folder or its `results.json`.

    Raises StoreError where there is none or it cannot be read.
    """
    file = path if path.is_file() else path / RESULTS
    if not file.is_file():
        raise StoreError(f"{path} holds no {RESULTS}: it is no finished run")
    try:
        results = json.loads(file.read_bytes())
        schema = results["schema"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise StoreError(f"{file} is damaged: it is not the {RESULTS} of a run") from None
    if schema != SCHEMA:
        raise StoreError(f"{file} has schema {schema!r}; this version of moe reads schema {SCHEMA}")
    return dict(results)


def check_tested(found: Plain, needed: Collection[str]) -> None:
    """Raise TypeError or KeyError, which say what is missing, where a run's results lack what testing it again reads.

    Among these are the stages `needed`.
    """
    for name, kind in (("experiment", str), ("target", str), ("seed", int), ("key", str), ("machine", str)):
        if not isinstance(found[name], kind):
            raise TypeError(f"its {name}")
    test = found["test"]
    if not isinstance(test, dict) or not isinstance(test.get("accuracy"), float):
        raise TypeError("a test accuracy")
    if not isinstance(test.get("right", ""), str):
        raise TypeError("test.right as text")
    if not all(isinstance(found["data"][name], str) for name in ("fingerprint", "protocol")):
        raise TypeError("data.fingerprint and data.protocol as text")
    shape = found["data"]["shape"]
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(size) is int and size > 0 for size in shape)):
        raise TypeError("the shape of its images")
    for name in dict.fromkeys([*needed, *found["stages"]]):
        stage = found["stages"][name]
        if not isinstance(stage["key"], str):
            raise TypeError(f"the key of {name}")
        if not isinstance(stage.get("temperature", 1.0), float):
            raise TypeError(f"the temperature of {name}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every float in nested plain values, with its dotted name."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(f"{name}.{key}".lstrip("."), part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _numbers(f"{name}.{index}", part)
    elif isinstance(value, float):
        yield name, value
