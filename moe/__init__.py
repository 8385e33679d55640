"""Hierarchical mixtures of convolutional experts, and whether the gating paid.

`moe.load(RUN)` opens a finished run; `moe.compose("experiment=gates", "gate.width=64")` the
typed config of a command. Both import what they need when they are called.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moe.runs import Finished
    from moe.schema import Config

__all__ = ["compose", "load"]


def load(run: str) -> "Finished":
    """A finished run of a mixture or a base, ready to predict. Raises StoreError where the folder is no such run."""
    from moe.runs import load

    return load(run)


def compose(*overrides: str) -> "Config":
    """The typed config of `python -m moe.train OVERRIDES...`. Raises ConfigError where an override is wrong."""
    from moe.config import compose

    return compose(*overrides)
