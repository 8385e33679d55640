"""What the frozen networks say out of fold."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from moe import frozen
from moe.config import compose
from moe.data.canonical import assemble
from moe.data.splits import folds
from moe.stages import fold_name


def test_of_each_image_the_network_of_its_fold_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network says its own number and the image's only pixel."""

    def logits(store: Any, network: Any, split: str, images: Tensor, *rest: Any) -> Tensor:
        pixels = images.flatten().float()
        return torch.stack([torch.full_like(pixels, network.record["number"]), pixels], dim=1)

    monkeypatch.setattr(frozen, "logits", logits)
    config = compose(
        "experiment=demo", "gate.fit_on=folds", "gate.folds=3", "data.splits.gate=0", "seed=3", "data.splits.seed=5"
    )
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
