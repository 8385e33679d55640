import pytest
import torch
from torch import Tensor

from moe.config import Augment
from moe.data.batches import Batches, Examples, Pixels

RAW = Pixels((0.0,), (1.0,))


def numbered(count: int, *along: Tensor) -> Examples:
    """One-pixel images whose pixel, and whose target less 100, is their number."""
    index = torch.arange(count)
    return Examples(index.byte().view(-1, 1, 1, 1), index + 100, along)


def order(batches: Batches) -> list[int]:
    """The numbers of the images of one pass."""
    return [number - 100 for batch in batches for number in batch[1].tolist()]


def batches(
    count: int = 23, size: int = 5, epoch: int = 0, seed: int | None = 7, rank: int = 0, world: int = 1
) -> Batches:
    return Batches(numbered(count), RAW, size, seed, epoch=lambda: epoch, rank=rank, world=world)


# ---- order


def test_every_image_comes_once_an_epoch() -> None:
    for epoch in range(3):
        assert sorted(order(batches(epoch=epoch))) == list(range(23))


def test_the_last_batch_holds_the_rest() -> None:
    # 23 images by 5: four whole batches and one of three.
    assert [len(batch[1]) for batch in batches()] == [5, 5, 5, 5, 3]
    assert len(batches()) == 5
    assert len(batches(count=25)) == 5 and len(batches(count=1)) == 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = order(batches(epoch=3))
    torch.rand(5)  # whatever else was drawn
    assert order(batches(epoch=3)) == first
    assert order(batches(epoch=3, size=4)) == first
    # Epoch 3 is the same without those before it.
    epochs = iter(range(5))
    running = Batches(numbered(23), RAW, 5, 7, epoch=lambda: next(epochs))
    orders = [order(running) for _ in range(5)]
    assert orders[3] == first
    # Other epochs and other seeds give others, and none the images' own order.
    everything = [*map(tuple, orders), *(tuple(order(batches(epoch=e, seed=8))) for e in range(5)), tuple(range(23))]
    assert len(set(everything)) == 11


def test_iterating_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    list(batches())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_a_seed_the_order_is_the_examples_own() -> None:
    for epoch in range(2):
        assert order(batches(seed=None, epoch=epoch)) == list(range(23))


@pytest.mark.parametrize("seed", [7, 2**32 - 1])
def test_stage_seeds_up_to_32_bits_are_taken(seed: int) -> None:
    assert sorted(order(batches(seed=seed, epoch=10_000))) == list(range(23))


def test_epochs_of_neighbouring_seeds_are_not_each_others() -> None:
    assert order(batches(seed=7, epoch=1)) != order(batches(seed=8, epoch=0))


# ---- several processes


@pytest.mark.parametrize("seed", [7, None])
def test_two_processes_share_the_images(seed: int | None) -> None:
    one, two = (order(batches(count=24, seed=seed, rank=rank, world=2)) for rank in range(2))
    assert len(one) == len(two) == 12
    assert sorted(one + two) == list(range(24))
    # Each takes every second image of the whole order.
    whole = order(batches(count=24, seed=seed))
    assert (one, two) == (whole[::2], whole[1::2])


def test_in_training_all_processes_have_as_many_batches() -> None:
    # 23 images for two processes: the first of the order comes again at its end, so that both have 12.
    ranks = [batches(rank=rank, world=2, size=4) for rank in range(2)]
    orders = [order(rank) for rank in ranks]
    whole = order(batches())
    assert sorted(orders[0] + orders[1]) == sorted([*range(23), whole[0]])
    assert [len(rank) for rank in ranks] == [len(list(rank)) for rank in ranks] == [3, 3]


def test_in_evaluation_no_image_comes_twice() -> None:
    ranks = [batches(seed=None, rank=rank, world=2, size=4) for rank in range(2)]
    assert sorted(order(ranks[0]) + order(ranks[1])) == list(range(23))
    # 12 images are 3 batches of 4; 11 are 3, the last of 3.
    assert [len(rank) for rank in ranks] == [len(list(rank)) for rank in ranks] == [3, 3]


# ---- what a batch holds


def test_what_goes_along_stays_with_its_image() -> None:
    tens, table = torch.arange(23) * 10, torch.arange(23).float()[:, None].expand(-1, 3)
    seen = []
    for images, targets, ten, row in Batches(numbered(23, tens, table), RAW, 5, seed=7):
        number = targets - 100
        assert torch.equal((images.flatten() * 255).round().long(), number)
        assert torch.equal(ten, number * 10)
        assert torch.equal(row, number.float()[:, None].expand(-1, 3))
        seen += number.tolist()
    assert sorted(seen) == list(range(23))


def test_pixels_are_scaled_by_hand_and_laid_out_channels_last() -> None:
    # (51/255 - .5) / .25 = -1.2; (255/255 - .1) / .5 = 1.8.
    images = torch.tensor([51, 255], dtype=torch.uint8).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    scaled = Pixels((0.5, 0.1), (0.25, 0.5))(images)
    assert scaled.dtype == torch.float32 and scaled.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(scaled[:, 0], torch.full((3, 4, 5), -1.2))
    torch.testing.assert_close(scaled[:, 1], torch.full((3, 4, 5), 1.8))


def test_the_resident_images_are_never_written_to() -> None:
    examples = numbered(23)
    before = examples.images.clone()
    list(Batches(examples, Pixels((0.5,), (0.5,)), 5, 7, Augment(flip=True, shift=0, cutout=1)))
    assert torch.equal(examples.images, before)


def test_examples_move_with_all_that_goes_along() -> None:
    moved = numbered(3, torch.zeros(3)).to(torch.device("meta"))
    assert {t.device.type for t in (moved.images, moved.targets, *moved.along)} == {"meta"}
    assert len(numbered(3)) == 3


# ---- augmentation

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


def test_without_augmentation_or_a_seed_images_stay_as_they_are() -> None:
    assert not any(flips(7, 0, None)) and not any(flips(7, 0, Augment(flip=False, shift=0, cutout=0)))
    assert not any(flips(None, 0, Augment(flip=True, shift=0, cutout=0)))


@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 4, 4)])
def test_images_normalised_once_are_those_normalised_batch_by_batch(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (13, *shape), dtype=torch.uint8, generator=generator)
    examples, pixels = Examples(images, torch.arange(13)), Pixels((0.4,), (0.2,))
    once = list(Batches(examples, pixels, 5, seed=1, augment=Augment(flip=True, shift=1, cutout=2)))
    monkeypatch.setattr("moe.data.batches.RESIDENT_BYTES", 0)
    each = list(Batches(examples, pixels, 5, seed=1, augment=Augment(flip=True, shift=1, cutout=2)))
    for one, other in zip(once, each, strict=True):
        assert torch.equal(one[0], other[0]) and one[0].stride() == other[0].stride()
