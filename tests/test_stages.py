import copy
import functools
import hashlib
from dataclasses import is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from moe import checks
from moe.config import Config, Lookahead, Muon, Plain, compose
from moe.errors import ConfigError
from moe.stages import Stage, code_digest, digest, plan
from moe.taxonomy import parse

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NESTED = {"machines": {"air": [0], "road": [1, 9], "sea": [8]}, "animals": {"pets": [3, 5], "wild": [2, 4, 6, 7]}}
NETWORKS = ("base", "expert", "router", "gate")
# The stages that a change of each network's own config reaches.
REACHES = {
    "base": {"base", "gates"},
    "expert": {"artificial", "natural", "gates"},
    "router": {"router", "gates"},
    "gate": {"gates"},
}
ALL = {"base", "artificial", "natural", "router", "gates"}

RECIPE = {
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.01,
    "optimizer.weight_decay": 0.1,
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.1,
    "augment.flip": True,
    "augment.shift": 4,
    "augment.cutout": 8,
    "epochs": 7,
    "batch_size": 64,
    "clip": 1.0,
    "averaging": 0.99,
    "lookahead": Lookahead(every=5, step=0.5),
    "muon": Muon(lr=0.24, momentum=0.6),
    "decay": 0.001,
    "bias_lr": 2.0,
    "early_epochs": 3,
    "patience": 9,
    "select": "last",
}
VGG = {
    "_target_": "moe.nets.mine.VGG",
    "blocks": [[8]],
    "hidden": 7,
    "conv_dropout": 0.1,
    "dropout": 0.1,
}
# Every config value that decides weights: another value, and the stages whose keys it changes.
DECIDES: dict[str, tuple[Any, set[str]]] = {
    "seed": (1, ALL),
    "data.mean": ([0.5], ALL),
    "data.std": ([0.5], ALL),
    "data.splits.gate": (2000, ALL),
    "data.splits.val": (2000, ALL),
    "data.splits.seed": (1, ALL),
    "data.splits.protocol": ("notebook", ALL),
    "expert.outputs": ("all", REACHES["expert"]),
    "expert.init": ("base", REACHES["expert"]),
    "gate._target_": ("moe.nets.gates.ConvGate", {"gates"}),
    "gate.width": (32, {"gates"}),
    "gate.depth": (2, {"gates"}),
    "gate.dropout": (0.1, {"gates"}),
    "gate.weights": ("per_class", {"gates"}),
    "gate.fit_on": ("train", {"gates"}),
    "gate.frozen": ("live", {"gates"}),
    "gate.calibrate": (True, {"gates"}),
    "base.views": ("flip", {"gates"}),
    "expert.views": ("flip", {"gates"}),
    "router.views": ("flip", {"gates"}),
    "mixture.routing": ("soft", {"gates"}),
    "mixture.cascade": (0.9, {"gates"}),
    **{f"{name}.net.{key}": (value, REACHES[name]) for name in NETWORKS[:3] for key, value in VGG.items()},
    **{f"{name}.recipe.{key}": (value, REACHES[name]) for name in NETWORKS for key, value in RECIPE.items()},
}
# What decides weights only beside another value.
ALONE: dict[str, tuple[dict[str, Any], Any]] = {
    "expert.rest": ({"expert.outputs": "rest"}, 0.25),
    "expert.trunk": ({"expert.init": "base"}, "shared"),
    "gate.folds": ({"gate.fit_on": "folds"}, 3),
}
# Every config value that decides none: where things are, what is shown, what things are called.
NEUTRAL: dict[str, Any] = {
    "experiment": "mine",
    "rival": "mine",
    "base.cascade": 0.9,  # how many members are asked, not how they learn
    "plan": True,
    "report": False,
    "data.name": "mine",
    "data.source": "folder",
    "data.root": "elsewhere",
    "data.download": False,
    "data.classes": [str(label) for label in range(10)],
    "data.fingerprint": None,  # the one that counts is that of the images read
    "taxonomy.name": "mine",
    "checkpoint_seconds": 3.0,
    "trainer.accelerator": "cpu",
    "trainer.devices": 2,
    "trainer.precision": "32-true",  # the one that counts is that chosen for the machine
    "trainer.deterministic": True,
    "trainer.log_every_n_steps": 1,
    "trainer.enable_progress_bar": False,
    "logger.kind": "none",
    "logger.project": "mine",
    "logger.entity": "me",
    "logger.mode": "offline",
    "logger.tags": ["mine"],
    "paths.store": "elsewhere",
    "paths.data": "elsewhere",
}


@functools.cache
def default() -> Config:
    return compose("experiment=held_out")  # every network is trained, none from another


def changed(**values: Any) -> Config:
    """That config with some of its values, by their dotted keys, set."""
    config = copy.deepcopy(default())
    for key, value in values.items():
        parts = key.split(".")
        if parts[0] == "gate" and len(parts) == 2 and not hasattr(config.gate, parts[1]):
            parts.insert(1, "net")  # the gate's own arguments stand beside its other keys
        inner: Any = config
        for part in parts[:-1]:
            inner = getattr(inner, part) if is_dataclass(inner) else inner[part]
        if is_dataclass(inner):
            assert hasattr(inner, parts[-1])
            setattr(inner, parts[-1], value)
        else:
            inner[parts[-1]] = value
    return config


def stages(
    config: Config, fingerprint: str = "f", in_shape: tuple[int, ...] = (3, 32, 32), precision: str = "32-true"
) -> dict[str, Stage]:
    tree = parse(config.taxonomy.branches, CLASSES)
    return {stage.name: stage for stage in plan(config, tree, fingerprint, in_shape, precision)}


def keys(config: Config, **data: Any) -> dict[str, str]:
    return {name: stage.key for name, stage in stages(config, **data).items()}


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    assert set(one) == set(other)
    return {name for name in one if one[name] != other[name]}


# ---- keys


@pytest.mark.parametrize("key", DECIDES)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_decides_weights_changes_the_keys_of_the_stages_it_reaches(key: str) -> None:
    value, reached = DECIDES[key]
    assert differing(keys(default()), keys(changed(**{key: value}))) == reached


@pytest.mark.parametrize("key", NEUTRAL)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_decides_no_weights_changes_no_key(key: str) -> None:
    config = changed(**{key: NEUTRAL[key]})
    assert config != default()
    assert keys(config) == keys(default())


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_every_key_of_the_config_is_known_to_decide_weights_or_not() -> None:
    everything = {key for key, _ in checks.scalars(default().plain()) if not key.startswith("taxonomy.branches.")}
    # These decide which stages there are.
    assert everything == {*DECIDES, *NEUTRAL, "target", "router.source", "base.members", "base.match", *ALONE}


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_counts_only_beside_another_value() -> None:
    for key, (beside, value) in ALONE.items():
        assert keys(changed(**{key: value})) == keys(default())
        without, together = keys(changed(**beside)), keys(changed(**beside, **{key: value}))
        reached = {"gates"} if key == "gate.folds" else REACHES["expert"]
        assert {name for name in ALL if without[name] != together[name]} == reached


def test_every_frozen_network_is_trained_again_for_each_fold() -> None:
    plain = stages(changed(**{"gate.fit_on": "folds", "gate.folds": 2}))
    networks = ALL - {"gates"}
    assert list(plain)[-1] == "gates"
    assert set(plain) == ALL | {f"{name}/{number}" for name in networks for number in range(2)}
    assert {name: plain[name].key for name in networks} == {name: keys(default())[name] for name in networks}
    assert plain["base/1"].inputs["fold"] == [1, 2, 0]
    assert len({stage.key for stage in plain.values()}) == len(plain)
    assert set(plain["gates"].inputs["needs"]) == {stage.key for stage in plain.values() if stage.kind != "gates"}
    # What starts as the base starts, for a fold, as the base that has not seen the fold.
    from_base = stages(changed(**{"gate.fit_on": "folds", "expert.init": "base"}))
    assert from_base["natural/3"].inputs["needs"] == [from_base["base/3"].key]
    assert from_base["natural"].inputs["needs"] == [from_base["base"].key]


def test_a_specialist_that_starts_from_the_base_changes_with_it() -> None:
    start = {"expert.init": "base", "expert.net": default().base.net}
    other = {**start, "base.recipe.epochs": 7}
    assert differing(keys(changed(**start)), keys(changed(**other))) == {"base", "artificial", "natural", "gates"}


def test_members_are_the_base_of_the_seed_and_others_that_draw_like_no_stage_of_any_seed() -> None:
    members = {seed: stages(changed(**{"target": "base", "base.members": 3, "seed": seed})) for seed in (0, 1, 2, 3)}
    assert list(members[0]) == ["base", "base-2", "base-3"]
    # The first is the base that a mixture has.
    assert members[0]["base"].inputs == stages(default())["base"].inputs
    every = [stage for own in members.values() for stage in own.values()]
    every += [stage for seed in (0, 1, 2, 3) for stage in list(stages(changed(seed=seed)).values())[1:]]
    assert len({stage.seed for stage in every}) == len({stage.key for stage in every}) == 4 * (3 + 4)
    # A further member never changes those before it.
    assert stages(changed(**{"target": "base", "base.members": 2}))["base-2"] == members[0]["base-2"]


def test_where_the_base_routes_no_router_is_trained() -> None:
    routed = keys(changed(**{"router.source": "base"}))
    assert set(routed) == ALL - {"router"}
    assert differing(routed, {name: key for name, key in keys(default()).items() if name in routed}) == {"gates"}


@pytest.mark.parametrize(
    "data",
    [{"fingerprint": "other"}, {"in_shape": (1, 32, 32)}, {"precision": "bf16-mixed"}],
    ids=lambda d: next(iter(d)),
)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_images_and_precision_change_every_key(data: dict[str, Any]) -> None:
    assert differing(keys(default()), keys(default(), **data)) == ALL


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limit_train_batches", 2),
        ("limit_val_batches", 2),
        ("overfit_batches", 1),
        ("check_val_every_n_epoch", 2),
        ("val_check_interval", 0.5),
    ],
)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_a_key_of_the_trainer_that_decides_weights_is_refused_or_changes_the_keys(key: str, value: Any) -> None:
    # Else an entry trained on two batches would be taken for one trained on all.
    config = changed(**{f"trainer.{key}": value})
    try:
        checks.check(config.plain())
    except ConfigError as error:
        assert f"trainer.{key}" in str(error)
    else:
        assert differing(keys(default()), keys(config)) == ALL


def test_branch_names_change_no_key() -> None:
    home = default().taxonomy.branches
    renamed = changed(**{"taxonomy.branches": {"made": home["artificial"], "born": home["natural"]}})
    assert list(keys(renamed).values()) == list(keys(default()).values())
    assert list(keys(renamed)) == ["base", "made", "born", "router", "gates"]
    numbered = changed(**{"taxonomy.branches": {"artificial": [9, 8, 1, 0], "natural": [2, 3, 4, 5, 6, 7]}})
    assert keys(numbered) == keys(default())


def test_a_class_in_another_branch_changes_all_but_the_base() -> None:
    moved = {"artificial": [0, 1, 8, 9, 2], "natural": [3, 4, 5, 6, 7]}
    assert differing(keys(default()), keys(changed(**{"taxonomy.branches": moved}))) == ALL - {"base"}


def test_the_order_of_branches_is_part_of_routers_and_gates_only() -> None:
    home = default().taxonomy.branches
    turned = changed(**{"taxonomy.branches": {"natural": home["natural"], "artificial": home["artificial"]}})
    assert differing(keys(default()), keys(turned)) == {"router", "gates"}


def test_equal_nodes_of_different_trees_share_their_expert() -> None:
    # animals is the home tree's natural: classes 2 to 7.
    nested = keys(changed(**{"taxonomy.branches": NESTED}))
    home = keys(default())
    assert (nested["base"], nested["animals"], nested["machines"]) == (
        home["base"],
        home["natural"],
        home["artificial"],
    )
    # The root's router tells the same two groups apart, though machines comes first in both.
    assert nested["router"] == home["router"]
    assert nested["gates"] != home["gates"]


def test_the_notebooks_protocol_ignores_sizes_and_seed_of_splits() -> None:
    notebook = {"data.splits.protocol": "notebook"}
    others = {"data.splits.gate": 1, "data.splits.val": 2, "data.splits.seed": 3}
    assert keys(changed(**notebook)) == keys(changed(**notebook, **others))


def test_a_key_is_the_kind_and_a_hash_of_the_inputs() -> None:
    base, _, natural, router, gates = stages(default()).values()
    assert [stage.key.rpartition("-")[0] for stage in (base, natural, router, gates)] == [
        "base",
        "expert",
        "router",
        "gates",
    ]
    assert base.key == f"base-{digest(base.inputs)[:16]}"
    # Gates hash the keys of what they read, in order.
    assert gates.inputs["needs"] == [stage.key for stage in stages(default()).values()][:-1]


def test_digest_is_the_sha256_of_sorted_json() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5,null],"b":{"c":"x","d":true}}').hexdigest()
    assert digest({"b": {"d": True, "c": "x"}, "a": [1, 2.5, None]}) == expected


# ---- seeds


def test_a_stages_seed_is_made_from_the_runs_seed_and_what_it_learns() -> None:
    # Written out by hand: the first eight hex digits of the sha256 of [seed, kind, what is learnt] as JSON.
    def expected(text: bytes) -> int:
        return int(hashlib.sha256(text).hexdigest()[:8], 16)

    found = {name: stage.seed for name, stage in stages(default()).items()}
    assert found == {
        "base": expected(b'[0,"expert",[0,1,2,3,4,5,6,7,8,9]]'),
        "artificial": expected(b'[0,"expert",[0,1,8,9]]'),
        "natural": expected(b'[0,"expert",[2,3,4,5,6,7]]'),
        "router": expected(b'[0,"router",[[0,1,8,9],[2,3,4,5,6,7]]]'),
        "gates": expected(b'[0,"gates",[[0,1,8,9],[2,3,4,5,6,7]]]'),
    }


def test_seeds_differ_between_stages_and_between_runs() -> None:
    config = changed(**{"taxonomy.branches": NESTED})
    again = changed(**{"taxonomy.branches": NESTED, "seed": 1})
    seeds = [stage.seed for c in (config, again) for stage in stages(c).values()]
    # base, machines, road, animals, pets, wild, three routers, gates; twice.
    assert len(seeds) == 20 and len(set(seeds)) == 20
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_no_seed_depends_on_names_or_on_how_other_stages_learn() -> None:
    home = default().taxonomy.branches
    other = changed(
        **{
            "taxonomy.branches": {"made": home["artificial"], "born": home["natural"]},
            **{f"{name}.recipe.epochs": 3 for name in NETWORKS},
            "base.net.hidden": 7,
            "data.splits.seed": 5,
        }
    )
    assert [s.seed for s in stages(other).values()] == [s.seed for s in stages(default()).values()]


# ---- the graph


@pytest.mark.parametrize(
    ("target", "routing", "expected"),
    [
        ("base", "hard", ["base"]),
        ("router", "hard", ["router"]),
        ("experts", "hard", ["base", "artificial", "natural"]),
        ("gates", "hard", ["base", "artificial", "natural", "router", "gates"]),
        ("gates", "soft", ["base", "artificial", "natural", "router", "gates"]),
        ("gates", "none", ["base", "artificial", "natural", "gates"]),
    ],
)
def test_a_target_needs_just_its_stages(target: str, routing: str, expected: list[str]) -> None:
    found = stages(changed(**{"target": target, "mixture.routing": routing}))
    assert list(found) == expected
    whole = keys(default())
    assert all(found[name].key == whole[name] for name in expected if name != "gates")


def test_stages_come_after_what_they_read() -> None:
    for routing in ("hard", "none"):
        found = list(stages(changed(**{"taxonomy.branches": NESTED, "mixture.routing": routing})).values())
        for place, stage in enumerate(found):
            assert set(stage.inputs.get("needs", ())) <= {earlier.key for earlier in found[:place]}
        assert found[-1].inputs["needs"] == [stage.key for stage in found[:-1]]
        assert all("needs" not in stage.inputs for stage in found[:-1])


def test_a_nested_tree_has_a_router_for_each_inner_node_and_no_stage_for_a_node_of_one_class() -> None:
    found = stages(changed(**{"taxonomy.branches": NESTED}))
    # air and sea hold one class each.
    assert {name: (stage.kind, stage.node.name) for name, stage in found.items()} == {
        "base": ("base", "base"),
        "machines": ("expert", "machines"),
        "road": ("expert", "road"),
        "animals": ("expert", "animals"),
        "pets": ("expert", "pets"),
        "wild": ("expert", "wild"),
        "router": ("router", "base"),
        "router-machines": ("router", "machines"),
        "router-animals": ("router", "animals"),
        "gates": ("gates", "base"),
    }
    assert found["router-machines"].inputs["learns"] == [[0], [1, 9], [8]]
    assert found["gates"].inputs["learns"] == [[[0], [1, 9], [8]], [[3, 5], [2, 4, 6, 7]]]


@pytest.mark.parametrize(
    ("outputs", "expected"), [("subset", [2, 3, 4, 5, 6, 7]), ("all", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]
)
def test_specialists_learn_their_classes_and_speak_over_their_outputs(outputs: str, expected: list[int]) -> None:
    found = stages(changed(**{"expert.outputs": outputs}))
    assert (found["natural"].inputs["learns"], found["natural"].inputs["outputs"]) == ([2, 3, 4, 5, 6, 7], expected)
    assert found["base"].inputs["outputs"] == list(range(10))


def test_each_stage_learns_by_its_own_net_and_recipe() -> None:
    config = changed(**{f"{name}.recipe.epochs": 11 + place for place, name in enumerate(NETWORKS)})
    inputs: dict[str, Plain] = {name: stage.inputs for name, stage in stages(config).items()}
    assert {name: each["recipe"]["epochs"] for name, each in inputs.items()} == {
        "base": 11,
        "artificial": 12,
        "natural": 12,
        "router": 13,
        "gates": 14,
    }
    assert inputs["natural"]["net"] == config.expert.net and inputs["gates"]["net"] == config.gate.net


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_changed_code_of_a_network_is_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.stages.PACKAGE", tmp_path)
    (tmp_path / "nets").mkdir()
    file = tmp_path / "nets" / "mine.py"
    digests = []
    for text in (
        'class Net:\n    """Says."""\n\n    width = 3\n',
        'class Net:\n    """Says otherwise."""\n\n    width = 3  # and why\n',  # the same code
        'class Net:\n    """Says."""\n\n    width = 4\n',
    ):
        file.write_text(text)
        digests.append(code_digest("moe.nets.mine.Net"))
    assert digests[0] == digests[1] != digests[2]
    assert code_digest("torchvision.models.vgg11_bn") == f"torchvision {version('torchvision')}"


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_another_format_of_the_code_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(default())
    monkeypatch.setattr("moe.stages.FORMAT", 2)
    assert differing(keys(default()), before) == ALL
