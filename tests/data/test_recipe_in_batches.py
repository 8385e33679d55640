"""What a recipe says of batches is what a training is given."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.schema import Augment
from tests.modules.quick import short_recipe

# Six images of two pixels, i and 10 + i, each of a class of its own.
PIXELS = torch.stack([torch.arange(6), torch.arange(10, 16)], dim=1).byte().view(6, 1, 1, 2)


def module(**recipe: Any) -> ImageDataModule:
    tested = PIXELS + 100
    dataset = assemble("two", "abcdef", (PIXELS, torch.arange(6), tested, torch.arange(6)))
    train = replace(dataset.train, images=PIXELS, labels=torch.arange(6))
    nothing = torch.arange(0)
    return ImageDataModule(
        replace(dataset, train=train),
        SplitIndices(torch.arange(6), nothing, nothing),
        Pixels((0.0,), (1.0,)),
        {label: label for label in range(6)},
        short_recipe(batch_size=4, **recipe),
        seed=5,
    )


def epoch(data: ImageDataModule, number: int) -> list[tuple[Tensor, Tensor]]:
    where = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        current_epoch=number, global_rank=0, world_size=1, strategy=where, overfit_batches=0.0
    )
    return list(data.train_dataloader())


def by_target(batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The pixels (6, 2) of an epoch's images, in the order of their targets."""
    images, targets = (torch.cat(each) for each in zip(*batches, strict=True))
    return (images.reshape(6, 2) * 255).round()[targets.argsort()]


def test_images_are_augmented_as_the_recipe_says() -> None:
    plain = PIXELS.view(6, 2).float()
    assert torch.equal(by_target(epoch(module(), 0)), plain)
    data = module(augment=Augment(flip="alternating", shift=0, cutout=0))
    first, second = (by_target(epoch(data, number)) for number in range(2))
    # Mirrored in one epoch or in the other, each image for itself.
    assert torch.equal(second, first.flip(-1)) and all(torch.equal(e.sort(1).values, plain) for e in (first, second))
    assert not torch.equal(first, plain) and not torch.equal(second, plain)


@pytest.mark.parametrize(("even", "sizes"), [(True, [3, 3]), (False, [4, 2]), (None, [4, 2])])
def test_batches_are_even_where_the_recipe_says_so(even: bool | None, sizes: list[int]) -> None:
    assert [len(targets) for _, targets in epoch(module(even_batches=even), 0)] == sizes


def test_a_network_is_prepared_by_the_first_images(monkeypatch: pytest.MonkeyPatch) -> None:
    class Prepared(nn.Module):
        def prepare(self, images: Tensor) -> None:
            self.seen = (images * 255).round().reshape(-1, 2).tolist()

    monkeypatch.setattr("moe.data.module.at_once", lambda count, size: 3)
    net = Prepared()
    module().prepare_network(net)
    assert net.seen == [[0, 10], [1, 11], [2, 12]]
