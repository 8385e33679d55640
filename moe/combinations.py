"""Which of a config's values go together, and one sentence where some do not. Imports no torch, as `moe.checks`."""

from collections.abc import Mapping
from typing import Any

from moe.errors import ConfigError
from moe.schema import SIZED


def check_source(source: str, root: str | None) -> None:
    """Raise ConfigError where a data set that has no folder is given one."""
    if source == "digits" and root is not None:
        raise ConfigError(
            "data.root: scikit-learn's digits come from that package; for your own images set data=folder"
        )


def check_combinations(values: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the keys, where values that are right alone do not go together."""
    gate, splits = values["gate"], values["data"]["splits"]
    check_source(values["data"]["source"], values["data"]["root"])
    if gate["fit_on"] == "folds":
        _check_folds(gate, splits)
    if values["target"] == "gates" and splits["protocol"] == "notebook" and gate["fit_on"] != "train":
        raise ConfigError("data.splits.protocol=notebook holds no images out; set gate.fit_on=train")
    _check_members(values)
    _check_networks(values)
    for name in ("base", "expert", "router", "gate"):
        _check_decay(name, values[name]["recipe"])
    direct = values["mixture"]["routing"] == "hard" and values["router"]["source"] == "base"
    if values["mixture"]["cascade"] is not None and not direct:
        raise ConfigError("mixture.cascade asks the base first; set mixture.routing=hard and router=base")
    if values["target"] == "router" and values["router"]["source"] == "base":
        raise ConfigError("router=base has no network to train; set target=base, or router=network")
    if values["target"] == "gates" and gate["calibrate"] and splits["protocol"] == "notebook":
        raise ConfigError("gate.calibrate needs images held out; with data.splits.protocol=notebook set it to false")
    if "auto" in gate["recipe"]["augment"].values():
        raise ConfigError("gate.recipe.augment must have numbers: auto goes by a network's size, which no gate has")
    if values["rival"] == "pairs" and not _are_pairs(values["taxonomy"]["branches"]):
        raise ConfigError("rival=pairs has a taxonomy of its own, of two classes a branch; leave taxonomy= out")
    if any(gate["recipe"]["augment"].values()) and gate["frozen"] == "stored":
        raise ConfigError("gate.recipe.augment needs the frozen networks on each changed image; set gate.frozen=live")
    if gate["recipe"].get("muon"):
        raise ConfigError("gate.recipe.muon must be null: it is for deep networks of convolutions")
    if gate["recipe"].get("compile"):
        raise ConfigError("gate.recipe.compile must be null: it is for the networks that gates weigh")
    if gate["recipe"]["label_smoothing"]:
        raise ConfigError("gate.recipe.label_smoothing must be 0: gates learn by the mixture's negative log-likelihood")
    if splits["protocol"] == "held_out":
        reads = gate["fit_on"] == "gate" or (gate["fit_on"] == "train" and gate["calibrate"])
        held = values["target"] == "gates" and reads
        for name in ("val", *(("gate",) if held else ())):
            if splits[name] < 1:
                raise ConfigError(f"data.splits.{name} must be above 0 with data.splits.protocol=held_out")
    for key in ("mean", "std"):
        if not values["data"][key] or (key == "std" and min(values["data"][key]) <= 0):
            raise ConfigError(f"data.{key} must be a list of numbers, one or one a channel (std above 0)")


def _are_pairs(branches: Any) -> bool:
    return isinstance(branches, Mapping) and all(
        isinstance(held, list) and len(held) == 2 for held in branches.values()
    )


def _check_members(values: Mapping[str, Any]) -> None:
    base, several = values["base"], values["base"]["members"] > 1
    found = base["match"] in ("members", "members_epochs")
    if values["target"] != "base":
        for key, own in (("members", 1), ("init", "scratch"), ("match", "none"), ("cascade", None)):
            if base[key] != own:
                raise ConfigError(f"base.{key} is for a base that speaks without a mixture; set target=base")
    if several and found:
        raise ConfigError(f"base.match={base['match']} finds the number of members itself; leave base.members at 1")
    if base["init"] == "base" and base["match"] != ("none" if several else "members"):
        raise ConfigError(
            "base.init=base is for further members, which learn as long as specialists do: set base.match=members, or "
            "base.members above 1 and base.match=none"
        )
    if base["cascade"] is not None and (
        values["data"]["splits"]["protocol"] == "notebook" or not values["data"]["splits"]["gate"]
    ):
        raise ConfigError(
            "base.cascade needs images held out, to calibrate its members by: set data.splits.gate above 0 and "
            "data.splits.protocol=held_out"
        )
    if base["cascade"] is not None and not several and not found:
        raise ConfigError("base.cascade asks one member after another; set base.members above 1, or base.match=members")


def _check_networks(values: Mapping[str, Any]) -> None:
    base, expert, router, target = values["base"], values["expert"], values["router"], values["target"]
    if router["source"] == "base" and router["views"] not in ("none", base["views"]):
        raise ConfigError("router.views is for routers of their own; with router=base set base.views")
    # Where a mixture's cost is to be matched its specialists count, though none is trained.
    specialists = target in ("gates", "experts") or (target == "base" and base["match"] != "none")
    routed = target == "router" or (target == "gates" and values["mixture"]["routing"] != "none")
    begin = {
        "base": target != "router",
        "expert": specialists and expert["init"] == "scratch",
        "router": routed and router["source"] == "network",
    }
    for name, from_scratch in begin.items():
        recipe, net = values[name]["recipe"], values[name]["net"]
        whitened = net["_target_"] in SIZED and net.get("whitening", True)
        if from_scratch and recipe["early_epochs"] == 0 and whitened:
            raise ConfigError(
                f"{name}.recipe.early_epochs=0 would never train the whitening's bias of a network that starts from "
                f"scratch; set recipe@{name}.recipe=fast"
            )
    if specialists or (target == "base" and base["init"] == "base"):  # whose further members learn as specialists do
        _check_specialists(base, expert)


def _check_specialists(base: Mapping[str, Any], expert: Mapping[str, Any]) -> None:
    if expert["init"] != "scratch" and expert["net"] != base["net"]:
        raise ConfigError(
            f"expert.init={expert['init']} needs expert.net to be base.net: a base's weights are where a specialist "
            "starts; or set expert.init=scratch"
        )
    if expert["trunk"] == "shared":
        if expert["init"] != "base":
            raise ConfigError("expert.trunk=shared is the base's own trunk; set expert.init=base too")
        if expert["views"] != base["views"]:
            raise ConfigError("expert.trunk=shared runs once for all; set expert.views and base.views alike")


def _check_folds(gate: Mapping[str, Any], splits: Mapping[str, Any]) -> None:
    if splits["gate"]:
        raise ConfigError("gate.fit_on=folds needs no images held out for gates; set data.splits.gate=0")
    if gate["frozen"] != "stored":
        raise ConfigError("gate.fit_on=folds asks other networks of each image; set gate.frozen=stored")


def _check_decay(name: str, recipe: Mapping[str, Any]) -> None:
    optimizer = recipe["optimizer"]
    if recipe.get("decay") is None:
        return
    if optimizer.get("_target_") not in ("torch.optim.SGD", "torch.optim.AdamW"):
        # Of the others weight decay goes through a normalised gradient, where it is no part of a weight.
        raise ConfigError(f"{name}.recipe.decay is for torch.optim.SGD and AdamW; set optimizer.weight_decay instead")
    if optimizer.get("weight_decay"):
        raise ConfigError(f"{name}.recipe.decay takes the place of optimizer.weight_decay; set that to 0")
