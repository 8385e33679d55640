"""The graph of networks to train, and for each a key: a hash of everything that decides its weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from moe.provenance import code_digest
from moe.schema import Config, Network, Plain
from moe.store import digest
from moe.taxonomy import Node, Tree

# Raised when the code changes what the same inputs train to; of gates the second.
FORMAT, GATES_FORMAT = 3, 4


@dataclass(frozen=True)
class Stage:
    """One network to train, or one run's gates.

    `kind` is base, expert, router or gates; `inputs` is what the `key` hashes (`needs` in it are the keys of
    the stages whose weights this one reads); `seed` seeds it.
    """

    name: str
    kind: str
    node: Node
    inputs: Plain

    @property
    def key(self) -> str:
        return f"{self.kind}-{digest(self.inputs)[:16]}"

    @property
    def seed(self) -> int:
        """From the run's seed and what is learnt, so that reusing one stage never changes another."""
        what = [self.inputs["seed"], self.inputs["kind"], self.inputs["learns"]]
        if "member" in self.inputs:
            what.append(self.inputs["member"])
        return int(digest(what)[:8], 16)


def plan(
    config: Config,
    tree: Tree,
    fingerprint: str,
    in_shape: Sequence[int],
    precision: str,
    images: Callable[[Stage], int],
) -> list[Stage]:
    """The stages that `config.target` needs, each after those it reads.

    `fingerprint` is the data set's, `in_shape` its images' (C, H, W), `precision` Lightning's; `images` counts those
    that a stage learns from.
    """

    def settled(stage: Stage) -> Stage:
        """Whether batches are even is in a key only where they would not be of themselves.

        That is where the last of several lacks more than one image.
        """
        recipe = {key: value for key, value in stage.inputs["recipe"].items() if key != "even_batches"}
        if network_config(config, stage).recipe.even_batches:
            count, size = images(stage), recipe["batch_size"]
            if count > size and count % size not in (0, size - 1):
                recipe["even_batches"] = True
        return replace(stage, inputs={**stage.inputs, "recipe": recipe})

    splits = asdict(config.data.splits)
    if config.data.splits.protocol == "notebook":
        splits = {"protocol": "notebook"}  # it holds nothing out, so sizes and seed say nothing
    common = {
        "format": FORMAT,
        "data": fingerprint,
        "pixels": [config.data.mean, config.data.std],
        "splits": splits,
        "in_shape": list(in_shape),
        "precision": precision,
        "seed": config.seed,
    }
    base = settled(_expert(common, "base", tree.root, config.base, list(tree.root.labels)))
    learning = [node for node in tree.experts[1:] if len(node.labels) > 1]
    # What specialists start from, where that is no part of the mixture.
    starts = [_member(base, 2)] if config.expert.init == "member" and learning else []
    start = starts[0] if starts else base
    specialists = [settled(_specialist(common, config, tree, node, start)) for node in learning]
    trained = tree.routers if config.router.source == "network" else []
    routers = [settled(_router(common, node, config.router, node is tree.root)) for node in trained]
    if config.target == "base":
        return [base, *(settled(_further(base, number, config)) for number in range(2, config.base.members + 1))]
    if config.target == "router":
        return routers
    if config.target == "experts":
        return [base, *starts, *specialists]
    frozen = [base, *specialists, *(() if config.mixture.routing == "none" else routers)]
    networks = [base, *starts, *frozen[1:]]
    folds = _folds(config, networks, settled) if config.gate.fit_on == "folds" else []
    return [*networks, *folds, settled(_gates(common, config, tree, [*frozen, *folds]))]


def section(stage: Stage) -> str:
    """The part of the config that says how a stage learns."""
    if stage.kind == "base" and "needs" in stage.inputs:
        return "expert"  # base.init=base
    return "gate" if stage.kind == "gates" else stage.kind


def network_config(config: Config, stage: Stage) -> Network:
    """The config of how a stage learns."""
    parts = {"base": config.base, "expert": config.expert, "router": config.router, "gate": config.gate}
    return parts[section(stage)]


def _network(network: Network) -> Plain:
    """What a stage's key holds of its network and recipe."""
    code = code_digest(str(network.net.get("_target_")))
    # What is not set is not in it, so that a setting that comes to the recipe later leaves the keys of those without.
    recipe = {key: value for key, value in asdict(network.recipe).items() if value is not None}
    if not network.recipe.compile:
        recipe.pop("compile", None)  # false is not set, too
    return {"net": network.net, "code": code, "recipe": recipe}


def _expert(common: Plain, kind: str, node: Node, network: Network, outputs: list[int]) -> Stage:
    learns = {"kind": "expert", "learns": list(node.labels), "outputs": outputs}
    inputs = {**common, **learns, **_network(network)}
    return Stage(node.name, kind, node, inputs)


def _member(base: Stage, number: int) -> Stage:
    """Another base of the same run: what it draws comes from the run's seed and its number, counted from 2.

    So no two members draw alike, nor does one as any stage of a run of another seed. The first is the base itself.
    """
    return replace(base, name=f"{base.name}-{number}", inputs={**base.inputs, "member": number})


def _further(base: Stage, number: int, config: Config) -> Stage:
    """A further member of a run without a mixture: of its own from the start, or the base itself, which learns on."""
    member = _member(base, number)
    if config.base.init == "base":
        on = _network(replace(config.expert, net=config.base.net))
        member.inputs.update(**on, trunk="own", needs=[base.key])
    return member


def _specialist(common: Plain, config: Config, tree: Tree, node: Node, start: Stage) -> Stage:
    expert = config.expert
    outputs = list(tree.root.labels if expert.outputs == "all" else node.labels)
    stage = _expert(common, "expert", node, expert, outputs)
    if expert.outputs == "rest":
        stage.inputs["rest"] = expert.rest
    if expert.init != "scratch":
        stage.inputs.update(trunk=expert.trunk, needs=[start.key])
    return stage


def _folds(config: Config, frozen: Sequence[Stage], settled: Callable[[Stage], Stage]) -> list[Stage]:
    """Each network again for each fold, learning from all others; what started as another does so too."""
    found: list[Stage] = []
    for number in range(config.gate.folds):
        here: dict[str, Stage] = {}
        for stage in frozen:
            inputs = {**stage.inputs, "fold": [number, config.gate.folds, config.data.splits.seed]}
            if "needs" in inputs:
                inputs["needs"] = [here[key].key for key in inputs["needs"]]
            here[stage.key] = settled(replace(stage, name=fold_name(stage.name, number), inputs=inputs))
        found += here.values()
    return found


def fold_name(stage: str, number: int) -> str:
    """What the network of a stage that did not learn from a fold is called."""
    return f"{stage}/{number}"


def num_outputs(inputs: Mapping[str, Any]) -> int:
    """How many outputs the network of a stage's `inputs` has: one for all other classes comes last."""
    if inputs["kind"] == "router":
        return len(inputs["learns"])
    return len(inputs["outputs"]) + ("rest" in inputs)


def _router(common: Plain, node: Node, network: Network, at_root: bool) -> Stage:
    learns = {"kind": "router", "learns": node.groups}
    inputs = {**common, **learns, **_network(network)}
    return Stage(router_name(node, at_root), "router", node, inputs)


def router_name(node: Node, at_root: bool) -> str:
    """The stage that trains the router of a node."""
    return "router" if at_root else f"router-{node.name}"


def _gates(common: Plain, config: Config, tree: Tree, frozen: Sequence[Stage]) -> Stage:
    gate = config.gate
    inputs = {
        **common,
        "format": GATES_FORMAT,
        "kind": "gates",
        "learns": tree.root.structure(),
        **_network(gate),
        "weights": gate.weights,
        "fit_on": gate.fit_on,
        "frozen": gate.frozen,
        "calibrate": gate.calibrate,
        "routing": config.mixture.routing,
        "cascade": config.mixture.cascade,
        "views": {stage.kind: config.views[stage.kind] for stage in frozen},
        "needs": [stage.key for stage in frozen],
    }
    return Stage("gates", "gates", tree.root, inputs)
