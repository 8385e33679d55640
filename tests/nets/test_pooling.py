"""Pooling whose input is forgotten comes to the same, and keeps less."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moe.nets import pooling
from moe.nets.fast_vgg import FastVGG
from moe.nets.pooling import forget_inputs


def learnt(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The gradients of one step."""
    network.zero_grad()
    network(images).pow(2).sum().backward()
    return {name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None}


def networks() -> dict[str, Callable[[], nn.Module]]:
    def plain(**pooling: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(**pooling), nn.AdaptiveAvgPool2d(1))

    return {
        "fast_vgg": lambda: FastVGG((3, 32, 32), 10, widths=[4, 8, 8]),
        "overlapping": lambda: plain(kernel_size=3, stride=2, padding=1),
        "rounded up": lambda: plain(kernel_size=3, ceil_mode=True),
    }


GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="has no GPU"))


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_the_same_to_the_bit(
    device: str, name: str, autocast: bool, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(kept: Any) -> Tensor:
        """In place of values that nothing should read: memory that was freed may still hold the right ones."""
        return unfilled(kept) if isinstance(kept, Tensor) else unfilled(kept).fill_(torch.nan)

    unfilled = pooling._unfilled
    monkeypatch.setattr(pooling, "_unfilled", nan)
    torch.manual_seed(0)
    images = torch.randn(5, 3, 32, 32, device=device).contiguous(memory_format=layout)
    network = networks()[name]().to(device).to(memory_format=layout)  # type: ignore[call-overload]
    with torch.autocast(device, torch.bfloat16, enabled=autocast):
        network(images)
        before = learnt(network, images)
        forget_inputs(network)
        after = learnt(network, images)
    assert before.keys() == after.keys() and before
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(one.abs().sum() > 0 for one in before.values())


def test_the_input_is_not_kept() -> None:
    pool, images = nn.MaxPool2d(2), torch.randn(1, 1, 4, 4, requires_grad=True) * 1.0
    kept: Any = pool(images).grad_fn
    assert kept._saved_self.data_ptr() == images.data_ptr()
    forget_inputs(pool)
    kept = pool(images).grad_fn
    assert kept._saved_self.data_ptr() != images.data_ptr() and kept._saved_self.shape == images.shape
    assert kept._saved_result1.dtype == torch.int64  # where of each four the greatest is


def test_a_pool_that_does_more_is_left_alone() -> None:
    class Scaled(nn.MaxPool2d):
        def forward(self, input: Tensor) -> Tensor:
            pooled: Tensor = super().forward(input)
            return pooled * pooled.detach()

    pool, images = Scaled(2), torch.rand(1, 1, 2, 2, requires_grad=True)
    forget_inputs(pool)
    pool(images).sum().backward()
    assert images.grad is not None and images.grad.sum() == images.max()  # what the greatest is scaled by
