"""Muon for convolutions' kernels beside another optimiser for all else that a network learns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Of the fifth-order iteration: chosen for a steep start, and so its fixed points lie around one and not at it.
COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix (A, B) with the same singular vectors, whose singular values the iteration has brought near to one.

    To between 0.68 and 1.13, but for those that were small beside the largest. In bf16 on a GPU, elsewhere in fp32:
    most CPUs only emulate bf16, in which the iteration would take longer than the network itself. That is why this is
    not `torch.optim.Muon`, which knows bf16 alone.
    Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks.
    """
    tall = matrix.size(0) > matrix.size(1)
    found = matrix.T if tall else matrix
    found = found.bfloat16() if matrix.is_cuda else found.float()
    found = found / found.norm().clamp(min=1e-7)  # so no singular value is above one
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.T if tall else found).to(matrix.dtype)


class Muon(Optimizer):
    """Turns `kernels` (O, I, h, w), as matrices (O, I x h x w), by the orthogonal matrix nearest to their momentum.

    Each comes with how many one parameter stacks: (N x O, I, h, w) with N is N matrices, each turned by itself.
    Before each step a kernel is brought to the norm of such a matrix, sqrt(min(O, I x h x w)), as in airbench94_muon:
    so the rate says how far a kernel turns, however long it has learnt, and weight decay would change nothing. That is
    for kernels before a normalisation, which takes their size out again. Momentum is Nesterov's.
    Source: Jordan et al. 2024, and airbench94_muon.
    """

    def __init__(self, kernels: Sequence[tuple[nn.Parameter, int]], lr: float, momentum: float) -> None:
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
                stacked = group["stacked"]
                for one, to in zip(kernel.chunk(stacked), towards.chunk(stacked), strict=True):
                    turn = orthogonal(to.flatten(1))
                    one.mul_(math.sqrt(min(turn.shape)) / one.norm().clamp(min=1e-7))
                    one.sub_(turn.view_as(one), alpha=group["lr"])
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
