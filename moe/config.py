"""What `conf/` composes becomes the typed config of `moe.schema` here, checked before any data is read.

Nothing in this file imports torch, so that a wrong config fails at once.
"""

import copy
import functools
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError
from yaml import YAMLError

from moe import checks
from moe.errors import ConfigError, DataError, UserError
from moe.overrides import AS_BASE, FIRST_LINE, GLOBAL, as_base, config_error, misplaced, unread_file
from moe.package import CONF, CONFIG_NAME
from moe.schema import Config, Gate, Paths, Plain


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Turn what Hydra and OmegaConf say of a wrong override or file into a ConfigError of one sentence."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise config_error(error) from None
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        of_a_file = not isinstance(error, OSError) or str(error).startswith("Invalid loaded object type")
        said = unread_file(error) if of_a_file else None
        if said is None:
            raise
        raise said from None
    except ValueError as error:
        if "Unable to configure handler" in str(error):
            why = error.__cause__ or error
            raise DataError(f"hydra.run.dir: its log cannot be written: {why}") from None
        if isinstance(error, UserError) or not _is_hydras(error):
            raise
        raise config_error(error) from None
    except (AttributeError, KeyError, RecursionError, RuntimeError, TypeError) as error:
        if not _is_hydras(error):
            raise
        raise config_error(error) from None


def _is_hydras(error: BaseException) -> bool:
    """Whether an error was raised in Hydra's or OmegaConf's own code, where only what was overridden can be wrong."""
    frames = traceback.walk_tb(error.__traceback__)
    *_, name = ("", *(str(frame.f_globals.get("__name__")) for frame, _ in frames))
    return name.partition(".")[0] in ("hydra", "omegaconf")


def compose(*overrides: str) -> Config:
    """The config of `python -m moe.train OVERRIDES...`, for notebooks and tests.

    Raises ConfigError where an override names no key or a value is wrong.
    """
    with hydra_errors(), initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra_compose(CONFIG_NAME, list(overrides))
    return parse(composed)


def parse(composed: DictConfig) -> Config:
    """The typed config of what Hydra composed, with every check done that needs no data.

    Raises ConfigError, naming the key and what would be right.
    """
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        values: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise config_error(error) from None
    for name in GLOBAL:
        if isinstance(values.get(name), dict | list):
            raise ConfigError(f"{name} is a name and holds no keys; where a file of conf/{name} does, {FIRST_LINE}")
    # Values of one's own that others are made of, as gate.width=${vars.width}.
    if not isinstance(own_values := values.pop("vars", {}), dict):
        raise ConfigError(f"vars holds values of your own by name, as +vars.NAME=VALUE, not {own_values!r}")
    base = values.get("base")
    for name in ("expert", "router"):
        section = values.get(name)
        net = section.get("net") if isinstance(section, dict) else None
        if not isinstance(base, dict) or "net" not in base or not isinstance(net, dict) or net | AS_BASE != net:
            continue
        for key in net.keys() - AS_BASE.keys():
            raise ConfigError(as_base(name, key))
        section["net"] = copy.deepcopy(base["net"])
    return from_plain(values)


def from_plain(values: Plain) -> Config:
    """The typed config from nested plain values (`Config.plain`, or `config` of a `results.json`).

    Raises ConfigError, naming the key and what would be right.
    """
    for name in ("taxonomy", "gate"):
        if not isinstance(values.get(name), dict):
            raise ConfigError(f"{name} must hold that section's keys, as in conf/{name}, not {values.get(name)!r}")
    values = {**values, "taxonomy": {k: v for k, v in values["taxonomy"].items() if k != "tree"}}
    # The gate's own arguments (gate.width, gate.depth ...) stand beside the keys that every gate has.
    shared = set(Gate.__dataclass_fields__) - {"net"}
    gate = values["gate"]
    values["gate"] = {key: value for key, value in gate.items() if key in shared}
    values["gate"]["net"] = {key: value for key, value in gate.items() if key not in shared}
    _check_sections(values, Config)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(_schema(), values))  # merge copies, so that one is enough
    except ValidationError as error:
        said = checks.of_another_type(str(error.full_key), values, switch="bool" in str(error))
        raise (ConfigError(said) if said else config_error(error)) from None
    except OmegaConfBaseException as error:
        raise config_error(error) from None
    assert isinstance(config, Config)
    checks.check(config.plain())
    store, data = (os.path.expanduser(path) for path in (config.paths.store, config.paths.data))
    return replace(config, paths=Paths(store, data))


def _check_sections(values: Plain, schema: Any, key: str = "") -> None:
    """Raise ConfigError for a value where the config has a section, or where it has a list."""
    for name, kind in _hints(schema).items():
        if name not in values or (values[name] is None and NoneType in get_args(kind)):
            continue
        value, place = values[name], f"{key}.{name}" if key else name
        section = next(iter(_sections(kind)), None)
        if (section is not None or kind == Plain) and not isinstance(value, dict):
            raise misplaced(place, value, _own_keys(section), NoneType in get_args(kind))
        if section is not None:
            _check_sections(value, section, place)
        if get_origin(kind) is list and not isinstance(value, list):
            raise ConfigError(f"{place} must be a list{f', as [{value}]' * (value is not None)}, not {value!r}")


def _sections(kind: Any) -> list[Any]:
    """The section that a type of the schema is, or may be."""
    return [one for one in (kind, *get_args(kind)) if is_dataclass(one)]


def _own_keys(section: Any) -> list[str]:
    """The keys of a section of the schema that hold no section themselves; none of what is no section."""
    hints = _hints(section) if section is not None else {}
    return [name for name, kind in hints.items() if kind != Plain and not _sections(kind)]


@functools.cache
def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema)


@functools.cache
def _schema() -> Any:
    """The schema as OmegaConf has it: a sweep parses a config for each of its jobs, and its making takes a third."""
    return OmegaConf.structured(Config)
