from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from moe.data.batches import Batches, Pixels
from moe.data.canonical import DataSet, assemble
from moe.data.module import ImageDataModule, split_images
from moe.data.splits import SplitIndices, folds
from moe.data.subset import among, by_group, by_position, filter_labels, with_others
from moe.modules.fit import fit
from moe.modules.recipe import RecipeModule
from moe.schema import Augment, Recipe

RAW = Pixels((0.0,), (1.0,))
RECIPE = Recipe(
    optimizer={"_target_": "torch.optim.SGD", "lr": 0.1},
    schedule="constant",
    warmup=0.0,
    label_smoothing=0.0,
    augment=Augment(flip=False, shift=0, cutout=0),
    epochs=3,
    batch_size=4,
    select="last",
    bias_lr=1.0,
)
# Labels of twelve training images and four test images, of four classes.
TRAIN, TEST = [0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 1, 0], [3, 2, 1, 0]
INDICES = SplitIndices(torch.arange(6), torch.tensor([6, 7, 8]), torch.tensor([9, 10, 11]))


def dataset() -> DataSet:
    """One-pixel images in canonical order; training image i has pixel i, test image i pixel 100 + i."""
    images = torch.arange(16).byte().view(-1, 1, 1, 1)
    data = assemble("tiny", "abcd", (images[:12], torch.zeros(12).long(), images[12:], torch.zeros(4).long()))
    train = replace(data.train, images=images[:12], labels=torch.tensor(TRAIN))
    test = replace(data.test, images=images[12:] + 88, labels=torch.tensor(TEST))
    return replace(data, train=train, test=test)


def module(targets: dict[int, int], along: dict[str, tuple[Tensor, ...]] | None = None, **more: Any) -> ImageDataModule:
    return ImageDataModule(dataset(), INDICES, RAW, targets, RECIPE, 5, along=along, **more)


def found(data: ImageDataModule, split: str) -> list[tuple[int, int]]:
    """(pixel, target) of each image of a split."""
    examples = data.examples(split)
    return list(zip(examples.images.flatten().tolist(), examples.targets.tolist(), strict=True))


# ---- labels to targets


def test_positions_and_groups() -> None:
    assert by_position([8, 0, 1]) == {8: 0, 0: 1, 1: 2}
    assert among([8, 0, 1], [1, 8]) == {1: 2, 8: 0}
    assert by_group([[0, 9], [2, 3], [5]]) == {0: 0, 9: 0, 2: 1, 3: 1, 5: 2}


def test_labels_are_filtered_in_their_order_and_renumbered() -> None:
    index, targets = filter_labels(torch.tensor([3, 0, 2, 2, 5, 1, 3]), {3: 0, 2: 7})
    assert (index.tolist(), targets.tolist()) == ([0, 2, 3, 6], [0, 7, 7, 0])
    # A target for a label that no image has is no fault, nor is a label above all targets.
    index, targets = filter_labels(torch.tensor([0, 9]), {0: 1, 20: 0})
    assert (index.tolist(), targets.tolist()) == ([0], [1])
    assert filter_labels(torch.tensor([4, 4]), {0: 0})[0].tolist() == []


# ---- a network's own images


def test_a_specialist_of_its_own_classes_sees_those_images_with_its_own_numbers() -> None:
    data = module(by_position([1, 3]))
    # train is images 0 to 5 of labels 0 1 2 3 0 1; gate 6 7 8 of 2 3 3; val 9 10 11 of 2 1 0; test of 3 2 1 0.
    assert found(data, "train") == [(1, 0), (3, 1), (5, 0)]
    assert found(data, "gate") == [(7, 1), (8, 1)]
    assert found(data, "val") == [(10, 0)]
    assert found(data, "test") == [(100, 1), (102, 0)]


def test_a_specialist_of_all_outputs_sees_its_own_images_with_every_classs_number() -> None:
    data = module({1: 1, 3: 3})
    assert found(data, "train") == [(1, 1), (3, 3), (5, 1)]
    assert found(data, "test") == [(100, 3), (102, 1)]


def test_a_router_sees_its_nodes_images_with_the_number_of_their_branch() -> None:
    assert found(module(by_group([[0, 3], [1, 2]])), "train") == [(0, 0), (1, 1), (2, 1), (3, 0), (4, 0), (5, 1)]
    # A router further down sees the images of its own node alone.
    assert found(module(by_group([[3], [1]])), "train") == [(1, 1), (3, 0), (5, 1)]


def test_the_base_and_the_gates_see_every_image() -> None:
    data = module(by_position(range(4)))
    assert {split: len(data.examples(split)) for split in ("train", "gate", "val", "test")} == {
        "train": 6,
        "gate": 3,
        "val": 3,
        "test": 4,
    }
    assert found(data, "val") == [(9, 2), (10, 1), (11, 0)]


def test_what_goes_along_is_filtered_with_its_images() -> None:
    along = {"gate": (torch.tensor([60, 70, 80]), torch.arange(6).view(3, 2))}
    examples = module(by_position([3]), along).examples("gate")
    assert [tensor.tolist() for tensor in examples.along] == [[70, 80], [[2, 3], [4, 5]]]
    assert module(by_position([3]), along).examples("val").along == ()


@pytest.mark.parametrize("split", ("train", "gate", "val", "test"))
def test_a_splits_images_labels_and_digests_belong_together(split: str) -> None:
    data = dataset()
    images = split_images(data, INDICES, split)
    index = torch.arange(4) if split == "test" else getattr(INDICES, split)
    whole = data.test if split == "test" else data.train
    assert torch.equal(images.images, whole.images[index]) and torch.equal(images.labels, whole.labels[index])
    assert images.digests.tolist() == whole.digests[index.numpy()].tolist()


# ---- under Lightning


class Recorder(RecipeModule):
    """Learns nothing; keeps what it is shown in each epoch."""

    def __init__(self) -> None:
        super().__init__(asdict(RECIPE))
        self.weight = nn.Parameter(torch.zeros(()))
        self.trained: dict[int, list[list[int]]] = {}
        self.chosen: dict[int, list[list[int]]] = {}
        self.given: list[tuple[Any, str | None]] = []

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        self.given.append((batch, self._current_fx_name))
        pixels = (batch[0].flatten() * 255).round().long().tolist()
        self.trained.setdefault(self.current_epoch, []).append(pixels)
        return self.weight

    def validation_step(self, batch: tuple[Tensor, ...], batch_index: int) -> None:
        pixels = (batch[0].flatten() * 255).round().long().tolist()
        self.chosen.setdefault(self.current_epoch, []).append(pixels)
        self.log("val/nll", 1.0, batch_size=1)


def shown(data: ImageDataModule, folder: Path) -> Recorder:
    recorder = Recorder()
    trainer = {"accelerator": "cpu", "devices": 1, "precision": "32-true", "log_every_n_steps": 1}
    fit("x", recorder, data, RECIPE, {**trainer, "enable_progress_bar": False}, None, folder)
    return recorder


def test_each_epoch_has_the_batches_of_its_own_number_and_choices_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe.data.module.EVALUATED", 2)
    data = module(by_position(range(4)))
    recorder = shown(data, tmp_path)
    for epoch in range(3):
        expected = Batches(data.examples("train"), RAW, 4, 5, RECIPE.augment, epoch=lambda epoch=epoch: epoch)
        batches = [(images.flatten() * 255).round().long().tolist() for images, _ in expected]
        assert recorder.trained[epoch] == batches
        assert [len(batch) for batch in batches] == [4, 2]
        assert recorder.chosen[epoch] == [[9, 10], [11]]
    assert len({str(batches) for batches in recorder.trained.values()}) == 3


def test_a_step_gets_the_batch_that_was_made_in_its_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = Batches.__iter__
    monkeypatch.setattr(Batches, "__iter__", lambda self: iter([*map(lambda b: made.append(b) or b, make(self))]))
    given = shown(module(by_position(range(4))), tmp_path).given
    # Lightning would have made another tuple of what it sent to the device.
    assert len(given) == 6 and all(any(batch is one for one in made) for batch, _ in given)
    assert {hook for _, hook in given} == {"training_step"} and "_current_fx_name" in vars(LightningModule())


def test_gates_learn_from_their_split_and_the_notebook_chooses_on_test(tmp_path: Path) -> None:
    recorder = shown(module(by_position(range(4)), fit_on="gate", select_on="test"), tmp_path)
    # Three images are one batch.
    assert [[sorted(batch) for batch in batches] for batches in recorder.trained.values()] == [[[6, 7, 8]]] * 3
    assert all(batches == [[100, 101, 102, 103]] for batches in recorder.chosen.values())


OTHERS = torch.tensor([0, 3, 4, 5, 7, 8, 9])


def test_others_are_one_more_target_as_many_as_asked_for() -> None:
    # Images 1, 2, 6 of ten are a branch's own, with targets 1, 0, 1; two thirds of three is two others.
    index, targets = with_others(torch.tensor([1, 2, 6]), torch.tensor([1, 0, 1]), OTHERS, 2 / 3, seed=0, target=2)
    assert index.tolist() == sorted(index.tolist()) and len(index) == 5
    said = dict(zip(index.tolist(), targets.tolist(), strict=True))
    assert [said.pop(own) for own in (1, 2, 6)] == [1, 0, 1]
    assert list(said.values()) == [2, 2]
    # More than there are: all of them.
    assert len(with_others(torch.tensor([1, 2, 6]), torch.tensor([1, 0, 1]), OTHERS, 9.0, seed=0, target=2)[0]) == 10
    other = with_others(torch.tensor([1, 2, 6]), torch.tensor([1, 0, 1]), OTHERS, 2 / 3, seed=1, target=2)[0]
    assert not torch.equal(index, other)


@pytest.mark.parametrize("rest", [None, 1.0])
def test_nothing_is_learnt_from_a_networks_own_fold(rest: float | None) -> None:
    everything = SplitIndices(torch.arange(12), torch.arange(0), torch.arange(0))
    fold = folds(split_images(dataset(), everything, "train"), 2, 7).tolist()
    for number in range(2):
        own = ImageDataModule(dataset(), everything, RAW, {0: 0, 1: 1}, RECIPE, 5, rest=rest, fold=(number, 2, 7))
        learnt = dict(found(own, "train"))
        inside = {i: label for i, label in enumerate(TRAIN) if label < 2 and fold[i] != number}
        assert 2 <= len(inside) <= 4
        assert {i: target for i, target in learnt.items() if target < 2} == inside
        outside = {i for i, target in learnt.items() if target == 2}
        others = {i for i, label in enumerate(TRAIN) if label >= 2 and fold[i] != number}
        assert outside <= others
        assert len(outside) == (0 if rest is None else min(len(inside), len(others)))


def test_of_its_own_fold_a_network_sees_nothing_at_its_start_either() -> None:
    """`fast_vgg` makes its whitening of images: those of the network's own fold are not among them."""
    everything = SplitIndices(torch.arange(12), torch.arange(0), torch.arange(0))
    fold = folds(split_images(dataset(), everything, "train"), 2, 7)

    class Prepared(nn.Module):
        seen: list[int]

        def prepare(self, images: Tensor) -> None:
            self.seen = (images * 255).round().flatten().int().tolist()

    for number in range(2):
        net, every = Prepared(), {label: label for label in range(4)}
        ImageDataModule(dataset(), everything, RAW, every, RECIPE, 5, fold=(number, 2, 7)).prepare_network(net)
        assert net.seen == (fold != number).nonzero().flatten().tolist()


def test_folds_are_of_what_is_learnt_from_alone() -> None:
    own = module({0: 0, 1: 1, 2: 2, 3: 3}, fold=(0, 2, 7))
    assert found(own, "val") == found(module({0: 0, 1: 1, 2: 2, 3: 3}), "val") == [(9, 2), (10, 1), (11, 0)]
    assert len(found(own, "train")) < 6


def test_others_are_among_the_images_for_choices_too_and_drawn_by_the_seed() -> None:
    assert sorted(target for _, target in found(module({0: 0, 1: 1}, rest=1.0), "val")) == [0, 1, 2]
    everything, picked = SplitIndices(torch.arange(12), torch.arange(0), torch.arange(0)), set()
    for seed in range(8):
        own = ImageDataModule(dataset(), everything, RAW, {0: 0}, RECIPE, seed, rest=1.0)
        picked.add(tuple(pixel for pixel, target in found(own, "train") if target == 1))
    assert len(picked) > 1 and {len(each) for each in picked} == {3}
