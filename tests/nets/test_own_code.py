"""Networks and gates of a user's own that cannot be used: a sentence with the line that is to be mended."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import moe.nets
from moe import trial
from moe.errors import ConfigError
from moe.nets.build import build_network
from moe.stages import Stage
from moe.taxonomy import parse

HEAD = "from torch import nn\nclass Own(nn.Sequential):\n"
BUILT = "base.net: moe.nets.mine.Own cannot be built: "


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of `moe.nets.mine`, in a folder that is taken for that of moe.nets."""
    monkeypatch.setattr(moe.nets, "__path__", [*moe.nets.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "moe.nets.mine", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "mine.py"
    sys.modules.pop("moe.nets.mine", None)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import nowhere_at_all",
            "base.net._target_: moe.nets.mine cannot be imported: ModuleNotFoundError: No module named "
            "'nowhere_at_all' (moe/nets/mine.py, line 1)",
        ),
        (
            "sise = 3\nsize",
            "base.net._target_: moe.nets.mine cannot be imported: NameError: name 'size' is not defined "
            "(moe/nets/mine.py, line 2)",
        ),
        ("class Other: pass", "base.net._target_: there is no Own in moe.nets.mine"),
        (
            f"{HEAD}    def __init__(self, in_shape, num_classes):\n        num_classes + 'a'",
            f"{BUILT}unsupported operand type(s) for +: 'int' and 'str' (moe/nets/mine.py, line 4)",
        ),
        (
            f"{HEAD}    def __init__(self, in_shape, num_classes):\n        {{}}['width']",
            f"{BUILT}KeyError: 'width' (moe/nets/mine.py, line 4)",
        ),
        (
            f"{HEAD}    def __init__(self, in_shape, num_classes):\n        assert num_classes < 3",
            f"{BUILT}AssertionError (moe/nets/mine.py, line 4)",
        ),
        # What it says itself is a sentence.
        (
            f"{HEAD}    def __init__(self, in_shape, num_classes):\n        raise ValueError('width must be\\n even')",
            f"{BUILT}width must be even",
        ),
        (
            f"{HEAD}    def __init__(self, in_shape, num_classes):\n"
            "        super().__init__(nn.Flatten(), nn.LazyLinear(num_classes))",
            "base.net: moe.nets.mine.Own has lazy layers; give each the sizes that it has to have",
        ),
    ],
)
def test_what_is_wrong_in_a_network_is_said_with_its_line(code: str, said: str, mine: Path) -> None:
    mine.write_text(code)
    with pytest.raises(ConfigError) as raised:
        build_network({"_target_": "moe.nets.mine.Own"}, (1, 4, 4), 5, "base.net")
    assert str(raised.value) == said


def stage(outputs: int) -> Stage:
    """A base that learns to tell so many classes of images of 1x4x4 apart, by the network of `moe.nets.mine`."""
    root = parse({"a": [0, 1], "b": [2]}, ["0", "1", "2"]).root
    inputs = {
        "kind": "expert",
        "in_shape": [1, 4, 4],
        "outputs": list(range(outputs)),
        "net": {"_target_": "moe.nets.mine.Own"},
        "recipe": {},
    }
    return Stage("base", "base", root, inputs)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (
            "self.fc(images)",
            "the network cannot take images of 1x4x4: AttributeError: 'Own' object has no attribute 'fc' ",
        ),
        (
            "super().forward(images.reshape(2, 3))",
            "the network cannot take images of 1x4x4: shape '[2, 3]' is invalid ",
        ),
        ("images.flatten(1)[:, :4]", "the network gives logits of (2, 4) for two images, not of (2, 3)"),
        ("images.flatten(1)[:, :2]", "the network gives logits of (2, 2) for two images, not of (2, 3)"),
        ("images.flatten(1)[:, :3, None]", "the network gives logits of (2, 3, 1) for two images, not of (2, 3)"),
        ("[images]", "in training the network returns list, not logits alone"),
    ],
)
def test_what_a_network_says_of_images_is_tried_before_training(forward: str, said: str, mine: Path) -> None:
    mine.write_text(
        f"{HEAD}    def __init__(self, in_shape, num_classes):\n        super().__init__()\n"
        f"    def forward(self, images):\n        return {forward}\n"
    )
    with pytest.raises(ConfigError) as raised:
        trial.network(stage(3))
    assert str(raised.value).startswith(f"base.net: {said}")
    assert str(raised.value).endswith("(moe/nets/mine.py, line 6)") == ("cannot take" in said)


def test_a_network_of_as_many_logits_as_classes_passes(mine: Path) -> None:
    mine.write_text(
        f"{HEAD}    def __init__(self, in_shape, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(16, num_classes))\n"
    )
    assert trial.network(stage(3))(torch.empty(2, 1, 4, 4, device="meta")).shape == (2, 3)
