import copy
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import moe
from moe import checks
from moe.config import CONF, Config, Plain, compose, from_plain
from moe.errors import ConfigError
from moe.overrides import config_error

SIMPLE, FAT, TINY = [[32, 32], [64, 64]], [[32, 32], [64, 64], [128, 128, 128]], [[16], [32]]
# Of each experiment: target, routing, protocol, fit_on, frozen, expert.outputs, blocks of base, expert and router.
HELD_OUT = ("held_out", "gate", "stored", "subset", SIMPLE, FAT, SIMPLE)
EXPERIMENTS = {
    "base": ("base", "hard", *HELD_OUT),
    "router": ("router", "hard", *HELD_OUT),
    "experts": ("experts", "hard", *HELD_OUT),
    "gates": ("gates", "hard", *HELD_OUT),
    "flat": ("gates", "none", *HELD_OUT),
    "soft": ("gates", "soft", *HELD_OUT),
    "notebook": ("gates", "hard", "notebook", "train", "live_dropout", "all", SIMPLE, FAT, SIMPLE),
    "demo": ("gates", "hard", "held_out", "gate", "stored", "subset", TINY, TINY, TINY),
}
SHIPPED = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@functools.cache
def composed(*overrides: str) -> Config:
    return compose(*overrides)


def changed(key: str, value: Any) -> Plain:
    """The default config's plain values with one of them, by its dotted key, set."""
    values = copy.deepcopy(composed().plain())
    *parents, last = key.split(".")
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return values


def refusal(values: Plain) -> str:
    """What the check of plain values, which `from_plain` ends with, says is wrong."""
    with pytest.raises(ConfigError) as raised:
        checks.check(values)
    return str(raised.value)


def sentence(*overrides: str) -> str:
    """What composing says is wrong."""
    with pytest.raises(ConfigError) as raised:
        compose(*overrides)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# ---- what is shipped


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
        *(net["blocks"] for net in nets),
    )
    assert found == EXPERIMENTS[name]
    assert config.experiment == name
    assert {net["_target_"] for net in nets} == {"moe.nets.vgg.VGG"}


@pytest.mark.parametrize("name", SHIPPED)
def test_an_experiment_is_a_diff_of_at_most_thirty_lines(name: str) -> None:
    assert len((CONF / "experiment" / f"{name}.yaml").read_text().splitlines()) <= 30


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
    assert [n.recipe.select for n in (config.base, config.expert, config.router, config.gate)] == ["best"] * 3 + [
        "last"
    ]
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


def test_groups_are_chosen_at_their_places() -> None:
    config = composed(
        "data=digits",
        "taxonomy=digits",
        "net@base.net=tiny_vgg",
        "base.net.hidden=7",
        "net@expert.net=vgg11_bn",
        "router.net._target_=moe.nets.mine.Net",
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
    assert (config.router.net["_target_"], config.router.net["hidden"]) == ("moe.nets.mine.Net", 512)
    assert config.gate.net == yaml.safe_load((CONF / "gate/confidence.yaml").read_text())
    assert (config.gate.weights, config.gate.fit_on, config.gate.frozen) == ("joint", "gate", "stored")
    assert (config.gate.recipe.patience, config.base.recipe.epochs, config.router.recipe.epochs) == (2, 3, 100)
    assert (config.trainer["accelerator"], config.logger.kind) == ("cpu", "csv")


def test_folders_name_their_own_store_and_data_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOE_STORE", "elsewhere/store")
    monkeypatch.delenv("MOE_DATA", raising=False)
    config = compose()
    assert (config.paths.store, config.paths.data) == ("elsewhere/store", "data")


# ---- the taxonomy on the command line


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


# ---- plain values and back


@pytest.mark.parametrize("name", ["gates", "notebook", "demo"])
def test_plain_values_go_through_json_and_come_back_the_same(name: str) -> None:
    config = composed(f"experiment={name}")
    values = config.plain()
    assert from_plain(json.loads(json.dumps(values))) == config
    # Shaped as on the command line: the gate's arguments beside the keys that every gate has.
    assert values["gate"]["width"] == config.gate.net["width"]
    assert values["gate"]["_target_"] == "moe.nets.gates.MLPGate"
    assert "net" not in values["gate"]


def test_reading_plain_values_leaves_them_as_they_were() -> None:
    values = composed().plain()
    before = copy.deepcopy(values)
    from_plain(values)
    assert values == before


# ---- misspelt names


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("gate.widht=64", "gate.widht: there is no such key; did you mean gate.width?"),
        ("base.recipe.epoch=3", "base.recipe.epoch: there is no such key; did you mean base.recipe.epochs?"),
        ("tagret=base", "tagret: there is no such key; did you mean target?"),
        ("data.splits.vall=5", "data.splits.vall: there is no such key; did you mean data.splits.val?"),
        ("experiment=gatez", "experiment=gatez: there is no such option; did you mean gates?"),
        ("gate=mpl", "gate=mpl: there is no such option; did you mean mlp?"),
        ("net@base.net=fat_vg", "net=fat_vg: there is no such option; did you mean fat_vgg?"),
    ],
)
def test_a_misspelt_override_is_answered_with_the_nearest(override: str, expected: str) -> None:
    assert sentence(override).startswith(expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Could not find 'hydra/sweeper/optuna'\n\nAvailable options in 'hydra/sweeper':\n\tbasic\n\tgrid",
            "hydra/sweeper=optuna needs a package that is not installed: pip install hydra-optuna-sweeper",
        ),
        (
            "Unknown plugin class : 'hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher'",
            "hydra/launcher=ray needs a package that is not installed: pip install hydra-ray-launcher",
        ),
        ("Unknown plugin class : 'a.B'", "a.B is no plugin of Hydra that is installed"),
    ],
)
def test_a_plugin_that_is_not_installed_is_named_with_its_package(said: str, expected: str) -> None:
    assert str(config_error(Exception(said))) == expected


@pytest.mark.parametrize(
    ("group", "key"), [("gate=uniform", "gate.width"), ("net@base.net=vgg11_bn", "base.net.hidden")]
)
def test_a_key_that_the_chosen_option_lacks_is_not_answered_with_itself(group: str, key: str) -> None:
    said = sentence(group, f"{key}=64")
    assert said.startswith(f"{key}: ")
    assert f"did you mean {key}?" not in said


@pytest.mark.parametrize("override", ["experiment=null", "foo", "gate={"])
def test_what_hydra_cannot_read_is_a_config_error_of_one_line(override: str) -> None:
    assert sentence(override)


def test_a_value_that_is_required_is_asked_for_by_its_key() -> None:
    assert sentence("data=folder", "taxonomy.branches={x:[0],y:[1]}") == (
        "data.root has no value; give it one with data.root=VALUE"
    )


# ---- wrong values


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gate.width", 0, "gate.width must be a whole number above 0, not 0"),
        ("gate.width", -3, "gate.width must be a whole number above 0, not -3"),
        ("gate.width", 1.5, "gate.width must be a whole number above 0, not 1.5"),
        ("gate.width", True, "gate.width must be a whole number above 0, not True"),
        ("gate.width", "wide", "gate.width must be a whole number above 0, not 'wide'"),
        ("base.net.hidden", 0, "base.net.hidden must be a whole number above 0, not 0"),
        ("gate.depth", 0, "gate.depth must be a whole number above 0, not 0"),
        ("base.net.dropout", 1.0, "base.net.dropout must be a number from 0 to below 1, not 1.0"),
        ("base.net.conv_dropout", -0.1, "base.net.conv_dropout must be a number from 0 to below 1, not -0.1"),
        ("router.recipe.epochs", 0, "router.recipe.epochs must be a whole number above 0, or auto, not 0"),
        ("expert.recipe.batch_size", -1, "expert.recipe.batch_size must be a whole number above 0, not -1"),
        ("expert.recipe.patience", 0, "expert.recipe.patience must be a whole number above 0, not 0"),
        ("base.recipe.optimizer.lr", 0, "base.recipe.optimizer.lr must be a number above 0, not 0"),
        ("base.recipe.optimizer.lr", float("nan"), "base.recipe.optimizer.lr must be a number above 0, not nan"),
        ("base.recipe.optimizer.lr", float("inf"), "base.recipe.optimizer.lr must be a number above 0, not inf"),
        ("base.recipe.clip", 0.0, "base.recipe.clip must be a number above 0, not 0.0"),
        ("base.recipe.averaging", 1.0, "base.recipe.averaging must be a number from 0 to below 1, not 1.0"),
        ("base.recipe.warmup", -0.5, "base.recipe.warmup must be a number from 0 to below 1, not -0.5"),
        ("base.recipe.label_smoothing", 1.0, "base.recipe.label_smoothing must be a number from 0 to below 1"),
        ("base.recipe.schedule", "cos", "base.recipe.schedule must be one of constant, cosine, linear, not 'cos'"),
        ("base.recipe.select", "first", "base.recipe.select must be one of best, last, not 'first'"),
        ("base.recipe.augment.shift", -1, "base.recipe.augment.shift must be a whole number, 0 or above, not -1"),
        ("seed", -1, "seed must be a whole number from 0 to 4294967295, not -1"),
        ("seed", 2**32, "seed must be a whole number from 0 to 4294967295, not 4294967296"),
        ("data.splits.seed", -1, "data.splits.seed must be a whole number from 0"),
        ("data.splits.gate", -1, "data.splits.gate must be a whole number, 0 or above, not -1"),
        ("data.splits.protocol", "leaky", "data.splits.protocol must be one of held_out, notebook, not 'leaky'"),
        ("mixture.routing", "sof", "mixture.routing must be one of hard, soft, none, not 'sof'; did you mean soft?"),
        ("data.std", [0.0], "data.std must be a list of numbers"),
        ("data.mean", [], "data.mean must be a list of numbers"),
        ("target", "gate", "target must be one of base, router, experts, gates, not 'gate'; did you mean gates?"),
        ("gate.weights", "all", "gate.weights must be one of joint, per_class, per_expert, not 'all'"),
        ("gate.fit_on", "test", "gate.fit_on must be one of gate, train, folds, not 'test'"),
        ("expert.outputs", "some", "expert.outputs must be one of subset, all, rest, not 'some'"),
        ("trainer.precision", "16", "trainer.precision must be one of auto, 32-true, bf16-mixed, not '16'"),
        ("trainer.log_every_n_steps", 0, "trainer.log_every_n_steps must be a whole number above 0, not 0"),
        ("gate.recipe.label_smoothing", 0.1, "gate.recipe.label_smoothing must be 0"),
        ("data.splits.val", 0, "data.splits.val must be above 0 with data.splits.protocol=held_out"),
        ("data.splits.gate", 0, "data.splits.gate must be above 0 with data.splits.protocol=held_out"),
    ],
)
def test_a_wrong_value_is_said_with_its_key_and_what_would_be_right(key: str, value: Any, expected: str) -> None:
    assert refusal(changed(key, value)).startswith(expected)


@pytest.mark.parametrize("key", ["gate.width", "base.net.hidden", "base.recipe.optimizer.lr"])
def test_a_number_that_is_needed_is_not_null(key: str) -> None:
    assert key in refusal(changed(key, None))


@pytest.mark.parametrize("blocks", [[[0]], [[-3]], [[16], [0, 8]]])
def test_a_convolution_has_a_width_above_zero(blocks: list[list[int]]) -> None:
    assert "base.net.blocks" in refusal(changed("base.net.blocks", blocks))


def test_values_of_another_type_are_refused_by_their_key() -> None:
    with pytest.raises(
        ConfigError, match=r"^base\.recipe\.batch_size: Value 'many' of type 'str' could not be converted"
    ):
        from_plain(changed("base.recipe.batch_size", "many"))
    with pytest.raises(ConfigError, match=r"^gate\.width must be a whole number above 0, not 0"):
        from_plain(changed("gate.width", 0))


@pytest.mark.parametrize("key", ["clip", "averaging", "patience"])
def test_what_a_recipe_may_leave_out_is_null(key: str) -> None:
    assert getattr(from_plain(changed(f"base.recipe.{key}", None)).base.recipe, key) is None


def test_the_command_line_is_checked_as_plain_values_are() -> None:
    assert sentence("gate.width=-3") == "gate.width must be a whole number above 0, not -3"


def test_values_that_do_not_go_together_name_the_key_to_change() -> None:
    assert refusal(changed("data.splits.protocol", "notebook")).endswith("set gate.fit_on=train")
    assert refusal(changed("gate.recipe.augment.flip", True)).endswith("set gate.frozen=live")


def test_where_no_gate_is_trained_no_image_need_be_held_out_for_it() -> None:
    values = changed("data.splits.gate", 0)
    assert refusal(values).startswith("data.splits.gate must be above 0")
    values["target"] = "base"
    checks.check(values)


# ---- what may be built


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "os.system",
        "builtins.open",
        "torch.hub.load",
        "subprocess.run",
        "torch.nn.Linear",
        "moe.nets.VGG",
        "moe.nets.vgg",
        "moe.nets.vgg.deeper.VGG",
        "moe.nets.vgg.VGG.__init__",
        "moe.nets..vgg.VGG",
        "moe.nets_evil.vgg.VGG",
        "moe.modules.expert.Expert",
        "torchvision.models.get_model",
        "torchvision.models.get_weight",
        "torchvision.models.register_model",
        "torchvision.models._api",
        "torchvision.models.vgg.vgg11_bn",
        "torchvision.datasets.CIFAR10",
        "VGG",
        "",
        None,
        7,
    ],
)
def test_only_networks_of_the_project_and_of_torchvision_are_built(target: Any) -> None:
    assert refusal(changed("base.net._target_", target)) == (
        f"base.net._target_: {target!r} is not an allowed network; allowed are moe.nets.MODULE.CLASS "
        "and the builders torchvision.models.NAME"
    )


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "VGG"])
def test_torchvisions_builders_are_allowed_by_their_names(name: str) -> None:
    checks.check_network(f"torchvision.models.{name}", "base.net._target_")


@pytest.mark.parametrize("place", ["expert.net._target_", "router.net._target_", "gate._target_"])
def test_every_networks_target_is_checked(place: str) -> None:
    assert refusal(changed(place, "torch.load")).startswith(f"{place}: 'torch.load' is not an allowed network")


@pytest.mark.parametrize("key", ["_target_", "_partial_", "_args_", "_recursive_"])
@pytest.mark.parametrize("place", ["base.net", "gate", "trainer", "router.recipe.optimizer"])
def test_nothing_nested_is_built(place: str, key: str) -> None:
    for value, where in (({key: "os.system"}, f"{place}.x.{key}"), ([{key: "os.system"}], f"{place}.x.0.{key}")):
        assert refusal(changed(f"{place}.x", value)).startswith(f"{where} is not allowed")


def test_nothing_nested_is_built_from_the_command_line() -> None:
    assert sentence("+base.net.x={_target_:os.system,command:ls}").startswith("base.net.x._target_ is not allowed")


@pytest.mark.parametrize("target", ["torch.optim.Adagrad", "torch.load", "Adam", None])
def test_only_listed_optimisers_are_built(target: Any) -> None:
    said = refusal(changed("gate.recipe.optimizer._target_", target))
    assert said.startswith("gate.recipe.optimizer._target_ must be one of torch.optim.Adam, ")


# ---- the trainer


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("max_epochs", "epochs"),
        ("max_steps", "epochs"),
        ("min_epochs", "epochs"),
        ("max_time", "epochs"),
        ("gradient_clip_val", "clip"),
        ("accumulate_grad_batches", "batch_size"),
    ],
)
def test_what_a_recipe_owns_is_refused_naming_the_recipes_key(key: str, owner: str) -> None:
    assert refusal(changed(f"trainer.{key}", 3)) == (
        f"trainer.{key}: recipes own the training; set base.recipe.{owner} (or expert., router., gate.)"
    )


@pytest.mark.parametrize("prefix", ["", "+"])
def test_max_epochs_is_refused_however_it_is_written(prefix: str) -> None:
    assert sentence(f"{prefix}trainer.max_epochs=3") == (
        "trainer.max_epochs: recipes own the training; set base.recipe.epochs (or expert., router., gate.)"
    )


@pytest.mark.parametrize(
    "key",
    [
        "callbacks",
        "default_root_dir",
        "enable_checkpointing",
        "fast_dev_run",
        "logger",
        "plugins",
    ],
)
def test_what_the_command_sets_is_refused(key: str) -> None:
    assert refusal(changed(f"trainer.{key}", True)).startswith(f"trainer.{key} ")


# ---- quick


def test_wrong_configs_fail_before_torch_is_imported() -> None:
    # A process of its own: this one has torch already.
    code = (
        "import sys, moe, moe.train, moe.config, moe.checks, moe.taxonomy\n"
        "from moe.errors import ConfigError\n"
        "heavy = ('torch', 'torchvision', 'pytorch_lightning', 'wandb', 'matplotlib', 'sklearn', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "try:\n"
        "    moe.compose('gate.width=0')\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    root = Path(moe.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "gate.width must be a whole number above 0, not 0", "False"]


def test_what_folds_do_not_go_with() -> None:
    right = {"gate.fit_on": "folds", "data.splits.gate": 0}
    compose(*(f"{key}={value}" for key, value in right.items()))
    assert sentence("gate.fit_on=folds") == (
        "gate.fit_on=folds needs no images held out for gates; set data.splits.gate=0"
    )


def test_decay_is_for_optimisers_of_which_it_is_a_part_of_the_weight() -> None:
    adam = "base.recipe.decay is for torch.optim.SGD and AdamW; set optimizer.weight_decay instead"
    assert sentence("base.recipe.decay=0.002") == adam
    compose("base.recipe.decay=0.002", "base.recipe.optimizer._target_=torch.optim.AdamW")
    twice = ("recipe@base.recipe=fast", "base.recipe.optimizer.weight_decay=0.1")
    assert sentence(*twice) == "base.recipe.decay takes the place of optimizer.weight_decay; set that to 0"


def test_a_config_of_an_earlier_version_gets_what_it_lacks() -> None:
    values = compose("experiment=gates").plain()
    for section, name in (("base", "views"), ("expert", "init"), ("router", "source"), ("gate", "calibrate")):
        del values[section][name]
    del values["base"]["recipe"]["bias_lr"]
    assert from_plain(values) == compose("experiment=gates")


def test_only_truth_values_and_the_word_say_how_to_flip() -> None:
    assert sentence("base.recipe.augment.flip=1").startswith(
        "base.recipe.augment.flip must be true, false or alternating"
    )
