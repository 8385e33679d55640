"""Augmentation and normalisation of whole batches on the batch's device, each image on its own.

Shapes: B images, C channels, H height, W width. All are pure functions: the same generator state
gives the same result, and the images passed in stay as they are.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from moe.errors import ConfigError

if TYPE_CHECKING:
    from moe.schema import Augment


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image (B, C, H, W), left to right, with probability one half."""
    return mirror(images, torch.rand(len(images), generator=generator, device=images.device) < 0.5)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror, left to right, those of the images (B, C, H, W) that are to be (B,)."""
    return _laid_out_like(images, torch.where(mirrored[:, None, None, None], images.flip(-1), images))


def alternating(count: int, seed: int, epoch: int) -> Tensor:
    """Which (count,) images are mirrored in an epoch: half of them, by chance, in the first, then each in turn.

    So two epochs show every image both ways, where chance would show half of them one way twice.
    Source: Jordan 2024, arXiv 2404.00498, section 3.6.
    """
    first = torch.rand(count, generator=Generator().manual_seed(seed)) < 0.5
    return first ^ (epoch % 2 == 1)


def shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move each image (B, C, H, W) by -pixels..pixels down and across, each way drawn uniformly.

    What comes in at an edge is the image's reflection there, the edge itself not repeated: the same
    as padding by reflection and cropping at random. Raises ConfigError for too small an image.
    """
    count, _, height, width = images.shape
    if pixels >= min(height, width):
        raise ConfigError(f"recipe.augment.shift={pixels} must be below the images' size, {height}x{width} pixels")
    device = images.device
    offsets = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator, device=device)
    rows = _reflect(torch.arange(height, device=device) + offsets[0], height)[:, None, :, None]
    columns = _reflect(torch.arange(width, device=device) + offsets[1], width)[:, None, None, :]
    moved = images.gather(2, rows.expand_as(images)).gather(3, columns.expand_as(images))
    return _laid_out_like(images, moved)


def cutout(images: Tensor, size: int, generator: Generator, colour: "Tensor | int" = 0) -> Tensor:
    """Fill one size x size square of each image (B, C, H, W) with one colour, a number or one a channel (C, 1, 1).

    Its centre is uniform over the image's pixels, so that near an edge part of the square falls
    outside; the paper found that to matter. Of an even size the centre is the pixel right of and
    below the middle. The paper's colour is the mean one of all images, which is zero where these are normalised.
    Source: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
    Cutout".
    """
    count, _, height, width = images.shape
    rows = _in_interval(count, height, size, generator, images.device)
    columns = _in_interval(count, width, size, generator, images.device)
    square = (rows[:, :, None] & columns[:, None, :])[:, None]
    return _laid_out_like(images, torch.where(square, colour, images))


def augment(
    images: Tensor,
    augment: "Augment",
    generator: Generator,
    mirrored: Tensor | None = None,
    colour: "Tensor | int" = 0,
) -> Tensor:
    """Apply what is on in a recipe's `augment` to images (B, C, H, W): shift, flip, cutout, which fills in `colour`.

    Where `mirrored` (B,) is given it says which images are flipped; without it chance does.
    """
    if augment.shift > 0:
        images = shift(images, augment.shift, generator)
    if mirrored is not None:
        images = mirror(images, mirrored)
    elif augment.flip:
        images = flip(images, generator)
    if augment.cutout > 0:
        images = cutout(images, augment.cutout, generator, colour)
    return images


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn uint8 images (B, C, H, W) into float32: x / 255, then (x - mean) / std by channel.

    A list of one value serves every channel; the memory format stays. Raises ConfigError where a
    list has neither one value nor C.
    """
    scaled = images / 255
    if set(mean) == {0} and set(std) == {1}:
        return scaled
    for key, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, images.shape[1]):
            raise ConfigError(f"data.{key} has {len(values)} values, but the images have {images.shape[1]} channels")
    return scaled.sub_(_by_channel(tuple(mean), scaled.device)).div_(_by_channel(tuple(std), scaled.device))


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Fold -(size-1)..2(size-1) back into 0..size-1: -1 becomes 1, size becomes size-2."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()


def _in_interval(count: int, length: int, size: int, generator: Generator, device: torch.device) -> Tensor:
    """Bool (count, length): True at `size` positions around a random one, where they exist."""
    start = torch.randint(length, (count, 1), generator=generator, device=device) - size // 2
    positions = torch.arange(length, device=device)
    return (positions >= start) & (positions < start + size)


@functools.lru_cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """The values as a tensor (1 or C, 1, 1) on the device: kept, since to send them there holds up a GPU's step."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)[:, None, None]


def _laid_out_like(images: Tensor, changed: Tensor) -> Tensor:
    """The changed images in the memory format of the original ones."""
    # Images of one channel or one pixel are laid out both ways; plain contiguous serves them.
    if not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last):
        return changed.contiguous(memory_format=torch.channels_last)
    return changed.contiguous()
