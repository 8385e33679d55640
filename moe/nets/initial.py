"""How weights start, and which are another network's."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from moe.nets.views import Views


def glorot_uniform_(module: nn.Module) -> None:
    """Weights of every convolution and linear layer from Glorot's uniform distribution, biases zero.

    Source: Glorot and Bengio 2010, equation 16; Keras' default, and so the notebook's.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def start_from_(net: nn.Module, state: Mapping[str, Tensor], places: Sequence[int], heads: Collection[str]) -> None:
    """Give a network the weights of one of the same architecture, of whose outputs it has those at `places`, in order.

    `heads` name the tensors that have a row for each output. Outputs beyond those keep their own start. Raises
    ValueError where the architectures differ.
    """
    with torch.no_grad():
        for name, own in net.state_dict().items():
            other = state.get(name)
            if other is None or (name not in heads and other.shape != own.shape):
                raise ValueError(f"{name} has no counterpart of its shape, {tuple(own.shape)}")
            if name in heads:
                own[: len(places)].copy_(other[list(places)])
            else:
                own.copy_(other)


def tie(net: nn.Module, base: nn.Module) -> None:
    """Make the trunk of a network the very one of `base`.

    Raises ValueError where it does not have the same weights there: what it learnt was for another trunk.
    """
    for mine, theirs in zip(_trunk(net), _trunk(base), strict=True):
        for name, tensor in chain(mine._parameters.items(), mine._buffers.items()):
            other = theirs._parameters.get(name, theirs._buffers.get(name))
            if tensor is not None and (other is None or not torch.equal(tensor, other)):
                raise ValueError("its trunk is not the base's")
        for name in mine._parameters:
            mine._parameters[name] = theirs._parameters[name]
        for name in mine._buffers:
            mine._buffers[name] = theirs._buffers[name]


def _trunk(net: nn.Module) -> list[nn.Module]:
    """Every module of a network's trunk, seen through what wraps it."""
    net = net.net if isinstance(net, Views) else net
    layers: list[nn.Module] = net.trunk_layers  # type: ignore[assignment]
    return list(chain.from_iterable(layer.modules() for layer in layers))
