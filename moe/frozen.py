"""What the frozen networks say of each split: computed once, kept in the store, read by gates and results."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from moe import assembly, inference
from moe.data.batches import Pixels
from moe.data.canonical import Images
from moe.data.splits import folds
from moe.nets.class_expert import class_probabilities
from moe.nets.mixture import Frozen
from moe.nets.routing import hard_route, leaf_probabilities, route_by_base
from moe.schema import Config
from moe.stages import fold_name, router_name
from moe.store import Entry, Store, digest
from moe.taxonomy import Tree

log = logging.getLogger(__name__)
FOLDS = "folds"  # the train split, each image as networks see it that have not learnt from its fold


def logits(
    store: Store,
    network: Entry,
    split: str,
    images: Tensor,
    pixels: Pixels,
    device: torch.device,
    views: str = "none",
) -> Tensor:
    """One network's logits (N, outputs) for the images uint8 (N, C, H, W) of a split, from the store if there."""
    # The weights, too: a network that was trained anew may have others.
    weights = network.record["sha256"]
    inputs = {"network": network.key, "weights": weights, "split": split, "images": len(images), "views": views}
    key = f"outputs-{digest(inputs)[:16]}"
    store.mend(key)
    entry = store.get(key)
    if entry is not None:
        return entry.tensors()["logits"]
    with store.lock(key, f"{network.record['name']}'s outputs on {split}"):
        entry = store.get(key)  # another process may have computed it while this one waited
        if entry is None:
            computed = inference.logits(assembly.classifier(network, views), images, pixels, device)
            entry = store.publish(key, {"kind": "outputs", "inputs": inputs}, {"logits": computed})
    return entry.tensors()["logits"]


def said_of(
    config: Config,
    store: Store,
    entries: Mapping[str, Entry],
    name: str,
    split: str,
    images: Images,
    pixels: Pixels,
    device: torch.device,
) -> Tensor:
    """A stage's logits (N, outputs) for a split; of `folds` each image's are from the network that has not seen it."""
    network = entries[name]
    views = config.views[network.record["kind"]]
    if split != FOLDS:
        return logits(store, network, split, images.images, pixels, device, views)
    count = config.gate.folds
    fold = folds(images, count, config.data.splits.seed)
    out = torch.empty(0)
    for number in range(count):
        here = fold == number
        part = f"fold {number} of {count} by {config.data.splits.seed}"
        other = entries[fold_name(name, number)]
        said = logits(store, other, part, images.images[here], pixels, device, views)
        out = out if len(out) else said.new_empty(len(fold), said.shape[1])
        out[here] = said
    return out


def outputs(
    config: Config,
    store: Store,
    tree: Tree,
    entries: Mapping[str, Entry],
    split: str,
    images: Images,
    pixels: Pixels,
    device: torch.device,
    temperatures: Tensor | None = None,
) -> Frozen:
    """Every frozen network's probabilities for every image of a split; see `moe.nets.mixture.Frozen`.

    `temperatures` (E,) are the experts'. Without routing no router is asked: leaves are zero and the route is -1.
    """

    def say(name: str) -> Tensor:
        return said_of(config, store, entries, name, split, images, pixels, device)

    count = len(images.labels)
    experts = torch.zeros(count, len(tree.experts), len(tree.classes))
    for place, node in enumerate(tree.experts):
        network = entries.get(node.name)
        if network is None:
            experts[:, place, node.labels[0]] = 1.0
            continue
        temperature = 1.0 if temperatures is None else temperatures[place]
        labels = torch.tensor(network.record["inputs"]["outputs"])
        experts[:, place] = class_probabilities(say(node.name), labels, len(tree.classes), temperature)
    if config.mixture.routing == "none":
        none = torch.full((count,), -1)
        return Frozen(experts, torch.zeros(count, len(tree.leaves)), none)
    if config.router.source == "base":
        routers = [route_by_base(experts[:, 0], node) for node in tree.routers]
    else:
        routers = [say(router_name(node, node is tree.root)).softmax(dim=1) for node in tree.routers]
    return Frozen(experts, leaf_probabilities(routers, tree), hard_route(routers, tree))
