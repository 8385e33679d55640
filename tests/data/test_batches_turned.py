"""What batches make of each image: turned by chance or every other epoch, drawn from seeds of their own."""

import pytest
import torch

from moe.data.batches import Batches, Examples, Pixels
from moe.schema import Augment

RAW = Pixels((0.0,), (1.0,))
TWO_PIXELS = torch.tensor([[10, 20]], dtype=torch.uint8).view(1, 1, 1, 2).expand(64, -1, -1, -1)


def flips(seed: int | None, epoch: int, augment: Augment | None) -> list[bool]:
    """Which of 64 equal images came mirrored, by their number."""
    examples = Examples(TWO_PIXELS, torch.arange(64))
    found = [False] * 64
    for images, targets in Batches(examples, RAW, 10, seed, augment, epoch=lambda: epoch):
        for image, target in zip(images, targets.tolist(), strict=True):
            found[target] = image.flatten()[0] > image.flatten()[1]
    return found


def test_augmentation_is_drawn_anew_each_epoch_from_seed_and_epoch() -> None:
    flip = Augment(flip=True, shift=0, cutout=0)
    first = flips(7, 0, flip)
    # Of 64 fair flips 12 or fewer, or 52 or more, would come once in three million times.
    assert 12 < sum(first) < 52
    assert flips(7, 0, flip) == first
    assert len({tuple(flips(seed, epoch, flip)) for seed in (7, 8) for epoch in range(3)}) == 6


def test_processes_draw_apart_in_this_epoch_and_the_next() -> None:
    def drawn(rank: int, epoch: int) -> list[list[bool]]:
        """Whether each image came mirrored, batch by batch in the order that they came."""
        examples, flip = Examples(TWO_PIXELS, torch.arange(64)), Augment(flip=True, shift=0, cutout=0)
        ways = Batches(examples, RAW, 64, 7, flip, lambda: epoch, rank, 4)
        return [(images[:, 0, 0, 0] > images[:, 0, 0, 1]).tolist() for images, _ in ways]

    # Sixteen fair flips each: that two of the eight are alike would come by chance once in 2,340 times.
    assert len({str(drawn(rank, epoch)) for rank in range(4) for epoch in range(2)}) == 8


def test_order_and_augmentation_are_drawn_by_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noted(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            seeds.append(seed % 2**32)  # a CPU's generator takes no more of it
            return super().manual_seed(seed)

    seeds: list[int] = []
    monkeypatch.setattr(torch, "Generator", Noted)
    for rank, epoch in ((rank, epoch) for rank in range(4) for epoch in range(2)):
        flip = Augment(flip=True, shift=0, cutout=0)
        list(Batches(Examples(TWO_PIXELS, torch.arange(64)), RAW, 64, 7, flip, lambda at=epoch: at, rank, 4))
    orders, turns = set(seeds[::2]), set(seeds[1::2])
    # The processes share an order an epoch, and each turns its own images.
    assert len(orders) == 2 and len(turns) == 8 and not orders & turns


def test_without_augmentation_or_a_seed_images_stay_as_they_are() -> None:
    assert not any(flips(7, 0, None)) and not any(flips(7, 0, Augment(flip=False, shift=0, cutout=0)))
    assert not any(flips(None, 0, Augment(flip=True, shift=0, cutout=0)))


def test_batches_alternate_flips_by_epoch_image_by_image() -> None:
    images = torch.randint(256, (6, 1, 2, 2), generator=torch.Generator().manual_seed(0)).byte()
    examples = Examples(images, torch.arange(6))
    epoch = 0
    recipe = Augment(flip="alternating", shift=0, cutout=0)
    batches = Batches(examples, Pixels((0.0,), (1.0,)), 4, seed=5, augment=recipe, epoch=lambda: epoch)

    def seen() -> torch.Tensor:
        """This epoch's images in the examples' order."""
        parts = list(batches)
        return torch.cat([p[0] for p in parts])[torch.cat([p[1] for p in parts]).argsort()]

    first = seen()
    epoch = 1
    assert torch.equal(seen(), first.flip(3))
    assert not torch.equal(first, images / 255) and not torch.equal(first, (images / 255).flip(3))
    epoch = 2
    assert torch.equal(seen(), first)
