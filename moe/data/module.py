"""The LightningDataModule that every network of a mixture shares."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor, nn

from moe.data.batches import EVALUATED, Batches, Examples, Pixels, at_once
from moe.data.canonical import DataSet, Images
from moe.data.splits import SplitIndices, folds
from moe.data.subset import filter_labels, with_others
from moe.schema import Recipe

# As many images of 32 x 32 as the paper takes; more change no filter by much.
PREPARED = 5000
COPIED = 1000  # so many images at a time


class ImageDataModule(LightningDataModule):
    """The splits of one data set, filtered to the labels in `targets` and renumbered to a network's outputs.

    `fit_on` is the split to learn from and `select_on` the one that choices read; `along` holds, for a split,
    tensors that go with its images in the data set's order (frozen outputs). With `rest`, images of all other labels
    are there too, as one more target, so many that they are that part of the others, drawn by `seed`. With `fold`
    (its number, how many, the seed that divides) that fold's images are not learnt from. Batches are made on the
    device.
    """

    def __init__(
        self,
        dataset: DataSet,
        indices: SplitIndices,
        pixels: Pixels,
        targets: Mapping[int, int],
        recipe: Recipe,
        seed: int,
        fit_on: str = "train",
        select_on: str = "val",
        along: Mapping[str, tuple[Tensor, ...]] | None = None,
        rest: float | None = None,
        fold: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.dataset, self.indices, self.pixels = dataset, indices, pixels
        self.targets, self.recipe, self.seed = dict(targets), recipe, seed
        self.fit_on, self.select_on, self.along = fit_on, select_on, dict(along or {})
        self.rest, self.fold = rest, fold
        self._resident: dict[str, Examples] = {}

    def examples(self, split: str) -> Examples:
        """The images of one split (train, gate, val or test) whose labels are in `targets`."""
        index, targets = self._chosen(split)
        return Examples(self._images(split, index), targets, tuple(t[index] for t in self.along.get(split, ())))

    def count(self, split: str) -> int:
        """How many `examples` a split has."""
        return len(self._chosen(split)[0])

    def _images(self, split: str, index: Tensor) -> Tensor:
        """Those of a split's images, copied once: a data set may be half of what memory there is.

        In channels-last memory, in which batches are picked and made fp32 more than twice as fast.
        """
        whole = self.dataset.test if split == "test" else self.dataset.train
        where = index if split == "test" else getattr(self.indices, split)[index]
        made = torch.empty((len(where), *whole.images.shape[1:]), dtype=torch.uint8, memory_format=torch.channels_last)
        for part, to in zip(torch.split(where, COPIED), torch.split(made, COPIED), strict=True):
            to.copy_(whole.images[part])
        return made

    def _chosen(self, split: str) -> tuple[Tensor, Tensor]:
        """Which of a split's images are examples, and their targets."""
        images = without_pixels(self.dataset, self.indices, split)
        index, targets = filter_labels(images.labels, self.targets)
        others = torch.ones(len(images.labels), dtype=torch.bool)
        others[index] = False
        if self.fold is not None and split == self.fit_on:
            number, count, seed = self.fold
            learnt = folds(images, count, seed) != number
            index, targets, others = index[learnt[index]], targets[learnt[index]], others & learnt
        if self.rest is not None:
            outside = others.nonzero().squeeze(1)
            index, targets = with_others(index, targets, outside, self.rest, self.seed, len(self.targets))
        return index, targets

    def prepare_network(self, net: nn.Module) -> None:
        """Show a network that starts from the data (`prepare`) the first images that it will learn from."""
        prepare: Any = getattr(net, "prepare", None)
        if prepare is not None:
            count = at_once(PREPARED, self.dataset.train.shape[-2:])
            prepare(self.pixels(self._images(self.fit_on, self._chosen(self.fit_on)[0][:count])))

    @property
    def batch_size(self) -> int:
        """How many images a step learns from; Lightning's Tuner sets it before training."""
        return self.recipe.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self.recipe = replace(self.recipe, batch_size=size)

    def train_dataloader(self) -> Batches:
        recipe = self.recipe
        trainer: Any = self.trainer
        rank, world = self._part()
        # With `overfit_batches` the same batches, as they are, in every epoch.
        same = trainer is not None and trainer.overfit_batches > 0
        return Batches(
            self._on_device(self.fit_on),
            self.pixels,
            recipe.batch_size,
            self.seed,
            None if same else recipe.augment,
            epoch=lambda: 0 if trainer is None or same else trainer.current_epoch,
            rank=rank,
            world=world,
            even=bool(recipe.even_batches),
        )

    def val_dataloader(self) -> Batches:
        return self._whole(self.select_on)

    def test_dataloader(self) -> Batches:
        return self._whole("test")

    def predict_dataloader(self) -> Batches:
        return self._whole("test")

    def _whole(self, split: str) -> Batches:
        """This process's part of a split's examples, in their order, each once.

        Raises ValueError where what goes along with images is of other splits alone.
        """
        if self.along and split not in self.along:
            raise ValueError(f"stored outputs are there of {', '.join(self.along)}, not of {split}")
        examples, (rank, world) = self._on_device(split), self._part()
        size = at_once(EVALUATED, examples.images.shape[-2:])
        return Batches(examples, self.pixels, size * world, rank=rank, world=world)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch as it is, since it was made there."""
        return batch

    def _part(self) -> tuple[int, int]:
        """Which of how many processes this is; without a Trainer it is alone."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _on_device(self, split: str) -> Examples:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if split not in self._resident:
            self._resident[split] = self.examples(split)
        if self._resident[split].targets.device != device:
            self._resident[split] = self._resident[split].to(device)
        return self._resident[split]


def split_sizes(dataset: DataSet, indices: SplitIndices) -> dict[str, int]:
    """How many images each split has."""
    own = {split: len(getattr(indices, split)) for split in ("train", "gate", "val")}
    return {**own, "test": len(dataset.test.labels)}


def without_pixels(dataset: DataSet, indices: SplitIndices, split: str) -> Images:
    """As `split_images`, but with no image: to pick from tens of thousands takes longer than all else here."""
    whole = dataset.test if split == "test" else dataset.train
    index = torch.arange(len(whole.labels)) if split == "test" else getattr(indices, split)
    return Images(whole.images[:0], whole.labels[index], whole.digests[index.numpy()])


def split_images(dataset: DataSet, indices: SplitIndices, split: str) -> Images:
    """One split's images, labels and digests, in canonical order."""
    if split == "test":
        return dataset.test
    index: torch.Tensor = getattr(indices, split)
    train = dataset.train
    return Images(train.images[index], train.labels[index], train.digests[index.numpy()])
