"""What a sweep's folders are called: by what was overridden, so that the same command finds them again."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import ListConfig, OmegaConf

from moe.errors import ConfigError
from moe.package import CONFIG_NAME

LONGEST, LONGEST_VALUE = 60, 12


def register() -> None:
    """Make the names known to `conf/`: `${moe.sweep:...}`, `${moe.swept:...}`, `${moe.job:...}`."""
    # Cached: all jobs of a sweep see what it began with.
    OmegaConf.register_new_resolver("moe.sweep", sweep_name, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("moe.swept", swept, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("moe.job", job_name, replace=True)


def sweep_name(overrides: Sequence[str], params: Any = None, config_name: str = CONFIG_NAME) -> str:
    """The folder of a whole sweep: what it sweeps, and a hash of all that was overridden, and of which config."""
    overrides = as_typed(overrides)
    given = dict(_split(override) for override in overrides)
    what = given.get("sweep") or given.get("experiment", "gates")
    parts = [what if not _is_sweep(what) else "experiments"]
    if "sweep" not in given:
        parts += [_called(key) for key in sorted(swept(overrides, params)) if key != "experiment"]
    space = _space(params)
    of_another = [f"--config-name={config_name}"] if config_name != CONFIG_NAME else []
    return f"{_slug('_'.join(parts))}-{_hash([*of_another, *overrides, *(f'{key}={space[key]}' for key in space)])}"


def job_name(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """The folder of one job: its values of what is swept, as far as they are short, and a hash of all its overrides."""
    overrides = as_typed(overrides)
    named = [(_called(key), _value(key, value)) for key, value in sorted(map(_split, overrides)) if key in swept]
    parts = [f"{key}-{value[:LONGEST_VALUE]}" for key, value in named]
    return f"{_slug('_'.join(parts))}-{_hash(overrides)}".lstrip("-")


def swept(overrides: Sequence[str], params: Any = None) -> list[str]:
    """The keys over which a sweep goes, from its command line and its preset's parameters."""
    own = [key for key, value in map(_split, as_typed(overrides)) if _is_sweep(value)]
    return list(dict.fromkeys([*_space(params), *own]))


def as_typed(overrides: Sequence[str]) -> list[str]:
    """Overrides as they were given: what `${...}` in one stands for is each job's own, and not yet there."""
    if isinstance(overrides, ListConfig):
        overrides = OmegaConf.to_container(overrides, resolve=False)  # type: ignore[assignment]
    return [str(override) for override in overrides]


def check_choices(overrides: Sequence[Override]) -> None:
    """Raise ConfigError for an override whose many values are none, so that there would be no job."""
    for override in overrides:
        if override.is_discrete_sweep() and not list(override.sweep_string_iterator()):
            raise ConfigError(f"{override.input_line} gives no value, so that there would be no job")


def preset(params: object) -> list[str]:
    """What a sweeper's `params` come to on the command line. Raises ConfigError where they are not values by key."""
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"hydra.sweeper.params must be values by key, like {{gate.width:'16,32'}}, not {params!r}")
    return [f"{key}={value}" for key, value in _space(params).items()]


def _space(params: object) -> dict[str, Any]:
    """What a sweeper's `params` sweep; nothing where they are wrong, which `preset` says."""
    return {str(key): value for key, value in params.items()} if isinstance(params, Mapping) else {}


def short(key: str) -> str:
    """The last part of a dotted key: `width` for `gate.width`."""
    return key.lstrip("+~").rpartition(".")[2].rpartition("@")[2]


def _called(key: str) -> str:
    """A swept key in a folder's name, where `_target_` would be taken for something to build."""
    return short(key.removesuffix("._target_"))


def _value(key: str, value: str) -> str:
    return value.rpartition(".")[2] if key.endswith("._target_") else value


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.partition("=")
    return key, value


def _is_sweep(value: str) -> bool:
    """Whether a value is Hydra's for many: `1,2`, `range(3)`; a comma inside brackets or quotes is none."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", value)
    while (inner := re.sub(r"\[[^\[\]]*\]|\{[^{}]*\}", "", bare)) != bare:
        bare = inner
    return "," in re.sub(r"\([^()]*\)", "", bare) or bool(
        re.match(r"(choice|range|interval|glob|shuffle|sort)\(", bare)
    )


def _hash(overrides: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:8]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:LONGEST].strip("-.")
