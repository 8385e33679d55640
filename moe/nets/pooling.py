"""Max pooling that does not keep its input for the backward pass."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def forget_inputs(network: nn.Module) -> None:
    """Have max pooling keep of its input (B, C, H, W) only the layout, and where in it the greatest values are.

    Autograd keeps the input itself, too, which after a convolution nothing else does, though the backward pass reads
    nothing of it but its layout: of `fast_vgg` that is half a GB of a step in fp32. No number is another for it.
    """
    for pool in network.modules():
        if isinstance(pool, nn.MaxPool2d) and type(pool).forward is nn.MaxPool2d.forward:  # not what a subclass adds
            pool.forward = partial(_pooled, pool.forward)  # type: ignore[method-assign]


def _pooled(pool: Any, input: Tensor) -> Any:
    with saved_tensors_hooks(_layout, _unfilled):
        return pool(input)


def _layout(kept: Tensor) -> Any:
    """A tensor's layout; of the input alone, since positions are whole numbers."""
    return (kept.shape, kept.stride(), kept.dtype, kept.device) if kept.is_floating_point() else kept


def _unfilled(kept: Any) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    shape, stride, dtype, device = kept
    return torch.empty_strided(shape, stride, dtype=dtype, device=device)
