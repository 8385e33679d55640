"""From a network's plain config to the module."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from moe import checks
from moe.errors import ConfigError

Shape = tuple[int, int, int]


def build_network(net: Mapping[str, Any], in_shape: Shape, num_classes: int, key: str = "net") -> nn.Module:
    """The classifier that `net` describes, from images (C, H, W) to `num_classes` logits.

    Raises ConfigError, naming `key`, where the target is not allowed or takes other arguments.
    """
    return _build(net, key, in_shape=tuple(in_shape), num_classes=num_classes)


def build_gate(gate: Mapping[str, Any], in_shape: Shape, num_classes: int, num_experts: int, weights: str) -> nn.Module:
    """The gate of one leaf that `gate` describes. Raises as `build_network`."""
    frame = {"num_classes": num_classes, "num_experts": num_experts, "weights": weights}
    return _build(gate, "gate", in_shape=tuple(in_shape), **frame)


def _build(net: Mapping[str, Any], key: str, **given: Any) -> nn.Module:
    target = str(net.get("_target_"))
    checks.check_network(target, f"{key}._target_")
    module, _, name = target.rpartition(".")
    try:
        builder: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise ConfigError(f"{key}._target_: there is no {name} in {module}") from None
    if not _takes(builder, "in_shape"):
        given.pop("in_shape", None)  # torchvision's networks take any size of image
    arguments = {name: value for name, value in net.items() if name != "_target_"}
    try:
        built = builder(**given, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {target} cannot be built: {error}") from None
    if not isinstance(built, nn.Module):
        raise ConfigError(f"{key}._target_: {target} does not build a network")
    return built


def _takes(builder: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(builder).parameters
    # torchvision's builders pass **kwargs on to a constructor that knows no in_shape.
    return name in parameters or (builder.__module__.startswith("moe.") and "frame" in parameters)
