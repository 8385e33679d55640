"""What networks cost: parameters, and floating-point operations an image, to run and to learn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moe.inference import Predictions
from moe.nets.class_expert import ClassExpert
from moe.nets.cond_vgg import CondConv2d
from moe.nets.members import Members
from moe.nets.mixture import Mixture
from moe.schema import Plain
from moe.taxonomy import Tree


@dataclass(frozen=True)
class Flops:
    """The operations an image of each of a mixture's networks, in their order there.

    A specialist over the base's trunk counts without that, which runs once; `trunks` is what it takes where such a
    specialist is asked by itself.
    """

    experts: list[int]
    routers: list[int]
    gates: list[int]
    trunks: list[int] = field(default_factory=list)

    @property
    def dense(self) -> int:
        """Every network."""
        return sum(self.experts) + sum(self.routers) + sum(self.gates)

    def ways(self, tree: Tree) -> list[int]:
        """The networks on the way to each leaf, its gate included."""
        return [
            sum(self.experts[e] for e in path) + sum(self.routers[r] for r, _ in way if self.routers) + gate
            for path, way, gate in zip(tree.paths, tree.ways, self.gates, strict=True)
        ]


def cost(mixture: Mixture, found: Flops, predictions: Predictions, tree: Tree) -> Plain:
    """`parameters`, those of the gates alone, and `flops_per_image` of all networks and of those on the images' ways.

    The ways are the test images' own; `dense` is what all networks cost, `routed` the mean over the ways, by `found`,
    what `mixture_flops` finds of each. One multiply-add is two FLOPs; matrix products, convolutions and attention
    count, activations do not.
    """
    routed = float(found.dense)
    if mixture.routing == "hard":
        each = torch.tensor(found.ways(tree), dtype=torch.double)[predictions.route]
        each[mixture.alone(predictions.experts[:, 0])] = float(found.experts[0])
        routed = each.mean().item()
    return {
        "parameters": sum(parameter.numel() for parameter in mixture.parameters()),
        "gate_parameters": sum(parameter.numel() for parameter in mixture.gates.parameters()),
        "flops_per_image": {"dense": float(found.dense), "routed": routed},
    }


def members_cost(members: Members, in_shape: tuple[int, int, int], asked: Tensor) -> Plain:
    """As `cost`, of bases of which `asked` (N,) ran for each test image; gates are those that mix kernels."""
    image = torch.rand(1, *in_shape)
    upto = torch.tensor([flops(net, image) for net in members.cpu().eval().nets], dtype=torch.double).cumsum(dim=0)
    return {
        "parameters": sum(parameter.numel() for parameter in members.parameters()),
        "gate_parameters": sum(gate.numel() for gate in _gates_of_kernels(members)),
        "flops_per_image": {"dense": upto[-1].item(), "routed": upto[asked - 1].mean().item()},
    }


def _gates_of_kernels(members: Members) -> Iterator[nn.Parameter]:
    for module in members.modules():
        if isinstance(module, CondConv2d):
            yield from module.gate.parameters()


def mixture_flops(mixture: Mixture, in_shape: tuple[int, int, int], tree: Tree) -> Flops:
    """What each network of a mixture costs for an image of `in_shape`, (C, H, W); it is on torch's default device."""
    mixture.eval()
    image = torch.rand(1, *in_shape)
    experts, trunks = [flops(expert, image) for expert in mixture.experts], []
    for place, expert in enumerate(mixture.experts):
        if isinstance(expert, ClassExpert) and expert.shared:  # what runs for it beside the base
            with torch.no_grad():
                alone, experts[place] = experts[place], flops(expert.branch, expert.trunk(image))
            trunks.append(alone - experts[place])
    return Flops(
        experts,
        [flops(router, image) for router in mixture.routers],
        [
            flops(gate, image, torch.full((1, len(path), len(tree.classes)), 1 / len(tree.classes)))
            for gate, path in zip(mixture.gates, mixture.paths, strict=True)
        ],
        trunks,
    )


def flops(network: Callable[..., object], *inputs: Tensor) -> int:
    """The floating-point operations of one forward pass; one multiply-add is two."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # attention in one piece, of which nothing is counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())


def learning_flops(network: nn.Module, *inputs: Tensor) -> float:
    """The floating-point operations an image of a forward and backward pass over a batch, as `flops` counts them.

    `network` takes a batch of `inputs` and says logits, or a tuple that begins with something like them; what of it
    is frozen and comes before all that learns costs no backward pass, as while training.
    """
    grouped = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=grouped) as counter:
        said = network.train()(*inputs)
        (said[0] if isinstance(said, tuple) else said).sum().backward()
    return int(counter.get_total_flops()) / len(inputs[0])


def _convolution_backward(out: list[int], images: list[int], kernels: list[int], *others: Any, **given: Any) -> int:
    """Of a convolution's backward pass, by the shapes of the gradient that came, its input and its weight.

    What the forward pass cost, for each gradient asked for, those of input and weight. torch's own formula has that of
    a weight in groups as often too high as there are groups.
    """
    transposed, asked = others[4], others[7]  # as aten::convolution_backward has them
    positions = (images if transposed else out)[2:]
    return 2 * prod(kernels) * out[0] * prod(positions) * sum(map(bool, asked[:2]))
