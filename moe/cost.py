"""What a mixture costs to run: parameters and floating-point operations an image."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moe.config import Plain
from moe.inference import Predictions
from moe.nets.class_expert import ClassExpert
from moe.nets.mixture import Mixture
from moe.taxonomy import Tree


def cost(mixture: Mixture, in_shape: tuple[int, int, int], predictions: Predictions, tree: Tree) -> Plain:
    """`parameters`, those of the gates alone, and `flops_per_image` of all networks and of those on the images' ways.

    The ways are the test images' own; `dense` is what all networks cost, `routed` the mean over the ways. Every
    network runs once on one random image of `in_shape` (C, H, W). One multiply-add is two FLOPs; matrix products,
    convolutions and attention count, activations do not.
    """
    mixture.cpu().eval()
    image = torch.rand(1, *in_shape)
    experts = [flops(expert, image) for expert in mixture.experts]
    for place, expert in enumerate(mixture.experts):
        if isinstance(expert, ClassExpert) and expert.shared:  # what runs for it beside the base
            with torch.no_grad():
                experts[place] = flops(expert.branch, expert.trunk(image))
    routers = [flops(router, image) for router in mixture.routers]
    gates = [
        flops(gate, image, torch.full((1, len(path), len(tree.classes)), 1 / len(tree.classes)))
        for gate, path in zip(mixture.gates, mixture.paths, strict=True)
    ]
    dense = float(sum(experts) + sum(routers) + sum(gates))
    routed = dense
    if mixture.routing == "hard":
        ways = [
            sum(experts[e] for e in path) + sum(routers[r] for r, _ in way if routers) + gate
            for path, way, gate in zip(tree.paths, tree.ways, gates, strict=True)
        ]
        each = torch.tensor(ways, dtype=torch.double)[predictions.route]
        each[mixture.alone(predictions.experts[:, 0])] = float(experts[0])
        routed = each.mean().item()
    return {
        "parameters": sum(parameter.numel() for parameter in mixture.parameters()),
        "gate_parameters": sum(parameter.numel() for parameter in mixture.gates.parameters()),
        "flops_per_image": {"dense": dense, "routed": routed},
    }


def flops(network: Callable[..., object], *inputs: Tensor) -> int:
    """The floating-point operations of one forward pass; one multiply-add is two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return int(counter.get_total_flops())
