"""Networks put back together from the store's entries."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from moe.errors import StoreError
from moe.nets.build import build_gate, build_network
from moe.nets.class_expert import ClassExpert
from moe.nets.initial import tie
from moe.nets.members import Members
from moe.nets.mixture import Mixture
from moe.nets.views import Views
from moe.schema import Config
from moe.stages import num_outputs, router_name
from moe.store import Entry
from moe.store.entry import remedy
from moe.taxonomy import Tree

TEMPERATURES = "temperatures"


def classifier(entry: Entry, views: str = "none") -> nn.Module:
    """An expert's or router's network, frozen and in evaluation mode. Raises StoreError where damaged."""
    inputs = entry.record["inputs"]
    channels, height, width = inputs["in_shape"]
    net = build_network(inputs["net"], (channels, height, width), num_outputs(inputs))
    _load(net, entry.tensors(), entry)
    seen = net if views == "none" else Views(net, views)
    return seen.requires_grad_(False).eval()


def experts(
    config: Config, tree: Tree, entries: Mapping[str, Entry], temperatures: Tensor | None = None
) -> list[ClassExpert]:
    """Every node's expert in order, with its temperature (E,); a node of one class without an entry is constant.

    Raises StoreError where one is damaged, or its trunk is not the base's where that is shared.
    """
    found: list[ClassExpert] = []
    for place, node in enumerate(tree.experts):
        entry = entries.get(node.name)
        assert entry is not None or len(node.labels) == 1
        net = classifier(entry, config.views[entry.record["kind"]]) if entry else None
        labels = entry.record["inputs"]["outputs"] if entry else node.labels
        temperature = 1.0 if temperatures is None else temperatures[place].item()
        shared = entry is not None and entry.record["inputs"].get("trunk") == "shared"
        if shared and net is not None and entry is not None and found[0].net is not None:
            try:
                tie(net, found[0].net)
            except ValueError as error:
                raise StoreError(f"{entry.path}: {error}; {remedy(entry.path)}") from None
        found.append(ClassExpert(net, labels, len(tree.classes), temperature, shared))
    return found


def needed(config: Config, tree: Tree) -> list[str]:
    """The stages that a finished run of a mixture or a base cannot do without."""
    if config.target != "gates":
        return ["base"]
    networks = [node.name for node in tree.experts if len(node.labels) > 1]
    return [*networks, *_router_names(config, tree), "gates"]


def members(config: Config, entries: Mapping[str, Entry], temperatures: Sequence[float] | None = None) -> Members:
    """The bases of a run without a mixture, with their temperatures (M,), in evaluation mode.

    Raises StoreError where one is damaged.
    """
    bases = [entry for entry in entries.values() if entry.record["kind"] == "base"]
    nets = [classifier(entry, config.base.views) for entry in bases]
    return Members(nets, config.base.cascade, temperatures).eval()


def routers(config: Config, tree: Tree, entries: Mapping[str, Entry]) -> list[nn.Module]:
    """Every inner node's router in order; none where there is no routing, or the base does it.

    Raises StoreError where one is damaged.
    """
    return [classifier(entries[name], config.router.views) for name in _router_names(config, tree)]


def _router_names(config: Config, tree: Tree) -> list[str]:
    if config.mixture.routing == "none" or config.router.source == "base":
        return []
    return [router_name(node, node is tree.root) for node in tree.routers]


def gates(config: Config, tree: Tree, in_shape: tuple[int, int, int], entry: Entry | None) -> nn.ModuleList:
    """A gate for each leaf (one over all experts without routing), with the entry's weights where given.

    Raises StoreError where that is damaged.
    """
    built = nn.ModuleList(
        build_gate(config.gate.net, in_shape, len(tree.classes), len(weighed), config.gate.weights)
        for weighed in tree.weighed(config.mixture.routing)
    )
    if entry is not None:
        _load(built, {k: v for k, v in entry.tensors().items() if k != TEMPERATURES}, entry)
    return built.requires_grad_(False).eval()


def temperatures(entry: Entry | None) -> Tensor | None:
    """The temperature (E,) of each expert, from the gates' entry; None where they are not calibrated."""
    return None if entry is None else entry.tensors().get(TEMPERATURES)


def mixture(config: Config, tree: Tree, entries: Mapping[str, Entry]) -> Mixture:
    """The whole finished mixture, in evaluation mode, from the entry of each stage. Raises StoreError as those."""
    channels, height, width = entries["gates"].record["inputs"]["in_shape"]
    own = gates(config, tree, (channels, height, width), entries["gates"])
    whole = experts(config, tree, entries, temperatures(entries["gates"]))
    ways = routers(config, tree, entries)
    return Mixture(tree, whole, ways, list(own), config.mixture.routing, config.mixture.cascade).eval()


def _load(net: nn.Module, tensors: Mapping[str, Tensor], entry: Entry) -> None:
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise StoreError(f"{entry.path} does not fit its network: {str(error).splitlines()[0]}") from None
