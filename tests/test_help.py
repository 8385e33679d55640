"""What `moe.train --help` says, which is the project's own answer."""

from pathlib import Path

import pytest
from commands import Commands

from moe import help
from moe.errors import ConfigError


def test_it_says_what_hydras_own_answer_would(commands: Commands, tmp_path: Path) -> None:
    # With one more place for configs, an empty one here, Hydra answers.
    hydras = commands.run(["-m", "moe.train", "--help", f"--config-dir={tmp_path}"], cwd=tmp_path)
    assert hydras.returncode == 0, hydras.stderr
    own = commands.run(["-m", "moe.train", "--help"], cwd=tmp_path)
    assert own.returncode == 0, own.stderr
    assert own.stdout == hydras.stdout
    assert "\nexperiment: base, demo, experts, flat, gates, held_out, notebook, router, soft, verdict\n" in own.stdout
    assert not list(tmp_path.iterdir())


def test_values_are_those_that_the_overrides_compose() -> None:
    values = help.text(["experiment=demo", "seed=7"]).split("== Values: KEY=VALUE ==\n")[1]
    assert "\nseed: 7\n" in values
    assert "name: digits" in values
    assert "\nhydra:" not in values


def test_a_wrong_override_is_named() -> None:
    with pytest.raises(ConfigError, match="gate=nosuch"):
        help.text(["gate=nosuch"])


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--help"], True),
        (["experiment=demo", "-h"], True),
        (["experiment=demo"], False),
        (["--hydra-help"], False),
        (["--help", "--config-dir=more"], False),
        ([], False),
    ],
)
def test_hydras_other_flags_are_hydras(arguments: list[str], asked: bool) -> None:
    assert help.asked(arguments) is asked
