"""What `python -m moe.train --help` answers, by the template in `conf/hydra/help/moe.yaml`.

Hydra's own answer to it looks through every config group twice, its own included, which takes longer than all the rest.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from moe.config import hydra_errors
from moe.package import CONF, CONFIG_NAME

FLAGS = ("--help", "-h")


def asked(arguments: Sequence[str]) -> bool:
    """Whether a command line is `--help` and overrides; with Hydra's other flags Hydra answers."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    return bool(flags) and all(flag in FLAGS for flag in flags)


def text(overrides: Sequence[str] = ()) -> str:
    """The config groups, the values that `overrides` compose, and examples.

    Raises ConfigError for an override that Hydra cannot compose.
    """
    with hydra_errors(), initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(CONFIG_NAME, list(overrides), return_hydra_config=True)
        template = Template(composed.hydra.help.template)
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    return template.substitute(APP_CONFIG_GROUPS=_groups(CONF), CONFIG=OmegaConf.to_yaml(own))


def _groups(conf: Path) -> str:
    """A line a group of the project's own, `GROUP: OPTION, OPTION`, by name."""
    lines = []
    for folder in sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra"):
        options = sorted(file.stem for file in folder.glob("*.yaml"))
        lines.append(f"{folder.name}: {', '.join(options)}\n")
    return "".join(lines)
