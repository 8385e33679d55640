import pytest
import torch
from torch import Tensor

from moe.data.batches import Batches, Examples, Pixels, least
from moe.schema import Augment

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


def test_even_batches_are_as_many_and_differ_by_an_image_at_most() -> None:
    def even(count: int, size: int, **place: int) -> Batches:
        return Batches(numbered(count), RAW, size, 7, even=True, **place)

    assert [len(batch[1]) for batch in even(23, 5)] == [5, 5, 5, 4, 4]
    # 241 by 240 would be a step on one image.
    assert [len(batch[1]) for batch in even(241, 240)] == [121, 120] and len(even(241, 240)) == 2
    assert [len(batch[1]) for batch in even(20, 5)] == [5, 5, 5, 5]
    assert [len(batch[1]) for batch in even(3, 5)] == [3]
    # The order is the same; of a last batch of 4 two processes have 2 each, of a first of 5 three and two.
    assert order(even(23, 5)) == order(batches())
    assert [even(23, 5, rank=rank, world=2).share(4) for rank in range(2)] == [1.0, 1.0]
    assert [even(23, 5, rank=rank, world=2).share(0) for rank in range(2)] == [1.2, 0.8]


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
@pytest.mark.parametrize(("count", "size", "world"), [(24, 6, 2), (23, 5, 2), (23, 6, 3), (23, 11, 4)])
def test_the_processes_batches_are_together_those_of_one(count: int, size: int, world: int, seed: int | None) -> None:
    whole = [batch[1].tolist() for batch in batches(count, size, seed=seed)]
    ranks = [list(batches(count, size, seed=seed, rank=rank, world=world)) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(whole)} == {len(batches(count, size, rank=1, world=world))}
    for number, expected in enumerate(whole):
        parts = [rank[number][1].tolist() for rank in ranks]
        dealt = [batches(count, size, rank=r, world=world).share(number) > 0 for r in range(world)]
        assert sorted(n for part, own in zip(parts, dealt, strict=True) if own for n in part) == sorted(expected)


def test_a_batch_is_dealt_image_by_image() -> None:
    # Seven images by five: 0 to 4, then 5 and 6.
    ranks = [[b[1].tolist() for b in batches(7, 5, seed=None, rank=r, world=3)] for r in range(3)]
    assert ranks == [[[100, 103], [105]], [[101, 104], [106]], [[102], []]]


def test_while_learning_a_process_without_an_image_has_anothers_that_counts_nothing() -> None:
    (*_, alone), (*_, other) = (list(batches(11, 5, rank=rank, world=2)) for rank in range(2))
    # Eleven images by five: the last batch is one image.
    assert alone[1].tolist() == other[1].tolist() == [order(batches(11, 5))[-1] + 100]
    assert [batches(11, 5, rank=rank, world=2).share(2) for rank in range(2)] == [2.0, 0.0]


def test_shares_make_the_mean_of_the_processes_means_that_of_the_batch() -> None:
    # Of five images three and two: 3 x 2 / 5 and 2 x 2 / 5; of one, all and nothing.
    assert [batches(6, 5, rank=rank, world=2).share(0) for rank in range(2)] == [1.2, 0.8]
    assert [batches(6, 5, rank=rank, world=2).share(1) for rank in range(2)] == [2.0, 0.0]
    # 50 images over four processes: 13, 13, 12, 12; an even batch counts one each, as does one process alone.
    assert [batches(50, 50, rank=rank, world=4).share(0) for rank in range(4)] == [1.04, 1.04, 0.96, 0.96]
    assert batches(48, 48, rank=3, world=4).share(0) == batches().share(0) == batches().share(4) == 1.0
    # Of each batch, the last of one image too: the processes' means, by their shares, as the mean over all of it.
    parts = [batches(11, 5, rank=rank, world=2) for rank in range(2)]
    for number, (whole, *theirs) in enumerate(zip(batches(11, 5), *parts, strict=True)):
        shared = [part.share(number) * own[1].double().mean() for part, own in zip(parts, theirs, strict=True)]
        assert (sum(shared) / 2).item() == pytest.approx(whole[1].double().mean().item())


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


@pytest.mark.parametrize("count", [6, 1500])  # more than are summed at once
@pytest.mark.parametrize("resident", [0, 2**27])
def test_what_is_cut_out_has_the_mean_colour_of_all_images(
    resident: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the first channel 0 and 102 in equal parts, of the second 255 alone: of 51 / 255 and 1 a half less, over 0.25.
    monkeypatch.setattr("moe.data.batches.RESIDENT_BYTES", resident)
    images = torch.full((count, 2, 3, 3), 255, dtype=torch.uint8)
    images[: count // 2, 0], images[count // 2 :, 0] = 0, 102
    cut = Augment(flip=False, shift=0, cutout=9)  # whatever its centre, all of the image
    examples = Examples(images, torch.arange(count))
    batches = list(Batches(examples, Pixels((0.5,), (0.25,)), count // 2, seed=0, augment=cut))
    for made, *_ in batches:
        torch.testing.assert_close(made, torch.tensor([-1.2, 2.0])[:, None, None].expand_as(made))


def test_the_resident_images_are_never_written_to() -> None:
    examples = numbered(23)
    before = examples.images.clone()
    list(Batches(examples, Pixels((0.5,), (0.5,)), 5, 7, Augment(flip=True, shift=0, cutout=1)))
    assert torch.equal(examples.images, before)


def test_examples_move_with_all_that_goes_along() -> None:
    moved = numbered(3, torch.zeros(3)).to(torch.device("meta"))
    assert {t.device.type for t in (moved.images, moved.targets, *moved.along)} == {"meta"}
    assert len(numbered(3)) == 3


@pytest.mark.parametrize("picked", [1, 10, 1000])  # each batch of 5 by itself, two at once, all
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 4, 4)])
def test_images_normalised_once_are_those_normalised_batch_by_batch(
    shape: tuple[int, ...], picked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (13, *shape), dtype=torch.uint8, generator=generator)
    examples, pixels = Examples(images, torch.arange(13)), Pixels((0.4,), (0.2,))
    once = list(Batches(examples, pixels, 5, seed=1, augment=Augment(flip=True, shift=1, cutout=2)))
    monkeypatch.setattr("moe.data.batches.RESIDENT_BYTES", 0)
    monkeypatch.setattr("moe.data.batches.PICKED", picked)
    each = list(Batches(examples, pixels, 5, seed=1, augment=Augment(flip=True, shift=1, cutout=2)))
    for one, other in zip(once, each, strict=True):
        assert torch.equal(one[0], other[0]) and one[0].stride() == other[0].stride()


def test_small_batches_are_picked_together_as_many_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # 23 images by 5 are 5, 5, 5, 5 and 3: two at once have 10, and a third would have made it 15 of 12.
    made: list[int] = []
    pick = Batches._images
    monkeypatch.setattr(Batches, "_images", lambda self, index: made.append(len(index)) or pick(self, index))
    monkeypatch.setattr("moe.data.batches.PICKED", 12)
    assert order(batches(seed=None)) == list(range(23)) and made == [10, 10, 3]
    made.clear()
    monkeypatch.setattr("moe.data.batches.PICKED", 4)  # a batch is whole, however large
    assert order(batches(seed=None)) == list(range(23)) and made == [5, 5, 5, 5, 3]


@pytest.mark.parametrize(
    ("count", "size", "even", "world", "expected"),
    [
        (80, 79, False, 1, 1),  # 79 and 1
        (80, 79, True, 1, 40),
        (23, 5, False, 1, 3),
        (23, 5, True, 1, 4),
        (3, 5, False, 1, 3),
        (80, 77, False, 2, 1),  # of 3 one process has 2
        (80, 79, False, 2, 1),  # of 1 both have the same
        (80, 77, True, 2, 20),
    ],
)
def test_the_fewest_images_that_a_process_learns_from_at_once(
    count: int, size: int, even: bool, world: int, expected: int
) -> None:
    assert least(count, size, even, world) == expected
    examples = Examples(torch.zeros(count, 1, 1, 1, dtype=torch.uint8), torch.zeros(count))
    every = [
        len(targets)
        for rank in range(world)
        for _, targets in Batches(examples, Pixels((0.0,), (1.0,)), size, 0, rank=rank, world=world, even=even)
    ]
    assert min(every) == expected
