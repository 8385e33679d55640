"""Whole batches made on the training device from one resident uint8 tensor."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moe.data.augment import alternating, augment, normalise
from moe.schema import Augment


@dataclass(frozen=True)
class Examples:
    """Images uint8 (N, C, H, W), targets (N,), and tensors that go along with them image by image."""

    images: Tensor
    targets: Tensor
    along: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Examples":
        along = tuple(tensor.to(device) for tensor in self.along)
        return Examples(self.images.to(device), self.targets.to(device), along)


# Images that take no more bytes than this in fp32 are normalised once and not in every epoch: a gate's few are.
RESIDENT_BYTES = 2**27


EVALUATED = 500  # so many images of 32 x 32 go through a network at once in evaluation
PICKED = 1000  # so many are picked, and if need be normalised, at once, and then dealt to small batches


def at_once(count: int, size: Sequence[int]) -> int:
    """How many images of (H, W) have as many pixels as `count` of 32 x 32: no more than those, and one at least.

    What a network holds of a batch grows with its pixels, and is to fit where that many small images do.
    """
    return max(1, min(count, count * 32 * 32 // math.prod(size)))


@dataclass(frozen=True)
class Pixels:
    """How pixels become a network's input: mean and deviation on the 0-1 scale, one number or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Images uint8 (B, C, H, W) as fp32 in channels-last memory."""
        return normalise(images, self.mean, self.std).contiguous(memory_format=torch.channels_last)

    def resident(self, images: Tensor) -> Tensor | None:
        """All images uint8 (N, C, H, W) as by a call, or None where they would take more than `RESIDENT_BYTES`."""
        return self(images) if 4 * images.numel() <= RESIDENT_BYTES else None

    def mean_of(self, images: Tensor) -> Tensor:
        """The mean colour (C, 1, 1) of images uint8 (N, C, H, W), at least one, as they are by a call, in fp32."""
        # In parts, since a sum of uint8 copies them to what it sums in.
        parts = [part.sum(dim=(0, 2, 3), dtype=torch.int64) for part in torch.split(images, 1000)]
        mean = torch.stack(parts).sum(dim=0).double()[None, :, None, None] / (images.numel() // images.shape[1])
        return normalise(mean, self.mean, self.std)[0].float()


def sizes(count: int, batch_size: int, even: bool) -> list[int]:
    """How many of `count` images each batch has: `batch_size` and in the last what is left, or all nearly equal."""
    number = -(-count // batch_size)
    if not even:
        return [min(batch_size, count - batch * batch_size) for batch in range(number)]
    each, more = divmod(count, max(1, number))
    return [each + (batch < more) for batch in range(number)]


def least(count: int, batch_size: int, even: bool, world: int = 1) -> int:
    """The fewest of `count` images that any of `world` processes learns from at once, each with its part: `Batches`."""
    return max(1, min(sizes(count, batch_size, even)) // world)


class Batches:
    """One pass over `examples` each time it is iterated: (images fp32 (B, C, H, W), targets (B,), *along).

    With a `seed` the order and the augmentation are drawn anew each epoch from (seed, epoch) alone, so that
    any epoch can be made again without those before it; without one, the order is the examples'.

    Each of `world` processes gets its part of every batch: every world-th image from `rank` on. Together their
    batches are those of a single process, and all have as many. Where a batch is too short for all, a process
    without an image gets none, or, while learning, one that is another's, which it counts for nothing: see `share`.

    With `even`, batches are as many but nearly equal: 23 images by 5 are 5, 5, 5, 4 and 4, where otherwise the last is
    of 3. A step on a handful of images, at a rate meant for a thousand, undoes what the others learnt.
    """

    def __init__(
        self,
        examples: Examples,
        pixels: Pixels,
        batch_size: int,
        seed: int | None = None,
        augment: Augment | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
        even: bool = False,
    ) -> None:
        self.examples, self.pixels = examples, pixels
        self.seed, self.augment, self.epoch = seed, augment, epoch
        self.rank, self.world = rank, world
        self._sizes = sizes(len(examples), batch_size, even)
        self._normalised = pixels.resident(examples.images)
        cut = augment is not None and augment.cutout > 0
        self._colour: Tensor | int = pixels.mean_of(examples.images) if cut else 0

    def __len__(self) -> int:
        return len(self._sizes)

    def share(self, number: int) -> float:
        """What to multiply this process's mean over batch `number` with, so that all processes' mean is the batch's.

        A batch of 5 is dealt to two processes as 3 and 2: shares of 1.2 and 0.8.
        """
        size = self._sizes[number]
        return len(range(self.rank, size, self.world)) * self.world / size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        examples, device = self.examples, self.examples.images.device
        order = torch.arange(len(examples))
        generator = None
        if self.seed is not None:
            # The order is drawn on the CPU, so that it is the same whatever the device.
            epoch_seed = (self.seed * 1_000_003 + self.epoch()) % 2**63
            order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(epoch_seed))
            # Far apart, so that no process draws for images in one epoch what another does in the next, nor what the
            # order was drawn by; by a number that is so in its lower 32 bits too, since of a seed the CPU's generator
            # takes no others.
            generator = torch.Generator(device).manual_seed((epoch_seed + (self.rank + 1) * 2_654_435_761) % 2**63)
        mirrored = None
        if self.augment is not None and self.augment.flip == "alternating" and self.seed is not None:
            mirrored = alternating(len(examples), self.seed, self.epoch()).to(device)
        own = [self._own(whole) for whole in torch.split(order.to(device), self._sizes)]
        for some in _together(own, at_once(PICKED, examples.images.shape[-2:])):
            picked, counts = torch.cat(some), [len(index) for index in some]
            rows = (examples.targets, *examples.along)
            made = (self._images(picked), *(tensor.index_select(0, picked) for tensor in rows))
            for index, images, *others in zip(some, *(torch.split(part, counts) for part in made), strict=True):
                if self.augment is not None and generator is not None:
                    turned = None if mirrored is None else mirrored[index]
                    images = augment(images, self.augment, generator, turned, self._colour)
                yield images, *others

    def _own(self, whole: Tensor) -> Tensor:
        """Which of a batch's images (B,) this process takes: its own, or while learning, without any, another's."""
        index = whole[self.rank :: self.world]
        # A network in training need not take a batch of nothing, and all processes must take every step.
        return whole[-1:] if not len(index) and self.seed is not None else index

    def _images(self, index: Tensor) -> Tensor:
        """Some images as fp32 (B, C, H, W) in channels-last memory, the same whichever way they are made."""
        images = self.examples.images if self._normalised is None else self._normalised
        # Whole rows of memory are picked twice as fast as by [index], of uint8 images ten times.
        picked = images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
        return self.pixels(picked) if self._normalised is None else picked


def _together(batches: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Batches' indices (B,) in their order: those of as many batches as have `most` images between them, or of one."""
    some: list[Tensor] = []
    count = 0
    for batch in batches:
        if some and count + len(batch) > most:
            yield some
            some, count = [], 0
        some.append(batch)
        count += len(batch)
    if some:
        yield some
