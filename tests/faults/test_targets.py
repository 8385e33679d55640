"""`_target_`s of what is no network or optimiser: refused before anything is built, wherever they stand."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from moe import command_line
from moe.config import compose
from moe.errors import ConfigError
from moe.targets import NETWORKS, OPTIMIZERS

pytestmark = pytest.mark.fault("_target_ of os.system and its like")
EVIL = ("os.system", "shutil.copyfile", "builtins.open", "torch.load", "torch.hub.load", "subprocess.Popen")
PLACES = (
    "base.net._target_={0}",
    "gate._target_={0}",
    "expert.recipe.optimizer._target_={0}",
    "+base.net.x={{_target_:{0}}}",
    "+base.net.x={{y:[{{_target_:{0}}}]}}",
    "base.net={{_target_:{0},command:x}}",
    "++gate.recipe.optimizer={{_target_:torch.optim.Adam,lr:{{_target_:{0}}}}}",
    "base.net={{_target_:{0}}},{{_target_:moe.nets.vgg.VGG}}",
    "router.net._target_='${{oc.decode:{0}}}',torchvision.models.resnet18",
    "+evil={{_target_:{0}}}",
    "+trainer.profiler={{_target_:{0}}}",
    "hydra.launcher._target_={0}",
    "hydra.sweeper._target_={0}",
    "hydra.launcher.n_jobs={{_target_:{0}}}",
    "hydra.sweeper.params={{a:{{_target_:{0}}}}}",
    "+hydra.callbacks.x._target_={0}",
    "+hydra.callbacks.x={{_target_:{0},command:x}}",
    "+hydra.job_logging.handlers.x={{class:{0},args:[x]}}",
    "+hydra.job_logging.handlers.x.class={0}",
    "+hydra.hydra_logging.formatters.x.class={0}",
)


@pytest.mark.parametrize("target", EVIL)
def test_no_place_of_the_command_line_takes_them(target: str) -> None:
    for place in PLACES:
        with pytest.raises(ConfigError, match=r"not allowed|not an allowed|must be one of"):
            command_line.check([place.format(target)])


@pytest.mark.parametrize("target", EVIL[::3])
@pytest.mark.parametrize("key", sorted(NETWORKS | OPTIMIZERS))
def test_swept_by_its_name_it_is_refused_by_its_own_job(key: str, target: str) -> None:
    """So that the sweep's other jobs run; Hydra builds nothing of these keys, and a job's config is checked first."""
    command_line.check([f"{key}=torchvision.models.resnet18,{target}"])
    with pytest.raises(ConfigError, match=rf"^{re.escape(key)}.*(not an allowed network|must be one of)"):
        compose("experiment=demo", f"{key}={target}")


@pytest.mark.parametrize("override", [place for place in PLACES if "hydra." not in place and "," not in place])
def test_a_config_with_them_is_refused_too(override: str) -> None:
    """Also where no command line was looked at: in a notebook, or in a file of the config's."""
    with pytest.raises(ConfigError, match=r"not allowed|not an allowed|must be one of|no such key|'evil' not in"):
        compose("experiment=demo", override.format("os.system"))


@pytest.mark.parametrize(
    "override",
    [
        "hydra.launcher.n_jobs='${oc.decode:\"{_target_:os.system}\"}'",
        "hydra.launcher.n_jobs='${oc.create:${x}}'",
        "+hydra.callbacks.x=${base.net}",
        "+hydra.job_logging.handlers.x=${base.net}",
        "+base.net._partial_=true",
        "+base.net._args_=[1]",
        "+gate.recipe.optimizer._recursive_=false",
        "+base.net._convert_=all",
    ],
)
def test_what_leads_to_one_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"not allowed|not read as a config"):
        command_line.check([override])


def test_what_is_wanted_passes() -> None:
    command_line.check(
        [
            *("experiment=demo", "net@base.net=torchvision", "base.net._target_=torchvision.models.resnet18"),
            *("router.net._target_=torchvision.models.resnet18,torchvision.models.vgg11_bn", "seed=range(3)"),
            *("base.recipe.optimizer._target_=torch.optim.SGD", "hydra.run.dir=runs/${seed}", "~sweep", "seed=["),
            *("hydra/launcher=processes", "hydra.launcher.n_jobs=2", "hydra.job_logging.root.level=DEBUG", "--cfg"),
            "gate.recipe.optimizer.lr=tag(log, interval(0.0001, 0.01))",
        ]
    )


def test_the_command_builds_nothing(tmp_path: Path, train: Callable[..., tuple[int, str]]) -> None:
    """A callback is what Hydra would build first, before any code of ours sees the config."""
    canary = tmp_path / "canary"
    evil = (f"+hydra.callbacks.x._target_=os.mkdir +hydra.callbacks.x.path={canary}").split()
    code, said = train(tmp_path / "run", *evil)
    assert (code, said.count("\n")) == (2, 1) and said.startswith("moe: hydra.callbacks.x._target_ is not allowed")
    assert not canary.exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["experiment=demo", "-plan"], "plan=VALUE"),  # argparse reads --package lan
        (["--experiment", "demo"], "experiment=VALUE"),
        (["--seed=1"], "seed=1"),
    ],
)
def test_an_option_that_is_none_is_refused(arguments: list[str], right: str) -> None:
    given = next(argument for argument in arguments if argument.startswith("-"))
    said = rf"^there is no option {given}; a value is given without dashes, as {right}$"
    with pytest.raises(ConfigError, match=said):
        command_line.check(arguments)


def test_hydras_own_options_are_not() -> None:
    command_line.check(["-m", "--multirun", "-c", "job", "--cfg=job", "--config-dir", "-odd", "--help", "seed=-1"])


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_without_a_name_would_be_the_current_one(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} must be a folder's path, not ''$"):
        command_line.check([f"{key}="])
    command_line.check([f"{key}=runs/a"])
