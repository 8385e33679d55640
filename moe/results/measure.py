"""What a mixture, a classifier or routers measure up to on the test images: sections of `results.json`.

Legend: N images, C H W image, K classes, E experts, L leaves.
"""

from dataclasses import asdict, replace

import torch
from torch import Tensor

from moe import metrics
from moe.data.batches import Pixels
from moe.inference import Predictions, mix_stored
from moe.nets.gates import UniformGate, shares
from moe.nets.mixture import Frozen, Mixture
from moe.nets.routing import true_leaf
from moe.results.bits import pack
from moe.schema import Plain
from moe.taxonomy import Tree


def measure(
    tree: Tree,
    mixture: Mixture,
    images: Tensor,
    labels: Tensor,
    pixels: Pixels,
    predictions: Predictions,
    frozen: Frozen,
) -> Plain:
    """The sections `test`, `baselines` and `verdict` of a mixture on images uint8 (N, C, H, W) of labels (N,).

    `predictions` is what the mixture said of them, live or from what was stored; `frozen` what every frozen network
    said of each. Leaves the mixture on the CPU.
    """
    # What was routed live is what the baselines are routed by, whatever rounding did since.
    frozen = replace(frozen, route=predictions.route)
    mine = metrics.right(predictions.probabilities, labels)
    others = _baselines(tree, mixture, images, labels, pixels, frozen, mine)
    routed = mixture.routing != "none"
    test = {
        **measure_classifier(tree, predictions.probabilities, labels),
        "regret": _regret(
            tree,
            mine,
            others["oracle_expert"],
            predictions.route if routed else None,
            mixture.alone(predictions.experts[:, 0]),
            labels,
        ),
        "router": _router(tree, predictions.route, labels) if routed else None,
        "gate": _gates(tree, mixture, images, pixels, predictions, frozen),
    }
    return {
        "test": test,
        "baselines": {k: None if v is None else _accuracies(tree, v, labels) for k, v in others.items()},
        "verdict": {k: asdict(metrics.compare(mine, v)) for k, v in others.items() if v is not None},
    }


def measure_classifier(tree: Tree, probabilities: Tensor, labels: Tensor) -> Plain:
    """The section `test` of probabilities (N, K) for labels (N,): without a router, without gates."""
    return {
        **_accuracies(tree, metrics.right(probabilities, labels), labels),
        "nll": metrics.nll(probabilities, labels),
        "ece": metrics.ece(probabilities, labels),
        "regret": None,
        "router": None,
        "gate": None,
    }


def measure_router(tree: Tree, route: Tensor, labels: Tensor) -> Plain:
    """The section `test` of routers alone, from the leaf (N,) that each image went to and its label (N,)."""
    nothing = dict.fromkeys(("accuracy", "branch", "class", "right", "nll", "ece", "regret"))
    return {**nothing, "router": _router(tree, route, labels), "gate": None}


def _accuracies(tree: Tree, right: Tensor, labels: Tensor) -> Plain:
    """Accuracy over all images, by true branch and by class, from what is right (N,), and that image by image."""
    leaves = true_leaf(tree, labels)
    parts = [right[leaves == leaf] for leaf in range(len(tree.leaves))]
    classes = metrics.per_class(right, labels, len(tree.classes))
    return {
        "accuracy": metrics.mean_or_none(right),
        "branch": {
            leaf.name: {"accuracy": metrics.mean_or_none(part), "count": len(part)}
            for leaf, part in zip(tree.leaves, parts, strict=True)
        },
        "class": {name: {"accuracy": value} for name, value in zip(tree.classes, classes, strict=True)},
        "right": pack(right),
    }


def _router(tree: Tree, route: Tensor, labels: Tensor) -> Plain:
    truth = true_leaf(tree, labels)
    recall = metrics.per_class(route == truth, truth, len(tree.leaves))
    return {
        "accuracy": metrics.mean_or_none(route == truth),
        "recall": {leaf.name: value for leaf, value in zip(tree.leaves, recall, strict=True)},
        "confusion": metrics.confusion(truth, route, len(tree.leaves)).tolist(),
    }


def _regret(
    tree: Tree, mine: Tensor, any_expert: Tensor | None, route: Tensor | None, alone: Tensor, labels: Tensor
) -> Plain:
    """Where the mixture's errors come from, as parts of all images; the parts sum to its error.

    `alone`: the base spoke alone, as a cascade lets it; of the others `router`: the first choice was another branch;
    of the others `experts`: none on the way was right; `outvoted`: one was.
    """
    assert any_expert is not None
    astray = torch.zeros_like(mine) if route is None else route != true_leaf(tree, labels)
    asked = ~mine & ~alone
    parts = {
        "alone": ~mine & alone,
        "router": asked & astray,
        "experts": asked & ~astray & ~any_expert,
        "outvoted": asked & ~astray & any_expert,
    }
    return {name: metrics.mean_or_none(part) for name, part in parts.items()}


def _gates(
    tree: Tree, mixture: Mixture, images: Tensor, pixels: Pixels, predictions: Predictions, frozen: Frozen
) -> Plain:
    """Each gate's mean share for each expert on its path and mean entropy; None where it saw no image."""
    # For each gate the weights it gave and what the experts said, for the images it had a say on.
    if mixture.routing == "none":
        given = {"all": (predictions.weights, predictions.experts)}
    elif mixture.routing == "hard":
        gated = ~mixture.alone(predictions.experts[:, 0])
        routed = [(predictions.route == i) & gated for i in range(len(tree.leaves))]
        given = {
            leaf.name: (predictions.weights[here], predictions.experts[here])
            for leaf, here in zip(tree.leaves, routed, strict=True)
        }
    else:
        # The mixture's weights are those of all the gates together; each alone is what hard routing gives.
        alone = Mixture(tree, [], [], list(mixture.gates), "hard")
        to_leaf = [replace(frozen, route=torch.full_like(frozen.route, i)) for i in range(len(tree.leaves))]
        given = {
            leaf.name: (mix_stored(alone, images, pixels, routed).weights, frozen.experts)
            for leaf, routed in zip(tree.leaves, to_leaf, strict=True)
        }
    out = {}
    for (name, (weights, experts)), path in zip(given.items(), mixture.paths, strict=True):
        share = shares(weights[:, :, path], experts[:, path])
        out[name] = {
            "weight": {tree.experts[e].name: metrics.mean_or_none(share[:, i]) for i, e in enumerate(path)},
            "entropy": metrics.mean_or_none(torch.special.entr(share).sum(dim=1)),
        }
    return out


def _baselines(
    tree: Tree, mixture: Mixture, images: Tensor, labels: Tensor, pixels: Pixels, frozen: Frozen, mine: Tensor
) -> dict[str, Tensor | None]:
    """What each baseline gets right (N,) of the same images, None for one that does not apply.

    `mine` (N,) is what the mixture itself gets right.
    """
    channels, height, width = images.shape[1:]
    averages = [
        UniformGate((channels, height, width), len(tree.classes), num_experts=len(path), weights="per_expert")
        for path in mixture.paths
    ]
    average = Mixture(tree, [], [], averages, mixture.routing, mixture.cascade)
    uniform = mix_stored(average, images, pixels, frozen)

    own_leaf = true_leaf(tree, labels)
    specialists, oracle_router = None, None
    true_path = torch.zeros_like(labels)
    if mixture.routing != "none":
        true_path = own_leaf
        own = frozen.experts[:, [path[-1] for path in tree.paths]]  # (N, L, K) each leaf's own expert
        if mixture.routing == "hard":
            routed = own[torch.arange(len(own)), frozen.route]
        else:
            routed = (frozen.leaves[:, :, None] * own).sum(dim=1)
        specialists = metrics.right(routed, labels)
        gates = Mixture(tree, [], [], list(mixture.gates), "hard", mixture.cascade)
        # Under hard routing an image that went the true way was asked already.
        asked = torch.ones_like(mine) if mixture.routing == "soft" else frozen.route != own_leaf
        perfect = mix_stored(gates, images[asked], pixels, replace(frozen, route=own_leaf)[asked])
        oracle_router = mine.clone()
        oracle_router[asked] = metrics.right(perfect.probabilities, labels[asked])

    on_path = torch.tensor([[e in path for e in range(len(tree.experts))] for path in mixture.paths])
    each = frozen.experts.argmax(dim=2) == labels[:, None]  # (N, E)
    return {
        "base": metrics.right(frozen.experts[:, 0], labels),
        "specialists": specialists,
        "uniform": metrics.right(uniform.probabilities, labels),
        "oracle_router": oracle_router,
        "oracle_expert": (each & on_path[true_path]).any(dim=1),
    }
