"""A config as its values by their dotted keys, and in which of them two runs differ."""

import functools
import json
from collections.abc import Iterator
from contextlib import suppress

from moe.checks import scalars
from moe.config import from_plain
from moe.errors import ConfigError
from moe.schema import Plain

# What tells a run from another and yet makes no other row of a comparison: where it was, how it was shown, and what has
# a column of its own.
NO_DIFFERENCE = (
    *("experiment", "seed", "plan", "report", "checkpoint_seconds", "paths.", "logger."),
    *("data.name", "data.root", "data.download", "data.fingerprint"),
    *("trainer.enable_progress_bar", "trainer.log_every_n_steps"),
    "taxonomy.name",  # its tree is told apart, whatever that is called
)


def settings(config: Plain) -> Plain:
    """Every value of a config by its dotted key; a tree of branches is one value."""
    with suppress(ConfigError, KeyError, TypeError, ValueError):  # as it is where this version would refuse it
        # The runs of a row differ in the seed alone, and to parse one takes long.
        config = {**_completed(json.dumps({**config, "seed": 0})), "seed": config["seed"]}
    tree = config["taxonomy"]["branches"]
    found = dict(scalars({**config, "taxonomy": {**config["taxonomy"], "branches": None}}))
    return {**found, "taxonomy.branches": tree}


@functools.lru_cache(1024)
def _completed(config: str) -> Plain:
    """A config, as JSON, with the defaults of keys that its version did not have."""
    return from_plain(json.loads(config)).plain()


def places(config: Plain) -> tuple[str, ...]:
    """The keys of where things are, no part of what a run is: images are known by their fingerprint, if any."""
    images = ("data.root", "data.download") if config["data"]["fingerprint"] is not None else ()
    return ("paths.", "logger.project", "logger.entity", *images)


def differences(one: Plain, other: Plain, but: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """The keys, but those that begin like one of `but`, in which two configs differ, with each one's value as JSON."""
    there, here = settings(one), settings(other)
    for key in here | there:
        # As JSON, since 1, 1.0 and true are equal to Python.
        values = [json.dumps(said.get(key), default=str) for said in (there, here)]
        if values[0] != values[1] and not key.startswith(but):
            yield key, values[0], values[1]
