"""Muon for convolutions' kernels beside another optimiser for all else that a network learns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Of the fifth-order iteration: chosen for a steep start, and so its fixed points lie around one and not at it.
COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Matrices (N, A, B) with the same singular vectors, whose singular values the iteration has brought near to one.

    To between 0.68 and 1.13, but for those that were small beside the largest. It multiplies in `dtype`; `torch.optim.
    Muon` knows bf16 alone, in which it would take longer than the network itself on a CPU that only emulates it, and
    in which networks may come out a little less accurate (experiments/fast).
    Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks.
    """
    tall = matrices.size(-2) > matrices.size(-1)
    found = (matrices.mT if tall else matrices).to(dtype)
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # so no singular value is above one
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.mT if tall else found).to(matrices.dtype)


class Muon(Optimizer):
    """Turns `kernels` (O, I, h, w), as matrices (O, I x h x w), by the orthogonal matrix nearest to their momentum.

    Each comes with how many one parameter stacks: (N x O, I, h, w) with N is N matrices, each turned by itself. What is
    nearest is found in bf16 where `bf16` says so.
    Before each step a kernel is brought to the norm of such a matrix, sqrt(min(O, I x h x w)), as in airbench94_muon:
    so the rate says how far a kernel turns, however long it has learnt, and weight decay would change nothing. That is
    for kernels before a normalisation, which takes their size out again. Momentum is Nesterov's.
    Source: Jordan et al. 2024, and airbench94_muon.
    """

    def __init__(
        self, kernels: Sequence[tuple[nn.Parameter, int]], lr: float, momentum: float, bf16: bool = False
    ) -> None:
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        groups = [{"params": [kernel], "stacked": stacked} for kernel, stacked in kernels]
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for kernel in (kernel for kernel in group["params"] if kernel.grad is not None):
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                towards = kernel.grad.lerp(state["momentum"], group["momentum"])
                each = kernel.unflatten(0, (group["stacked"], -1))  # (N, O, I, h, w)
                turns = orthogonal(towards.unflatten(0, (group["stacked"], -1)).flatten(2), self.dtype)
                norms = each.flatten(2).norm(dim=(1, 2)).clamp(min=1e-7)
                each.mul_((math.sqrt(min(turns.shape[1:])) / norms)[:, None, None, None, None])
                each.sub_(turns.view_as(each), alpha=group["lr"])
        return loss


class MuonBeside(Optimizer):
    """Muon for some kernels, and `other` for the other parameters, as one optimiser.

    Its groups are those of both, so that a schedule moves the rates of both. Of a step whose gradient is not finite
    `moe.modules.callbacks.FiniteGuard` puts the weights back, as of any optimiser that is not fused.
    """

    def __init__(self, muon: Muon, other: Optimizer) -> None:
        self.muon, self.other = muon, other
        super().__init__([*muon.param_groups, *other.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self.muon.step(closure)
        self.other.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "other": self.other.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.other.load_state_dict(state_dict["other"])
        self.param_groups = [*self.muon.param_groups, *self.other.param_groups]
