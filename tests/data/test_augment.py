import itertools

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from moe.data.augment import alternating, augment, cutout, flip, normalise, shift
from moe.errors import ConfigError
from moe.schema import Augment


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int, size: tuple[int, int, int] = (3, 6, 8)) -> Tensor:
    return torch.randint(256, (n, *size), generator=generator(7)).byte()


def test_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    images = pictures(1000)
    flipped = flip(images, generator())
    mirrored = [i for i in range(1000) if torch.equal(flipped[i], images[i].flip(2))]
    kept = [i for i in range(1000) if torch.equal(flipped[i], images[i])]
    assert sorted(mirrored + kept) == list(range(1000))
    # The count is binomial: mean 500, standard deviation sqrt(1000 / 4) = 15.8; five of them.
    assert 421 <= len(mirrored) <= 579


@pytest.mark.parametrize("pixels", [1, 3])
def test_shift_is_reflecting_padding_and_a_random_crop(pixels: int) -> None:
    images = pictures(400)
    shifted = shift(images, pixels, generator())
    padded = pad(images.float(), [pixels] * 4, mode="reflect").byte()
    offsets = itertools.product(range(2 * pixels + 1), repeat=2)
    crops = torch.stack([padded[:, :, y : y + 6, x : x + 8] for y, x in offsets])
    found = (crops == shifted).flatten(2).all(2)  # (offsets, images)
    assert (found.sum(0) == 1).all()
    # Every offset comes up: a given one of 49 is absent from 400 draws with probability 3e-4.
    assert found.any(1).all()


def test_shift_worked_by_hand() -> None:
    # The row 1 2 3 moved by -1, 0, 1 pixels, the edge reflected: 2 3 2, 1 2 3, 2 1 2.
    row = torch.tensor([1, 2, 3]).view(1, 1, 1, 3).expand(50, 1, 3, 3).clone()
    shifted = shift(row, 1, generator())
    assert {tuple(image[0, 0].tolist()) for image in shifted} == {(2, 3, 2), (1, 2, 3), (2, 1, 2)}
    down = shift(row.transpose(2, 3), 1, generator())
    assert {tuple(image[0, :, 0].tolist()) for image in down} == {(2, 3, 2), (1, 2, 3), (2, 1, 2)}


def test_shift_refuses_what_cannot_be_reflected() -> None:
    shift(pictures(2), 5, generator())
    with pytest.raises(ConfigError, match=r"augment\.shift=6 must be below the images' size, 6x8"):
        shift(pictures(2), 6, generator())


def test_cutout_zeroes_one_square_cut_off_at_the_edges() -> None:
    # An axis of 8 and a size of 4: the centre c = 0..7 puts the square at c-2 .. c+1, so the rows
    # [first, last + 1) that are left of it are these eight, each as likely as the others.
    spans = [(0, 2), (0, 3), (0, 4), (1, 5), (2, 6), (3, 7), (4, 8), (5, 8)]
    cut = cutout(torch.ones(6400, 2, 8, 8), 4, generator())
    found = dict.fromkeys(itertools.product(spans, spans), 0)
    for image in cut:
        ys, xs = (image[0] == 0).nonzero(as_tuple=True)
        square = ((int(ys.min()), int(ys.max()) + 1), (int(xs.min()), int(xs.max()) + 1))
        expected = torch.ones(2, 8, 8)
        expected[:, slice(*square[0]), slice(*square[1])] = 0
        assert torch.equal(image, expected)
        found[square] += 1
    # 64 squares, 100 images each on average, standard deviation 9.9; five of them.
    assert all(50 <= count <= 150 for count in found.values())


def test_cutout_of_odd_size_is_centred() -> None:
    # An axis of 3 and a size of 1: exactly one pixel, any of the nine.
    cut = cutout(torch.ones(200, 1, 3, 3), 1, generator())
    assert (cut.sum((1, 2, 3)) == 8).all()
    assert len({tuple(image.flatten().tolist()) for image in cut}) == 9


def test_cutout_fills_each_channel_with_its_own_colour() -> None:
    cut = cutout(torch.zeros(20, 2, 4, 4), 2, generator(), torch.tensor([0.25, 0.75])[:, None, None])
    square = cut[:, 0] == 0.25
    assert square.flatten(1).any(dim=1).all() and not square.flatten(1).all(dim=1).any()
    assert torch.equal(cut[:, 1], 0.75 * square) and torch.equal(cut[:, 0], 0.25 * square)


def test_augment_applies_what_is_on_in_order() -> None:
    images = pictures(30).float()
    everything = augment(images, Augment(flip=True, shift=2, cutout=3), generator())
    draws = generator()
    by_hand = cutout(flip(shift(images, 2, draws), draws), 3, draws)
    assert torch.equal(everything, by_hand)
    nothing = augment(images, Augment(flip=False, shift=0, cutout=0), generator())
    assert torch.equal(nothing, images)
    only_flip = augment(images, Augment(flip=True, shift=0, cutout=0), generator())
    assert torch.equal(only_flip, flip(images, generator()))


def test_augment_is_pure_and_follows_its_generator() -> None:
    images = pictures(30)
    before = images.clone()
    how = Augment(flip=True, shift=2, cutout=3)
    one, two, other = (augment(images, how, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(images, before) and one.dtype == torch.uint8


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_format_stays(layout: torch.memory_format) -> None:
    images = pictures(4).contiguous(memory_format=layout)
    how = Augment(flip=True, shift=2, cutout=3)
    changed = augment(images, how, generator())
    assert changed.is_contiguous(memory_format=layout)
    assert normalise(images, [0.5], [0.25]).is_contiguous(memory_format=layout)
    plain = augment(images.contiguous(), how, generator())
    assert torch.equal(changed, plain)


def test_normalise_worked_by_hand() -> None:
    # 51 / 255 = 0.2 and 255 / 255 = 1. First channel: (0.2 - 0.5) / 0.25 = -1.2 and
    # (1 - 0.5) / 0.25 = 2; second: (0.2 - 0.2) / 0.5 = 0 and (1 - 0.2) / 0.5 = 1.6.
    images = torch.tensor([[51, 255], [51, 255]], dtype=torch.uint8).view(1, 2, 1, 2)
    normal = normalise(images, [0.5, 0.2], [0.25, 0.5])
    expected = torch.tensor([[-1.2, 2.0], [0.0, 1.6]]).view(1, 2, 1, 2)
    torch.testing.assert_close(normal, expected)
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normalise(images, [0.5], [0.25])[0, 1], expected[0, 0])
    assert torch.equal(normalise(images, [0.0], [1.0]), images / 255)
    with pytest.raises(ConfigError, match=r"data\.mean has 3 values, but the images have 2"):
        normalise(images, [0.1, 0.2, 0.3], [0.5])


def test_alternating_flips_show_every_image_both_ways_in_two_epochs() -> None:
    first, second, third = (alternating(1000, seed=3, epoch=epoch) for epoch in range(3))
    assert torch.equal(second, ~first) and torch.equal(third, first)
    assert 421 <= int(first.sum()) <= 579  # as of `flip`
    assert not torch.equal(first, alternating(1000, seed=4, epoch=0))


def test_augment_mirrors_what_it_is_told_to() -> None:
    images = pictures(4).float()
    told = torch.tensor([True, False, False, True])
    out = augment(images, Augment(flip="alternating", shift=0, cutout=0), generator(), told)
    assert torch.equal(out[told], images[told].flip(3)) and torch.equal(out[~told], images[~told])
