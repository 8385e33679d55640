"""Overrides that are wrong are answered in a sentence, and before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

import moe
from moe.config import compose
from moe.overrides import config_error
from tests.configs import sentence


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
        ("gate.lr=1", "gate.lr: there is no such key; did you mean gate.recipe.optimizer.lr?"),
        (
            "base.recipe.lr=1",
            "base.recipe.lr: there is no such key; did you mean one of base.recipe.muon.lr, base.recipe.optimizer.lr?",
        ),
        (
            "epohcs=1",
            "epohcs: there is no such key; did you mean one of base.recipe.epochs, expert.recipe.epochs, "
            "gate.recipe.epochs, router.recipe.epochs?",
        ),
        ("+base.recipe.epoch=1", "base.recipe.epoch: there is no such key; did you mean base.recipe.epochs?"),
        ("trainer=cuda", "trainer=cuda: there is no such option; did you mean gpu?"),
        ("mixture.routing=null", "mixture.routing must be one of hard, soft, none, not null; did you mean none?"),
        ("base.recipe.schedule=null", "base.recipe.schedule must be one of constant, cosine, linear, not null"),
        ("logger=tensorboard", "logger=tensorboard: there is no such option; there are csv, none, wandb"),
    ],
)
def test_a_misspelt_override_is_answered_with_the_nearest(override: str, expected: str) -> None:
    assert sentence(override).startswith(expected)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("net=fast_vgg", "net: an option of conf/net is chosen by place, as net@base.net=OPTION"),
        (
            "recipe@expert=fast",
            "recipe@expert: an option of conf/recipe is chosen by place, as recipe@base.recipe=OPTION; did you mean "
            "recipe@expert.recipe?",
        ),
        ("gate.net=mlp", "gate.net: there is no such key; an option of conf/gate is gate=OPTION"),
        ("base.net=m", "base.net holds keys of its own, not 'm'; an option of conf/net is net@base.net=OPTION"),
        (
            "gate.recipe=adam",
            "gate.recipe holds keys of its own, not 'adam'; an option of conf/recipe is recipe@gate.recipe=OPTION",
        ),
        ("mixture=soft", "mixture holds keys of its own, not 'soft'; set one of mixture.cascade, mixture.routing"),
        (
            "base.recipe.lookahead=true",
            "base.recipe.lookahead holds keys of its own, not True; set base.recipe.lookahead={every:VALUE,step:VALUE}"
            ", or null for none",
        ),
        (
            "base.recipe.muon=false",
            "base.recipe.muon holds keys of its own, not False; set base.recipe.muon={lr:VALUE,momentum:VALUE,bf16:"
            "VALUE}, or null for none",
        ),
        ("match=width", "match: there is no such key; did you mean base.match?"),
        ("router=nework", "router=nework: there is no such option; did you mean network?"),
        (
            "base.recipe.optimizer=adam",
            "base.recipe.optimizer holds keys of its own, not 'adam'; set one of base.recipe.optimizer._target_, "
            "base.recipe.optimizer.lr, ",
        ),
        ("data.mean=0.5", "data.mean must be a list, as [0.5], not 0.5"),
        ("data.mean=null", "data.mean must be a list, not None"),
        (
            "lr=1",
            "lr: there is no such key; did you mean one of base.recipe.muon.lr, base.recipe.optimizer.lr, "
            "expert.recipe.muon.lr, expert.recipe.optimizer.lr, gate.recipe.optimizer.lr, "
            "router.recipe.muon.lr, router.recipe.optimizer.lr?",
        ),
        ("trainer.accelerator=tpu", "trainer.accelerator must be one of auto, cpu, gpu, cuda, not 'tpu'"),
        ("trainer.accelerator=mps", "trainer.accelerator must be one of auto, cpu, gpu, cuda, not 'mps'"),
    ],
)
def test_what_is_set_as_it_cannot_be_is_answered_with_how(override: str, expected: str) -> None:
    assert sentence(override).startswith(expected)


def test_what_is_like_no_key_is_answered_with_none() -> None:
    assert sentence("data.num_workers=4") == "data.num_workers: there is no such key"
    assert sentence("+xyzzy=1") == "xyzzy: there is no such key; a value of your own is +vars.NAME=VALUE"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("demo", "demo is no override; one is KEY=VALUE, as experiment=demo"),
        ("data.root=~/cifar", "data.root=~/cifar: write $HOME in place of ~, which the shell leaves there as it is"),
        ("taxonomy.branches={a:[0,1", "taxonomy.branches={a:[0,1 cannot be read; the shell takes quotes, braces and "),
        ("data.root=/a (1)", "data.root=/a (1) cannot be read; "),
        ("experiment=", "experiment=: there is no such option"),
    ],
)
def test_what_is_no_override_is_named_whole(override: str, expected: str) -> None:
    assert sentence(override).startswith(expected)


@pytest.mark.parametrize("sign", ["", "+"])
@pytest.mark.parametrize(("section", "own"), [("expert", "expert.init=scratch"), ("router", "router=network")])
def test_of_a_network_that_is_the_bases_no_key_is_set(section: str, own: str, sign: str) -> None:
    assert sentence(f"{sign}{section}.net.size=m") == (
        f"{section}.net.size: {section}.net is base.net (net@{section}.net=base); set base.net.size, or choose a "
        f"network by net@{section}.net=OPTION, with {own}"
    )


def test_of_a_network_of_its_own_a_key_is_set_or_answered_as_the_bases() -> None:
    fat = ("net@expert.net=fat_vgg", "expert.init=scratch", "recipe@expert.recipe=adam")
    assert compose(*fat, "expert.net.hidden=3").expert.net["hidden"] == 3
    assert sentence(*fat, "expert.net.size=m") == "expert.net.size: the chosen option of expert.net has no such key"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Ambiguous value for argument 'gate.width=4,8'\n1. To use it as a list, use key=[value1,value2]",
            "gate.width=4,8: with -m each of the values is run; as one value it is gate.width=[4,8]",
        ),
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


@pytest.mark.parametrize(("override", "key"), [("~base=None", "base"), ("~gate.width=7", "gate.width")])
def test_what_deletes_another_value_is_said_without_it(override: str, key: str) -> None:
    assert sentence(override) == f"{override} deletes nothing: {key} has another value"


@pytest.mark.parametrize("override", ["mixture.cascade=${base}", "gate.weights=" + "x" * 5000])
def test_of_a_value_that_is_a_whole_section_or_long_the_middle_is_left_out(override: str) -> None:
    said = sentence(override)
    assert len(said) == 300 + len(" ... ") + 150
    assert said.startswith((f"{override.split('=')[0]}: Value '{{'net'", "gate.weights must be one of joint, "))
    assert said.endswith(("could not be converted to Float", "xxx'"))


@pytest.mark.parametrize("override", ["experiment=null", "foo", "gate={"])
def test_what_hydra_cannot_read_is_a_config_error_of_one_line(override: str) -> None:
    assert sentence(override)


def test_a_value_that_is_required_is_asked_for_by_its_key() -> None:
    assert sentence("data=folder", "taxonomy.branches={x:[0],y:[1]}") == (
        "data.root has no value; give it one with data.root=VALUE"
    )


@pytest.mark.parametrize(
    "key",
    [
        *("trainer.accelerator", "trainer.precision", "trainer.enable_progress_bar", "trainer.log_every_n_steps"),
        *("base.net", "gate.weights", "router.recipe.epochs", "mixture.routing"),
    ],
)
def test_a_value_that_is_required_cannot_be_taken_away(key: str) -> None:
    assert sentence(f"~{key}") == f"{key} has no value; give it one with {key}=VALUE"


def test_an_optimiser_cannot_be_taken_away() -> None:
    said = "expert.recipe.optimizer has no keys; a recipe's file begins with defaults: [adam, _self_]"
    assert sentence("~expert.recipe.optimizer") == said


def test_wrong_configs_fail_before_torch_is_imported() -> None:
    # A process of its own: this one has torch already.
    code = (
        "import sys, moe, moe.train, moe.config, moe.checks, moe.taxonomy\n"
        "from moe.errors import ConfigError\n"
        "heavy = ('torch', 'torchvision', 'pytorch_lightning', 'wandb', 'matplotlib', 'sklearn', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "wrong = ('gate.width=0', 'base.net._target_=moe.nets.vgg.VG', '+base.net.sise=s')\n"
        "for override in (*wrong, '+gate.recipe.optimizer.beta=0'):\n"
        "    try:\n"
        "        moe.compose(override)\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    root = Path(moe.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "gate.width must be a whole number above 0, not 0",
        "base.net._target_: there is no VG in moe.nets.vgg",
        "base.net.sise: moe.nets.fast_vgg.FastVGG takes no sise; did you mean size?",
        "gate.recipe.optimizer: torch.optim.Adam takes lr, betas, eps, weight_decay, amsgrad, foreach, maximize, "
        "capturable, differentiable, fused, decoupled_weight_decay, not beta; what it does not take is removed with "
        "~gate.recipe.optimizer.beta",
        "False",
    ]
