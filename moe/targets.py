"""What a config may name to be built: networks and optimisers, each at its own key, and nothing else anywhere.

Imports no torch: a class of `moe.nets` is looked for in its source.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moe.errors import ConfigError, nearest
from moe.schema import Gate

NETS = Path(__file__).parent / "nets"
# The keys that name a network: a class of moe.nets, where users add theirs, or a builder of torchvision.models.
NETWORKS = {"base.net._target_", "expert.net._target_", "router.net._target_", "gate._target_"}
# Of torchvision.models, what does not build a network but looks one up or loads weights.
NO_NETWORK = ("get_model", "get_model_builder", "get_model_weights", "get_weight", "list_models", "register_model")
# The keys that name an optimiser, and which there are.
OPTIMIZERS = {f"{name}.recipe.optimizer._target_" for name in ("base", "expert", "router", "gate")}
KNOWN_OPTIMIZERS = tuple(f"torch.optim.{name}" for name in ("Adam", "AdamW", "NAdam", "RMSprop", "SGD"))


def check_targets(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first target that is not allowed, is not there or takes no such argument."""
    for name in ("base", "expert", "router", "gate"):
        net, key = _network(values, name)
        check_network(net.get("_target_"), key)
        check_optimizer(values[name]["recipe"]["optimizer"].get("_target_"), f"{name}.recipe.optimizer._target_")
    for key in _underscored(values):
        if key not in NETWORKS | OPTIMIZERS:
            raise ConfigError(f"{key} is not allowed: only networks and optimisers are built, from plain values")
    beside = {field.name for field in fields(Gate)}
    for name in ("base", "expert", "router", "gate"):
        net, key = _network(values, name)
        _check_ours({n: v for n, v in net.items() if n not in beside} if name == "gate" else net, key)
        _check_arguments(values[name]["recipe"]["optimizer"], f"{name}.recipe.optimizer")


def check_optimizer(target: Any, key: str) -> None:
    """Raise ConfigError unless `target` is one of the allowed optimisers."""
    if target not in KNOWN_OPTIMIZERS:
        raise ConfigError(f"{key} must be one of {', '.join(KNOWN_OPTIMIZERS)}, not {target!r}")


def check_network(target: Any, key: str) -> None:
    """Raise ConfigError unless `target` names something directly inside an allowed module of networks."""
    module, _, name = str(target).rpartition(".")
    inside = module == "torchvision.models" or re.fullmatch(r"moe\.nets\.[a-z0-9_]+", module)
    if not inside or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in NO_NETWORK:
        raise ConfigError(
            f"{key}: {target!r} is not an allowed network; allowed are moe.nets.MODULE.CLASS "
            "and the builders torchvision.models.NAME"
        )


def _network(values: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], str]:
    """A network's config, and the key of its target."""
    return (values[name], "gate._target_") if name == "gate" else (values[name]["net"], f"{name}.net._target_")


def _check_ours(net: Mapping[str, Any], key: str) -> None:
    """Of a class of `moe.nets` whether it is there and takes its arguments, as far as its source says."""
    module, _, name = str(net["_target_"]).rpartition(".")
    if module == "torchvision.models":
        return
    try:
        found = _class(NETS / f"{module.rpartition('.')[2]}.py", name)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{key}: {module} is no Python: {error}") from None
    if found is None:
        raise ConfigError(f"{key}: there is no {name} in {module}")
    takes = _arguments(found)
    if takes is None:
        return
    for argument in (name for name in net if name not in ("_target_", *takes)):
        place = key.removesuffix("_target_") + argument
        raise ConfigError(f"{place}: {net['_target_']} takes no {argument}{nearest(argument, takes)}")


def _check_arguments(optimizer: Mapping[str, Any], key: str) -> None:
    """Raise ConfigError, with how to remove them, for arguments that an optimiser does not take, as its source says.

    A recipe's are still there where another optimiser is chosen in place of its own.
    """
    if optimizer.get("lr") is None:
        raise ConfigError(f"{key}.lr has no value; give it one with {key}.lr=VALUE")
    target = str(optimizer["_target_"])
    name = target.rpartition(".")[2]
    torch = find_spec("torch")
    folder = next(iter((torch and torch.submodule_search_locations) or []), "")
    found = _class(Path(folder, "optim", f"{name.lower()}.py"), name)
    takes = None if found is None else _arguments(found)
    if takes is None:
        return  # its building will say so
    takes.remove("params")
    wrong = [argument for argument in optimizer if argument not in ("_target_", *takes)]
    if wrong:
        remove = " ".join(f"~{key}.{argument}" for argument in wrong)
        said = f"{target} takes {', '.join(takes)}, not {', '.join(wrong)}"
        raise ConfigError(f"{key}: {said}; what it does not take is removed with {remove}")


def _class(file: Path, name: str) -> ast.ClassDef | None:
    """A class in the source of a file; None where there is none."""
    body = _source(file, file.stat().st_mtime_ns).body if file.is_file() else []
    return next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _arguments(of: ast.ClassDef) -> list[str] | None:
    """What a class takes when it is built; None where it does not say, or hands on to another what it is given."""
    for node in of.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and node.args.kwarg is None:
            return [argument.arg for argument in (*node.args.args[1:], *node.args.kwonlyargs)]
    return None


@functools.cache
def _source(file: Path, changed: int) -> ast.Module:
    """The source of a file as it was last changed, read once for all of a sweep's jobs."""
    return ast.parse(file.read_text(), file.name)


def _underscored(values: Any, key: str = "") -> Iterator[str]:
    items: Any = (
        values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else ()
    )
    for name, value in items:
        here = f"{key}.{name}" if key else str(name)
        if str(name).startswith("_"):
            yield here
        yield from _underscored(value, here)
