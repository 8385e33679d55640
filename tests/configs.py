"""Configs with one value changed, and what is said of them."""

import copy
import functools
from typing import Any

import pytest

from moe import checks
from moe.config import compose
from moe.errors import ConfigError
from moe.schema import Config, Plain


@functools.cache
def composed(*overrides: str) -> Config:
    return compose(*overrides)


def changed(key: str, value: Any) -> Plain:
    """The plain values of `experiment=held_out` with one of them, by its dotted key, set."""
    values = copy.deepcopy(composed("experiment=held_out").plain())
    *parents, last = key.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return values


def refusal(values: Plain) -> str:
    """What the check of plain values, which `from_plain` ends with, says is wrong."""
    with pytest.raises(ConfigError) as raised:
        checks.check(values)
    return str(raised.value)


def sentence(*overrides: str) -> str:
    """What composing says is wrong."""
    with pytest.raises(ConfigError) as raised:
        compose(*overrides)
    assert "\n" not in str(raised.value)
    return str(raised.value)
