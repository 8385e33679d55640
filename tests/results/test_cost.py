"""What networks cost an image, by hand."""

import torch
from torch import Tensor, nn

from moe.cost import cost, mixture_flops
from moe.inference import Predictions
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import Gate
from moe.nets.mixture import Mixture
from moe.schema import Plain
from moe.taxonomy import Tree
from tests.results.worked import TREE


def priced(tree: Tree, routing: str, route: list[int]) -> Plain:
    """The cost with experts of 2*12*5 = 120 FLOPs (the last without a network), routers 2*12*2 = 48, gates by path."""

    def linear(out: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, out))

    nets = [*(linear(5) for _ in TREE.experts[1:]), None]
    experts = [ClassExpert(net, range(5), 5) for net in nets]
    routers = [] if routing == "none" else [linear(2), linear(2)]
    sizes = [5] if routing == "none" else [2, 3, 3]
    gates = [LinearGateOfPixels(size) for size in sizes]
    nothing = torch.zeros(len(route), 1)
    predictions = Predictions(nothing, torch.tensor(route), nothing, nothing, nothing)
    mixture = Mixture(tree, experts, routers, gates, routing)
    return cost(mixture, mixture_flops(mixture, (3, 2, 2), tree), predictions, tree)


class LinearGateOfPixels(Gate):
    def __init__(self, experts: int) -> None:
        super().__init__((3, 2, 2), 5, experts, "per_expert")
        self.net = nn.Linear(12, experts, bias=False)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(images.flatten(1))
        return out


def test_cost_by_hand() -> None:
    # Ways: made 2*120 + 48 + 2*12*2 = 336; furry 3*120 + 2*48 + 2*12*3 = 528; wet, whose expert is free, 408.
    out = priced(TREE, "hard", [0, 0, 1, 2])
    assert out["flops_per_image"]["routed"] == (336 + 336 + 528 + 408) / 4
    # All: 4*120 + 2*48 + 2*12*(2+3+3) = 768. Parameters: 4*(60+5) + 2*(24+2) + 12*8 = 408.
    assert out["flops_per_image"]["dense"] == 768
    assert out["parameters"] == 408
    assert out["gate_parameters"] == 96


def test_cost_without_hard_routing_is_dense() -> None:
    assert priced(TREE, "soft", [0])["flops_per_image"] == {"dense": 768.0, "routed": 768.0}
    # No routers, one gate over five: 480 + 2*12*5 = 600.
    assert priced(TREE, "none", [-1])["flops_per_image"] == {"dense": 600.0, "routed": 600.0}


def test_a_convolution_costs_two_flops_a_multiply_add() -> None:
    from moe.cost import flops

    # 1 to 2 channels, 3x3, at 4x4 places: 2 * 9 * 2 * 16.
    assert flops(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 4, 4)) == 576
