"""Where the package is, and the configs that Hydra composes."""

from pathlib import Path

PACKAGE = Path(__file__).parent
# An installed package carries conf/ inside itself; a checkout has it beside the package.
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
CONFIG_NAME = "config"  # with which file in there all begins
