"""Files of configs and values that are a user's own: what is wrong in them is said with file and line."""

from pathlib import Path

import pytest

import moe
from moe import overrides
from moe.config import hydra_errors
from moe.errors import ConfigError
from tests.test_overrides import sentence

GLOBAL = "# @package _global_\n"
FIRST_LINE = "the file's first line has to be '# @package _global_', which makes its keys the config's own"

NO_NAME = f"experiment is a name and holds no keys; where a file of conf/experiment does, {FIRST_LINE}"
CHOSEN = (
    "an option of {0} is chosen already; another is {0}={1} on the command line, without +, and 'override /{0}: {1}' "
    "in the defaults of a file"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{GLOBAL}gate: {{width: 64\n", "mine.yaml, line 3: expected ',' or '}', but got '<stream end>'"),
        (f"{GLOBAL}seed: 1\nseed: 2\n", "mine.yaml, line 3: found duplicate key seed"),
        (f"{GLOBAL}gate:\n\twidth: 3\n", "mine.yaml, line 3: found character '\\t' that cannot start any token"),
        (f'{GLOBAL}data: {{name: "\xe9"}}\n', "mine.yaml is no text in UTF-8: invalid continuation byte"),
        (f'{GLOBAL}data: {{name: "\x01"}}\n', "mine.yaml is no text in UTF-8: special characters are not allowed"),
        ("3\n", "mine.yaml holds no keys"),
        ("defaults:\n  - override /gate: mlp\nseed: 3\n", f"experiment/mine.yaml: {FIRST_LINE}"),
        ("seed: 3\n", NO_NAME),
        ("- seed\n", NO_NAME),
        ("", NO_NAME),
        (f"{GLOBAL}defaults:\n  - /gate: mlp\n", CHOSEN.format("gate", "mlp")),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(content.encode("latin-1"))
    place = "" if not said.startswith("mine.yaml") else f"{tmp_path}/experiment/"
    asked = f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"
    assert sentence(*asked) == place + said
    monkeypatch.chdir(tmp_path)  # inside which it is named from there on
    assert sentence(*asked) == (f"experiment/{said}" if said.startswith("mine.yaml") else said)


def test_a_file_that_is_not_chosen_hides_no_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "mlp.yaml").write_text("width: 64\ndepth: 1\n")
    (tmp_path / "gate" / "broken.yaml").write_text("width: {64\n")
    (tmp_path / "gate" / "latin.yaml").write_bytes(b"# \xe9\n")
    monkeypatch.setattr(overrides, "CONF", tmp_path)
    assert sentence("gate.widht=3") == "gate.widht: there is no such key; did you mean gate.width?"


def test_an_error_that_is_no_config_files_stays_what_it_is() -> None:
    with pytest.raises(UnicodeDecodeError), hydra_errors():
        b"\xe9".decode()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gate=mlp,conv", "gate=mlp,conv: with -m each of the options is run; without it choose one of them"),
        (
            "experiment=demo,gates",
            "experiment=demo,gates: with -m each of the options is run; without it choose one of ",
        ),
        (
            "net@base.net=vgg,fat_vgg",
            "net@base.net=vgg,fat_vgg: with -m each of the options is run; without it choose ",
        ),
        ("seed=1,2", "seed=1,2: with -m each of the values is run; as one value it is seed=[1,2]"),
        ("+experiment=demo,gates", "+experiment=demo,gates: with -m each of the options is run; without it choose one"),
        ("hydra/launcher=basic,processes", "hydra/launcher=basic,processes: choose one of them"),
        ("+experiment=demo", CHOSEN.format("experiment", "demo")),
        ("+gate=conv", CHOSEN.format("gate", "conv")),
    ],
)
def test_how_an_option_is_chosen(override: str, said: str) -> None:
    assert sentence(override).startswith(said)


def test_a_recipe_that_begins_with_nothing_says_how_it_does(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("epochs: 3\n")
    said = sentence(f"hydra.searchpath=[file://{tmp_path}]", "recipe@base.recipe=mine")
    assert said == "base.recipe.optimizer has no keys; a recipe's file begins with defaults: [adam, _self_]"


def test_a_file_of_another_group_needs_no_such_first_line(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "mine.yaml").write_text("defaults:\n  - override /net@base.net: vgg\nwidth: 3\n")
    assert FIRST_LINE not in sentence(f"hydra.searchpath=[file://{tmp_path}]", "gate=mine")


def test_values_of_ones_own_make_others_and_are_not_kept() -> None:
    found = moe.compose("+vars.epochs=7", "base.recipe.epochs=${vars.epochs}", "gate.width=${vars.epochs}")
    assert (found.base.recipe.epochs, found.gate.net["width"]) == (7, 7) and "vars" not in found.plain()
    with pytest.raises(ConfigError, match=r"Interpolation key 'vars\.epochs' not found"):
        moe.compose("base.recipe.epochs=${vars.epochs}")
    assert sentence("vars.epochs=7") == "vars.epochs: a value of your own is given with +, as +vars.epochs=VALUE"
    assert sentence("+vars=7") == "vars holds values of your own by name, as +vars.NAME=VALUE, not 7"
    assert sentence("gpus=2").startswith("gpus: there is no such key") and "vars" not in sentence("gpus=2")
