"""What a command line may not ask of Hydra: to build or run something that is no network and no optimiser.

Whoever writes the command line is trusted; but its values can come from elsewhere, such as the server of a W&B sweep,
and Hydra builds its own plugins and log handlers before the config is looked at.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException

from moe.errors import ConfigError
from moe.targets import NETWORKS, OPTIMIZERS, check_network, check_optimizer

# What makes Hydra build something, and what makes Python's logging do so.
BUILDS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
HANDLERS = ("class", "()")
# A text becomes a config there, so that a target need not be in sight.
DECODES = re.compile(r"\$\{\s*oc\.(decode|create)\s*:")


FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
TAKE_A_VALUE = ("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir")


def ordered(arguments: Sequence[str]) -> list[str]:
    """Overrides first and then flags: argparse takes no override that follows a flag which follows another override."""
    overrides, flags = list[str](), list[str]()
    for before, argument in zip(("", *arguments), arguments, strict=False):
        is_override = not argument.startswith("-") and ("=" in argument or argument.startswith("~"))
        (overrides if is_override and before not in TAKE_A_VALUE else flags).append(argument)
    return [*overrides, *flags]


def check(arguments: Sequence[str]) -> None:
    """Raise ConfigError for the first option that is none of Hydra's, or override that would build what is not allowed.

    What else is no override passes.
    """
    _check_options(arguments)
    parser = OverridesParser.create()
    for argument in arguments:
        if argument.startswith("-"):
            continue
        try:
            override = parser.parse_override(argument)
        except HydraException:
            continue  # Hydra will say so
        if override.is_delete():
            continue
        key = str(override.key_or_group).replace("/", ".")
        if key in NETWORKS | OPTIMIZERS and override.is_sweep_override() and not DECODES.search(argument):
            continue  # Hydra builds none of these: each job's config is checked, and a wrong one fails alone
        for name, value in _values(key, override._value):
            _check(name, value, " ".join(argument.split()))


def _check_options(arguments: Sequence[str]) -> None:
    """Hydra's parser takes what an option begins with for it: -plan would be --package, --experiment a rerun."""
    known = get_args_parser()._option_string_actions
    for before, argument in zip(("", *arguments), arguments, strict=False):
        if argument.startswith("-") and before not in TAKE_A_VALUE and argument.partition("=")[0] not in known:
            said = argument.lstrip("-")
            right = said if "=" in said else f"{said or 'KEY'}=VALUE"
            raise ConfigError(f"there is no option {argument}; a value is given without dashes, as {right}")


def _check(key: str, value: Any, argument: str) -> None:
    parts = key.split(".")
    if key in FOLDERS and value == "":
        raise ConfigError(f"{key} must be a folder's path, not ''")
    if key == "hydra.job.chdir" and value is not False:
        raise ConfigError(f"{key} must be false: store and data are found from the folder that the command is given in")
    if key in NETWORKS:
        check_network(value, key)
    elif key in OPTIMIZERS:
        check_optimizer(value, key)
    elif parts[:2] == ["hydra", "callbacks"] and len(parts) > 2:
        raise ConfigError(f"{key} is not allowed: what Hydra calls is the project's own")
    elif any(part in BUILDS for part in parts):
        raise ConfigError(f"{key} is not allowed: only networks and optimisers are built, from plain values")
    elif parts[0] == "hydra" and parts[1:2] in (["job_logging"], ["hydra_logging"]):
        if any(part in HANDLERS for part in parts) or "${" in str(value):
            raise ConfigError(f"{key} is not allowed: log handlers are the project's own")
    elif isinstance(value, str) and (DECODES.search(value) or any(word in value for word in BUILDS)):
        raise ConfigError(f"{argument}: a text is not read as a config here, nor built")


def _values(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of an override's, by its whole key; each one of a sweep's."""
    if isinstance(value, ChoiceSweep):
        for option in value.list:
            yield from _values(key, option)
    elif isinstance(value, dict):
        yield key, ""  # an empty one has a key too
        for name, part in value.items():
            yield from _values(f"{key}.{_text(name)}", part)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _values(f"{key}.{number}", part)
    else:
        yield key, _text(value)


def _text(value: Any) -> Any:
    return value.text if isinstance(value, QuotedString) else value
