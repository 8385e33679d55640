"""A run's files: `results.json` and `predictions.safetensors`, each there whole or not at all."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from moe.errors import NonFiniteError, StoreError
from moe.inference import Predictions
from moe.schema import Plain
from moe.store import write_whole

SCHEMA = 1
RESULTS, PREDICTIONS = "results.json", "predictions.safetensors"


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


def write_predictions(folder: Path, predictions: Predictions, labels: Tensor) -> None:
    """Write `predictions.safetensors` into `folder`, whole or not at all, with the images' labels (N,)."""
    from safetensors.torch import save

    tensors = {field.name: getattr(predictions, field.name).contiguous() for field in fields(Predictions)}
    write_whole(folder / PREDICTIONS, save({**tensors, "labels": labels.contiguous()}))


def read_predictions(folder: Path) -> tuple[Predictions, Tensor]:
    """What `write_predictions` wrote. Raises StoreError where there is none or it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    file = folder / PREDICTIONS
    try:
        tensors = load(file.read_bytes())
        return Predictions(**{field.name: tensors[field.name] for field in fields(Predictions)}), tensors["labels"]
    except OSError:
        raise StoreError(f"{folder} holds no {PREDICTIONS}: it is no finished run of a mixture") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise StoreError(f"{file} is damaged: it does not hold the predictions of a run") from None


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
