"""One sentence for what Hydra and OmegaConf find wrong with an override."""

import difflib
import re
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from moe import checks, trainer_checks
from moe.errors import ConfigError, nearest, printable
from moe.package import CONF

# Options whose plugin is a package of its own, and what the plugin calls itself.
PLUGINS = {
    "hydra/sweeper=optuna": ("hydra_plugins.hydra_optuna_sweeper", "hydra-optuna-sweeper"),
    "hydra/launcher=ray": ("hydra_plugins.hydra_ray_launcher", "hydra-ray-launcher"),
}

# Groups whose options are chosen for a part of the config each, and the parts.
PLACES = {
    "net": ("base.net", "expert.net", "router.net"),
    "recipe": ("base.recipe", "expert.recipe", "router.recipe", "gate.recipe"),
}
OTHERWISE = {"trainer=cuda": "gpu"}  # what an option is called by others, and what it is called here
NOT_FOR_GATES = "gate.recipe.muon."  # which has to be null
MOST = 8  # keys are named that end as a wrong one does

GLOBAL = ("experiment", "rival", "sweep")  # the groups whose files' keys are the config's own
FIRST_LINE = "the file's first line has to be '# @package _global_', which makes its keys the config's own"
FILE_SOURCE = "hydra._internal.core_plugins.file_config_source"  # where Hydra reads a file of configs

AS_BASE = {"_target_": "base.net"}  # conf/net/base.yaml: the network that the base has, whatever that is
# What must be so for a network to be another than the base's.
OF_THEIR_OWN = {"expert": "expert.init=scratch", "router": "router=network"}


def config_error(error: Exception) -> ConfigError:
    """One sentence for what Hydra or OmegaConf found wrong, with the nearest key or option that exists."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    cause = error.__cause__
    full_key = getattr(error, "full_key", None) or getattr(cause, "full_key", None)
    if isinstance(error, OverrideParseException):
        return ConfigError(_unread(" ".join(error.override.split())[:200]))
    if match := re.match(r"Could not override '([^']+)'", first):
        return ConfigError(_of_the_base(error, match[1]) or _no_such_key(match[1]))
    if match := re.match(r"Ambiguous value for argument '([^']+)'", first):
        key, _, values = match[1].partition("=")
        group = key.lstrip("+").partition("@")[0]
        if (CONF / group).is_dir():
            each = "" if group.startswith("hydra/") else "with -m each of the options is run; without it "
            return ConfigError(f"{match[1]}: {each}choose one of them")
        return ConfigError(f"{match[1]}: with -m each of the values is run; as one value it is {key}=[{values}]")
    if match := re.match(r"Could not delete from config\. The value of '([^']+)' is .* and not (.*)\.$", first):
        key, said = match.groups()  # Hydra quotes the value, which may be a whole section
        return ConfigError(f"~{key}={said[:200]} deletes nothing: {key} has another value")
    if match := re.match(r"Multiple values for (\S+)\. To override a value use 'override \S+: (\S+)'", first):
        chosen, option = match.groups()
        return ConfigError(
            f"an option of {chosen} is chosen already; another is {chosen}={option} on the command line, without +, "
            f"and 'override /{chosen}: {option}' in the defaults of a file"
        )
    if match := re.match(r"In '((experiment|rival|sweep)/[^']+)': Could not override '[^'@]*@\2\.", first):
        return ConfigError(f"{match[1]}.yaml: {FIRST_LINE}")
    if match := re.search(r"Could not find '([^']+)/([^'/]*)'", first):
        group, option = match.groups()
        options = _options(text)
        if f"{group}={option}" in PLUGINS:
            return ConfigError(_no_such_plugin(f"{group}={option}"))
        meant = OTHERWISE.get(f"{group}={option}", option)
        right = nearest(meant, options) or f"; there are {', '.join(options)}"
        return ConfigError(f"{group}={option}: there is no such option{right}")
    if match := re.search(r"Unknown plugin class : '([^']+)'", first):
        said = next((option for option, (module, _) in PLUGINS.items() if match[1].startswith(module)), None)
        return ConfigError(_no_such_plugin(said) if said else f"{match[1]} is no plugin of Hydra that is installed")
    if "missing mandatory value" in first.lower() or "is missing" in first.lower():
        if str(full_key).endswith(".recipe.optimizer"):  # the first that a file lacks which begins with nothing
            return ConfigError(f"{full_key} has no keys; a recipe's file begins with defaults: [adam, _self_]")
        return ConfigError(f"{full_key} has no value; give it one with {full_key}=VALUE")
    if match := re.search(r"Could not find '(\S+)'", first) or re.search(r"No match in the defaults list", first):
        return ConfigError(f"{first.rstrip('.')}")
    if not isinstance(error, HydraException | OmegaConfBaseException) and (said := _being_applied(error)):
        return ConfigError(f"{said} cannot be set: {first}")
    if full_key and re.fullmatch(r"Key '[^']+' not in '\w+'", first):
        # It was given with +, or by a file: as one that is new.
        return ConfigError(
            _no_such_key(full_key, "" if "." in full_key else "; a value of your own is +vars.NAME=VALUE")
        )
    detail = str(cause).splitlines()[0] if cause and full_key else first
    return ConfigError(f"{full_key}: {detail}" if full_key else detail)


def unread_file(error: Exception) -> ConfigError | None:
    """One sentence for a file of configs that Hydra could not read, with file and line; None where it was another."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") != FILE_SOURCE or "full_path" not in frame.f_locals:
            continue
        file, here = Path(frame.f_locals["full_path"]), Path.cwd()
        place = printable(file.relative_to(here) if file.is_relative_to(here) else file)
        if isinstance(error, OSError):
            return ConfigError(f"{place} holds no keys")
        if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
            return ConfigError(f"{place}, line {error.problem_mark.line + 1}: {error.problem}")
        return ConfigError(f"{place} is no text in UTF-8: {getattr(error, 'reason', error)}")
    return None


def _unread(override: str) -> str:
    """What is said of an override that Hydra's grammar does not know."""
    key, is_set, value = override.partition("=")
    if not is_set:
        return f"{override} is no override; one is KEY=VALUE, as experiment=demo"
    if value.startswith("~"):
        return f"{override}: write $HOME in place of ~, which the shell leaves there as it is"
    return (
        f"{override} cannot be read; the shell takes quotes, braces and commas away unless all of it is quoted, "
        f"'{key}=VALUE', and a text with spaces, brackets or = wants quotes of its own, '{key}=\"TEXT\"'"
    )


def _being_applied(error: Exception) -> str | None:
    """The override at which Hydra failed by an error that is none of its own, which it does not name."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        line = getattr(frame.f_locals.get("override"), "input_line", None)
        if line is not None:
            return " ".join(str(line).split())[:200]
    return None


def _of_the_base(error: Exception, key: str) -> str | None:
    """What is said of a key of a network that is the base's, in the config that Hydra was changing."""
    section, _, rest = key.partition(".")
    for frame, _ in traceback.walk_tb(error.__traceback__):
        config = frame.f_locals.get("cfg")
        if section in OF_THEIR_OWN and rest.startswith("net.") and isinstance(config, DictConfig):
            own = OmegaConf.select(config, f"{section}.net", throw_on_missing=False)
            return as_base(section, rest.removeprefix("net.")) if own == AS_BASE else None
    return None


def as_base(section: str, key: str) -> str:
    """What is said of a key of a network that is the base's (`net@expert.net=base`), and so has none of its own."""
    return (
        f"{section}.net.{key}: {section}.net is base.net (net@{section}.net=base); set base.net.{key}, or choose a "
        f"network by net@{section}.net=OPTION, with {OF_THEIR_OWN[section]}"
    )


def _no_such_plugin(option: str) -> str:
    return f"{option} needs a package that is not installed: pip install {PLUGINS[option][1]}"


def _no_such_key(key: str, otherwise: str = "") -> str:
    """What is said of a key that does not exist, with `otherwise` where no other is like it."""
    section, _, last = key.partition(".")
    if section == "trainer" and last in trainer_checks.RECIPE_OWNS:
        return trainer_checks.trainer_sentence(last)
    group, _, place = key.partition("@")
    if group in PLACES:
        places = [f"{group}@{known}" for known in PLACES[group]]
        near = nearest(key, places) if place else ""
        return f"{key}: an option of conf/{group} is chosen by place, as {places[0]}=OPTION{near}"
    if key == "gate.net":
        return f"{key}: there is no such key; an option of conf/gate is gate=OPTION"
    known = _known_keys()
    if key in known:
        return f"{key}: the chosen option of {key.rpartition('.')[0]} has no such key"
    if ".optimizer." in key:
        return f"{key}: the config has no such key{nearest(key, known)}; an optimiser's other arguments are +KEY=VALUE"
    if section == "vars":
        return f"{key}: a value of your own is given with +, as +{key}=VALUE"
    return f"{key}: there is no such key{_meant(key, known) or otherwise}"


def _meant(key: str, known: Sequence[str]) -> str:
    """The end of a sentence that names the keys that may have been meant, or nothing."""
    parent, _, last = key.rpartition(".")
    section = f"{key.partition('.')[0]}." if parent else ""
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    # By the last part alone: the others, where they are right, would make anything look alike.
    named = _ending(last, [name for name in known if name.startswith(section)]) or _alike(last, beside)
    if not named and not (parent and beside):
        named = _alike(last, known)
    if len(named) > 1:
        return f"; did you mean one of {', '.join(named[:MOST])}?"
    return f"; did you mean {named[0]}?" if named else ""


def _ending(last: str, known: Sequence[str]) -> list[str]:
    return [name for name in known if name.rpartition(".")[2] == last]


def _alike(last: str, known: Sequence[str]) -> list[str]:
    ends = difflib.get_close_matches(last, [name.rpartition(".")[2] for name in known], n=1)
    return _ending(ends[0], known) if ends else []


def misplaced(key: str, value: Any, own: Sequence[str] = (), optional: bool = False) -> ConfigError:
    """A value given to what is a section of the config, with how its keys or its option are chosen.

    Its keys are its `own`, or all that conf/ has of it; what is `optional` may be null.
    """
    last = key.rpartition(".")[2]
    if last in PLACES:
        return ConfigError(
            f"{key} holds keys of its own, not {value!r}; an option of conf/{last} is {last}@{key}=OPTION"
        )
    if optional:
        whole = ",".join(f"{name}:VALUE" for name in own)
        return ConfigError(f"{key} holds keys of its own, not {value!r}; set {key}={{{whole}}}, or null for none")
    keys = [f"{key}.{name}" for name in sorted(own)] or [one for one in _known_keys() if one.startswith(f"{key}.")]
    return ConfigError(f"{key} holds keys of its own, not {value!r}; set one of {', '.join(keys[:6])}")


def _options(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if re.fullmatch(r"\t\S+", line)]


def _known_keys() -> list[str]:
    keys: set[str] = set()
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[:-1]
        if group and group[0] in ("experiment", "hydra", "rival", "sweep"):
            continue
        content: Any = {}
        with suppress(OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):  # whoever chooses it is told
            content = OmegaConf.to_container(OmegaConf.load(path))
        for prefix in PLACES.get(group[0], (group[0],)) if group else ("",):
            keys.update(f"{prefix}.{key}" if prefix else key for key, _ in checks.scalars(content))
    return sorted(
        key for key in keys if "defaults" not in key and "hydra" not in key and not key.startswith(NOT_FOR_GATES)
    )
