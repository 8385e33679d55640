"""What the frozen networks say out of fold."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from moe import frozen
from moe.calibration import temperatures
from moe.config import compose
from moe.data.canonical import assemble
from moe.data.splits import folds
from moe.stages import fold_name
from moe.taxonomy import parse


def test_of_each_image_the_network_of_its_fold_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network says its own number and the image's only pixel."""
    views = set()

    def logits(store: Any, network: Any, split: str, images: Tensor, *rest: Any) -> Tensor:
        views.add(rest[-1])
        pixels = images.flatten().float()
        return torch.stack([torch.full_like(pixels, network.record["number"]), pixels], dim=1)

    monkeypatch.setattr(frozen, "logits", logits)
    own = ("seed=3", "data.splits.seed=5", "base.views=flip")
    config = compose("experiment=demo", "gate.fit_on=folds", "gate.folds=3", "data.splits.gate=0", *own)
    pixels, labels = torch.arange(30).byte().view(-1, 1, 1, 1), torch.arange(30) % 3
    images = assemble("tiny", "abc", (pixels, labels, pixels[:3] + 100, labels[:3])).train
    networks = {fold_name("base", n): SimpleNamespace(record={"number": n, "kind": "base"}) for n in range(3)}
    entries: Any = {"base": SimpleNamespace(record={"number": 9, "kind": "base"}), **networks}
    nothing: Any = None

    def said(split: str) -> Tensor:
        return frozen.said_of(config, nothing, entries, "base", split, images, nothing, torch.device("cpu"))

    expected = folds(images, 3, config.data.splits.seed)
    assert set(expected.tolist()) == {0, 1, 2}
    assert torch.equal(said(frozen.FOLDS)[:, 0].long(), expected)
    assert torch.equal(said(frozen.FOLDS)[:, 1], images.images.flatten().float())
    assert (said("val")[:, 0] == 9).all()
    assert views == {"flip"}


def test_experts_are_calibrated_by_what_the_networks_of_folds_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four images in two folds those networks give the first class log-odds 2, and are right of three."""

    def logits(store: Any, network: Any, split: str, images: Tensor, *rest: Any) -> Tensor:
        return torch.tensor([network.record["says"]]).expand(len(images), -1)

    monkeypatch.setattr(frozen, "logits", logits)
    config = compose("experiment=demo", "gate.fit_on=folds", "gate.folds=2", "data.splits.gate=0")
    tree = parse({"a": [0], "b": [1]}, "xy")
    pixels = torch.arange(4).byte().view(-1, 1, 1, 1)
    images = assemble("tiny", "xy", (pixels, torch.tensor([0, 0, 0, 1]), pixels[:2] + 100, torch.arange(2))).train
    of_all = {"kind": "base", "inputs": {"outputs": [0, 1]}}
    networks = {fold_name("base", n): SimpleNamespace(record={**of_all, "says": [2.0, 0.0]}) for n in range(2)}
    entries: Any = {"base": SimpleNamespace(record={**of_all, "says": [0.0, 9.0]}), **networks}
    nothing: Any = None
    device = torch.device("cpu")
    found = temperatures(config, nothing, tree, entries, frozen.FOLDS, images, nothing, device)
    # At a temperature T the first class has 1 / (1 + exp(-2 / T)), which is 3/4 where 2 / T is the log of 3.
    assert found.tolist() == pytest.approx([2 / math.log(3), 1.0, 1.0], rel=1e-4)
