import copy
import json

import pytest
import yaml

from moe import checks
from moe.config import compose, from_plain
from moe.package import CONF
from tests.configs import changed, composed, sentence

SIMPLE, FAT, TINY = [[32, 32], [64, 64]], [[32, 32], [64, 64], [128, 128, 128]], [[16], [32]]
# Of each experiment: target, routing, protocol, fit_on, frozen, expert.outputs, expert.init, router.source, calibrate,
# and the blocks of base, expert and router, or their size.
HELD_OUT = ("held_out", "gate", "stored", "subset")
FAST = (*HELD_OUT, "base", "base", True, "auto", "auto", "auto")
EXPERIMENTS = {
    "base": ("base", "hard", *FAST),
    "router": ("router", "hard", *HELD_OUT, "base", "network", True, "auto", "auto", "auto"),
    "experts": ("experts", "hard", *FAST),
    "gates": ("gates", "hard", *FAST),
    "flat": ("gates", "none", *FAST),
    "soft": ("gates", "soft", *FAST),
    "notebook": (
        *("gates", "hard", "notebook", "train", "live_dropout", "all"),
        *("scratch", "network", False, SIMPLE, FAT, SIMPLE),
    ),
    "held_out": ("gates", "hard", *HELD_OUT, "scratch", "network", False, SIMPLE, FAT, SIMPLE),
    "verdict": ("gates", "hard", *FAST),  # which its rivals are diffs of
    "demo": ("gates", "hard", *HELD_OUT, "scratch", "network", True, TINY, TINY, TINY),
}
SHIPPED = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def test_every_shipped_experiment_has_an_expectation() -> None:
    assert sorted(EXPERIMENTS) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_composes_to_what_it_says(name: str) -> None:
    config = composed(f"experiment={name}")
    nets = (config.base.net, config.expert.net, config.router.net)
    found = (
        config.target,
        config.mixture.routing,
        config.data.splits.protocol,
        config.gate.fit_on,
        config.gate.frozen,
        config.expert.outputs,
        config.expert.init,
        config.router.source,
        config.gate.calibrate,
        *(net.get("blocks") or net["size"] for net in nets),
    )
    assert found == EXPERIMENTS[name]
    assert config.experiment == name
    assert len({net["_target_"] for net in nets}) == 1


@pytest.mark.parametrize("option", ["base", "network"])
@pytest.mark.parametrize("over", ["experiment=gates", "experiment=demo", "experiment=notebook", "rival=router"])
def test_what_routes_is_chosen_on_the_command_line_over_any_experiment(over: str, option: str) -> None:
    assert composed(over, f"router={option}").router.source == option


@pytest.mark.parametrize("name", SHIPPED)
def test_an_experiment_is_a_diff_of_at_most_thirty_lines(name: str) -> None:
    assert len((CONF / "experiment" / f"{name}.yaml").read_text().splitlines()) <= 30


def test_the_presets_sweep_what_they_are_for() -> None:
    params = {
        name: yaml.safe_load((CONF / "sweep" / f"{name}.yaml").read_text())["hydra"]["sweeper"]["params"]
        for name in ("gate_widths", "gate_architectures")
    }
    assert params["gate_widths"] == {"gate.width": "16,32,64,128,256,512,1024", "seed": "0,1,2"}
    # Every kind of gate with every kind of weights.
    kinds, weights, seeds = (params["gate_architectures"][key].split(",") for key in ("gate", "gate.weights", "seed"))
    assert sorted(kinds) == sorted(path.stem for path in (CONF / "gate").glob("*.yaml"))
    assert sorted(weights) == sorted(checks.CHOICES["gate.weights"]) and seeds == ["0", "1", "2"]
    for name in params:
        assert composed(f"sweep={name}", "gate=conv", "gate.weights=per_class").gate.weights == "per_class"


def test_the_default_experiment_is_gates() -> None:
    assert composed().experiment == "gates" and composed() == composed("experiment=gates")


def test_the_notebook_trains_as_the_notebook_did() -> None:
    config = composed("experiment=notebook")
    for network in (config.base, config.expert, config.router, config.gate):
        recipe = network.recipe
        assert recipe.optimizer == {"_target_": "torch.optim.Adam", "lr": 0.001, "weight_decay": 0.0}
        assert (recipe.batch_size, recipe.epochs, recipe.patience, recipe.schedule) == (50, 100, 2, "constant")
        assert (recipe.augment.flip, recipe.augment.shift, recipe.augment.cutout) == (False, 0, 0)
        assert (recipe.clip, recipe.averaging, recipe.warmup, recipe.label_smoothing) == (None, None, 0.0, 0.0)
    # Base, router and specialists are tested at their best epoch, the mixture at its last.
    chosen = [network.recipe.select for network in (config.base, config.expert, config.router, config.gate)]
    assert chosen == ["best", "best", "best", "last"]
    assert config.gate.net == {"_target_": "moe.nets.gates.MLPGate", "width": 512, "depth": 1, "dropout": 0.5}
    assert (config.gate.weights, config.trainer["precision"]) == ("joint", "32-true")
    assert (config.data.mean, config.data.std) == ([0.0], [1.0])


def test_the_home_defaults_are_those_of_the_design() -> None:
    config = composed()
    splits = config.data.splits
    assert (splits.gate, splits.val, splits.seed, splits.protocol) == (2500, 2500, 0, "held_out")
    assert config.taxonomy.branches == {
        "artificial": ["airplane", "automobile", "ship", "truck"],
        "natural": ["bird", "cat", "deer", "dog", "frog", "horse"],
    }
    assert (config.seed, config.plan, config.trainer["accelerator"], config.gate.weights) == (0, False, "auto", "joint")
    # A specialist starts as the base and learns for a third as long (see test_sizes), a third as fast.
    rates = [network.recipe.optimizer["lr"] for network in (config.base, config.expert, config.router)]
    assert rates == [1.5, 0.5, 1.5] and config.expert.recipe.early_epochs == 0


def test_gates_of_pixels_learn_slower_unless_they_are_given_another_recipe() -> None:
    rates = {gate: composed(f"gate={gate}").gate.recipe.optimizer["lr"] for gate in ("mlp", "linear", "conv")}
    assert rates == {"mlp": 0.0001, "linear": 0.0001, "conv": 0.001}
    assert composed("gate=mlp", "recipe@gate.recipe=adam").gate.recipe.optimizer["lr"] == 0.001
    assert composed("gate=linear", "gate.recipe.optimizer.lr=0.5").gate.recipe.optimizer["lr"] == 0.5


def test_groups_are_chosen_at_their_places() -> None:
    config = composed(
        "experiment=held_out",
        "data=digits",
        "taxonomy=digits",
        "net@base.net=tiny_vgg",
        "base.net.hidden=7",
        "net@expert.net=vgg11_bn",
        "router.net._target_=torchvision.models.vgg11",
        "gate=confidence",
        "recipe@gate.recipe=adam",
        "base.recipe.epochs=3",
        "trainer=cpu",
        "logger=csv",
    )
    assert (config.data.name, config.data.source, config.data.splits.gate) == ("digits", "digits", 200)
    assert config.taxonomy.branches == {"curved": [0, 3, 6, 8, 9], "straight": [1, 2, 4, 5, 7]}
    # tiny_vgg as it is shipped, but for the one value overridden; the router keeps its own.
    assert config.base.net == {**yaml.safe_load((CONF / "net/tiny_vgg.yaml").read_text()), "hidden": 7}
    assert config.expert.net == {"_target_": "torchvision.models.vgg11_bn", "dropout": 0.5}
    # By its target: whether there is such a network shows when it is built.
    assert (config.router.net["_target_"], config.router.net["hidden"]) == ("torchvision.models.vgg11", 512)
    assert config.gate.net == yaml.safe_load((CONF / "gate/confidence.yaml").read_text())
    assert (config.gate.weights, config.gate.fit_on, config.gate.frozen) == ("joint", "gate", "stored")
    assert (config.gate.recipe.patience, config.base.recipe.epochs, config.router.recipe.epochs) == (2, 3, 100)
    assert (config.trainer["accelerator"], config.logger.kind) == ("cpu", "csv")


def test_specialists_and_routers_have_the_bases_network_unless_they_are_given_one() -> None:
    config = composed("net@base.net=vgg11_bn", "base.net.dropout=0.25")
    assert config.base.net == config.expert.net == config.router.net
    assert config.base.net == {"_target_": "torchvision.models.vgg11_bn", "dropout": 0.25}
    own = composed("net@base.net=vgg11_bn", "net@expert.net=tiny_vgg", "expert.init=scratch")
    assert own.expert.net["_target_"] == "moe.nets.vgg.VGG" and own.router.net == own.base.net
    assert sentence("net@expert.net=tiny_vgg").startswith("expert.init=base needs expert.net to be base.net")
    assert sentence("net@base.net=base").startswith("base.net._target_: 'base.net' is not an allowed network")


def test_folders_name_their_own_store_and_data_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_STORE", "elsewhere/store")
    monkeypatch.delenv("MOE_DATA", raising=False)
    config = compose()
    assert (config.paths.store, config.paths.data) == ("elsewhere/store", "data")
    monkeypatch.setenv("HOME", "/home/someone")
    config = compose('paths.store="~/store"', 'paths.data="~/data"')
    assert (config.paths.store, config.paths.data) == ("/home/someone/store", "/home/someone/data")


def test_branches_on_the_command_line_replace_the_whole_tree() -> None:
    config = composed("taxonomy.branches={wheels:[automobile,truck],rest:{air:[0,bird],other:[3,4,5,6,7,8]}}")
    assert config.taxonomy.branches == {
        "wheels": ["automobile", "truck"],
        "rest": {"air": [0, "bird"], "other": [3, 4, 5, 6, 7, 8]},
    }
    assert list(config.plain()["taxonomy"]) == ["name", "branches"]


@pytest.mark.parametrize("name", ["seed", "gate", "val", "width", "shift", "momentum"])
def test_a_branch_may_have_the_name_of_a_key(name: str) -> None:
    # "seed" and "fruit" are fair names of branches; what holds for the key `seed` says nothing of them.
    for branches in ({name: [0, 1, 2], "fruit": [3, 4]}, {"plants": {name: [0], "fruit": [1, 2]}, "rest": [3, 4]}):
        checks.check(changed("taxonomy.branches", branches))


@pytest.mark.parametrize(
    ("name", "gate"),
    [("gates", "ConfidenceGate"), ("notebook", "MLPGate"), ("held_out", "MLPGate"), ("demo", "MLPGate")],
)
def test_plain_values_go_through_json_and_come_back_the_same(name: str, gate: str) -> None:
    config = composed(f"experiment={name}")
    values = config.plain()
    assert from_plain(json.loads(json.dumps(values))) == config
    # Shaped as on the command line: the gate's arguments beside the keys that every gate has.
    assert values["gate"]["width"] == config.gate.net["width"]
    assert values["gate"]["_target_"] == f"moe.nets.gates.{gate}"
    assert "net" not in values["gate"]


def test_reading_plain_values_leaves_them_as_they_were() -> None:
    values = composed().plain()
    before = copy.deepcopy(values)
    from_plain(values)
    assert values == before


def test_a_config_of_an_earlier_version_gets_what_it_lacks() -> None:
    values = compose("experiment=held_out").plain()
    for section, name in (("base", "views"), ("expert", "init"), ("router", "source"), ("gate", "calibrate")):
        del values[section][name]
    del values["base"]["recipe"]["bias_lr"]
    assert from_plain(values) == compose("experiment=held_out")
