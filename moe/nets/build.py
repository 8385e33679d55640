"""From a network's plain config to the module."""

from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torchvision.models import list_models

from moe.errors import ConfigError, reason
from moe.targets import check_network

Shape = tuple[int, int, int]


def build_network(net: Mapping[str, Any], in_shape: Shape, num_classes: int, key: str = "net") -> nn.Module:
    """The classifier that `net` describes, from images (C, H, W) to `num_classes` logits.

    Raises ConfigError, naming `key`, where the target is not allowed or takes other arguments.
    """
    return _build(net, key, in_shape=tuple(in_shape), num_classes=num_classes)


def head_names(net: Mapping[str, Any], in_shape: Shape) -> set[str]:
    """The names of the tensors of a network that have a row for each output."""
    with torch.device("meta"):
        one, other = (build_network(net, in_shape, count).state_dict() for count in (2, 3))
    return {name for name, tensor in one.items() if tensor.shape != other[name].shape}


def build_gate(gate: Mapping[str, Any], in_shape: Shape, num_classes: int, num_experts: int, weights: str) -> nn.Module:
    """The gate of one leaf that `gate` describes. Raises as `build_network`."""
    frame = {"num_classes": num_classes, "num_experts": num_experts, "weights": weights}
    return _build(gate, "gate", in_shape=tuple(in_shape), **frame)


def _build(net: Mapping[str, Any], key: str, **given: Any) -> nn.Module:
    target = str(net.get("_target_"))
    builder = _builder(target, f"{key}._target_")
    if target.startswith("torchvision."):
        given.pop("in_shape", None)  # torchvision's networks take any size of image
        if net.get("weights") is not None:
            raise ConfigError(f"{key}.weights: trained weights say ImageNet's classes; networks here begin anew")
    arguments = {name: value for name, value in net.items() if name != "_target_"}
    try:
        built: nn.Module = builder(**given, **arguments)
    except Exception as error:  # a user's own class may raise anything
        raise ConfigError(f"{key}: {target} cannot be built: {reason(error)}") from None
    if any(map(is_lazy, chain(built.parameters(), built.buffers()))):
        raise ConfigError(f"{key}: {target} has lazy layers; give each the sizes that it has to have")
    return built


def _builder(target: str, key: str) -> Callable[..., nn.Module]:
    """The network's class, defined in the module that `target` names, or torchvision's registered builder."""
    check_network(target, key)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # a user's own module may raise anything
        found = None
        if not (isinstance(error, ModuleNotFoundError) and error.name == module):
            raise ConfigError(f"{key}: {module} cannot be imported: {reason(error)}") from None
    if found is None:
        raise ConfigError(f"{key}: there is no {name} in {module}")
    ours = isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module
    if not ours and not (module == "torchvision.models" and name in list_models()):
        raise ConfigError(f"{key}: {target} is no network; name a class of moe.nets or a builder of torchvision.models")
    builder: Callable[..., nn.Module] = found
    return builder
