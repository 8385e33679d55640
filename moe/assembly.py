"""Networks put back together from the store's entries."""

from collections.abc import Mapping

from torch import nn

from moe.config import Config
from moe.errors import StoreError
from moe.nets.build import build_gate, build_network
from moe.nets.mixture import ClassExpert, Mixture
from moe.store import Entry
from moe.taxonomy import Tree


def classifier(entry: Entry) -> nn.Module:
    """An expert's or router's network, frozen and in evaluation mode. Raises StoreError where damaged."""
    inputs = entry.record["inputs"]
    num_classes = len(inputs["outputs"]) if inputs["kind"] == "expert" else len(inputs["learns"])
    channels, height, width = inputs["in_shape"]
    net = build_network(inputs["net"], (channels, height, width), num_classes)
    _load(net, entry)
    return net.requires_grad_(False).eval()


def experts(tree: Tree, entries: Mapping[str, Entry]) -> list[ClassExpert]:
    """Every node's expert in order; a node of one class without an entry is constant."""
    found = []
    for node in tree.experts:
        entry = entries.get(node.name)
        assert entry is not None or len(node.labels) == 1
        net = classifier(entry) if entry else None
        labels = entry.record["inputs"]["outputs"] if entry else node.labels
        found.append(ClassExpert(net, labels, len(tree.classes)))
    return found


def routers(tree: Tree, entries: Mapping[str, Entry]) -> list[nn.Module]:
    """Every inner node's router in order."""
    return [classifier(entries[router_name(tree, node.name)]) for node in tree.routers]


def router_name(tree: Tree, node: str) -> str:
    """The stage that trains the router of a node."""
    return "router" if node == tree.root.name else f"router-{node}"


def gates(config: Config, tree: Tree, in_shape: tuple[int, int, int], entry: Entry | None) -> nn.ModuleList:
    """A gate for each leaf (one over all experts without routing), with the entry's weights where given."""
    flat = config.mixture.routing == "none"
    sizes = [len(tree.experts)] if flat else [len(path) for path in tree.paths]
    built = nn.ModuleList(
        build_gate(config.gate.net, in_shape, len(tree.classes), size, config.gate.weights) for size in sizes
    )
    if entry is not None:
        _load(built, entry)
    return built.requires_grad_(False).eval()


def mixture(config: Config, tree: Tree, entries: Mapping[str, Entry]) -> Mixture:
    """The whole finished mixture, in evaluation mode, from the entry of each stage. Raises StoreError as those."""
    channels, height, width = entries["gates"].record["inputs"]["in_shape"]
    own = gates(config, tree, (channels, height, width), entries["gates"])
    ways = [] if config.mixture.routing == "none" else routers(tree, entries)
    return Mixture(tree, experts(tree, entries), ways, list(own), config.mixture.routing).eval()


def _load(net: nn.Module, entry: Entry) -> None:
    try:
        net.load_state_dict(entry.tensors())
    except RuntimeError as error:
        raise StoreError(f"{entry.path} does not fit its network: {str(error).splitlines()[0]}") from None
