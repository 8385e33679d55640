"""Muon for convolutions' kernels beside another optimiser for all else that a network learns."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class MuonBeside(Optimizer):
    """`torch.optim.Muon` for `kernels` (O, I, h, w), as matrices (O, I x h x w); `other` has the other parameters.

    Its groups are those of the kernels, then the other's, so that a schedule moves the rates of both. Of a step whose
    gradient is not finite `moe.modules.callbacks.FiniteGuard` puts the weights back, as of any optimiser that is not
    fused. Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks, and airbench94_muon.
    """

    def __init__(self, kernels: Sequence[nn.Parameter], other: Optimizer, **arguments: Any) -> None:
        self.kernels, self.other = list(kernels), other
        self.matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in kernels]
        self.muon: Optimizer = torch.optim.Muon(self.matrices, **arguments)
        own = {"params": self.kernels, "lr": self.muon.param_groups[0]["lr"]}
        super().__init__([own, *other.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
                matrix.copy_(kernel.flatten(1))  # averages and guards may have changed it
                matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
            self.muon.param_groups[0]["lr"] = self.param_groups[0]["lr"]
            self.muon.step()
            for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
                kernel.copy_(matrix.view_as(kernel))
        self.other.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "other": self.other.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.other.load_state_dict(state_dict["other"])
        self.param_groups = [self.param_groups[0], *self.other.param_groups]
        self.param_groups[0]["lr"] = self.muon.param_groups[0]["lr"]
