"""In what the runs of a verdict differ that does not make them rivals: settings, and networks of the same config."""

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from moe.checks import scalars
from moe.comparison import Row, differing
from moe.package import CONF

# What decides a base's weights, of the same seed and images; and what base.match makes of a base but more of them.
NETWORK = ("base.net.", "base.recipe.", "trainer.precision", "data.splits.", "data.mean", "data.std")
SAME_BASE = ("none", "members")


def unlike(found: Mapping[str, Row]) -> Iterator[str]:
    """A sentence for each setting that differs among rivals none of whose files in conf/rival sets it."""
    for key in differing([row.first for row in found.values()]):
        values: dict[str, list[str]] = {}
        for name, row in found.items():
            if not _sets(name, key):
                values.setdefault(json.dumps(row.first.config.get(key), default=str), []).append(name)
        if len(values) > 1:
            told = "; ".join(f"{value}: {', '.join(names)}" for value, names in sorted(values.items()))
            yield f"The rivals differ in {key}, which makes none of them ({told}): what tells them apart may be that."


def other_bases(found: Mapping[str, Row]) -> Iterator[str]:
    """A sentence for each seed of which rivals whose configs ask for the same base do not have the same network."""
    asked: dict[tuple[int, str], dict[str, list[str]]] = {}
    for name, row in found.items():
        for run in row.runs:
            if run.base is not None and run.config.get("base.match", "none") in SAME_BASE:
                own = {key: value for key, value in sorted(run.config.items()) if key.startswith(NETWORK)}
                of_seed = asked.setdefault((run.seed, json.dumps(own, default=str)), {})
                of_seed.setdefault(run.base, []).append(name)
    for (seed, _), bases in sorted(asked.items()):
        *few, most = sorted(bases.values(), key=len)
        if others := [name for names in few for name in names]:
            yield (
                f"Of seed {seed} {', '.join(others)} {'has' if len(others) == 1 else 'have'} another base than "
                f"{', '.join(most)}, though their configs ask for the same one: what parts them may be that."
            )


def _sets(rival: str, key: str) -> bool:
    """Whether the rival's own file sets a key, or a part of the config that holds it; so may one that is not here."""
    own = _own(rival)
    return own is None or any(key == one or key.startswith(f"{one}.") for one in ("rival", *own))


@functools.cache
def _own(rival: str) -> tuple[str, ...] | None:
    """The dotted keys that conf/rival/<rival>.yaml sets, and the sections whose option it chooses; None without it."""
    file = CONF / "rival" / f"{rival}.yaml"
    if not file.is_file():
        return None
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    sections: list[str] = []
    for one in content.pop("defaults", []):
        if isinstance(one, dict):
            # "override /recipe@expert.recipe" is of expert.recipe, "override /taxonomy" of taxonomy.
            sections += [place.removeprefix("override ").strip("/").rpartition("@")[2] for place in one]
        elif one != "_self_":
            sections += _own(str(one)) or ()  # built on another rival
    return (*sections, *(key for key, _ in scalars(content)))
