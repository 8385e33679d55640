"""Gates in whole trainings: what is counted each epoch, one step by hand, steps that are not finite."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import TRAINER
from torch import Tensor

from moe.data.batches import Batches, Pixels
from moe.data.canonical import DataSet, assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import NonFiniteError
from moe.modules.ensemble import GatedEnsemble
from moe.modules.fit import Fitted, fit
from moe.nets import mixture
from moe.nets.class_expert import ClassExpert
from moe.nets.mixture import Frozen
from moe.schema import Recipe
from tests.modules.mixtures import CONSTANT, SHAPE, TWO, constants, ensemble, recipe

RAW = Pixels((0.0,), (1.0,))


def dataset(labels: list[int], classes: str) -> DataSet:
    """Training images with these labels in canonical order."""
    count = len(labels)
    pixels = torch.randint(256, (count + 1, *SHAPE), generator=torch.Generator().manual_seed(2)).byte()
    data = assemble("tiny", classes, (pixels[:count], torch.zeros(count).long(), pixels[count:], torch.zeros(1).long()))
    data.train.labels.copy_(torch.tensor(labels))
    return data


def train(module: GatedEnsemble, labels: list[int], stored: Frozen, held: int, learns: Recipe, folder: Path) -> Fitted:
    """Gates fitted on the first images and chosen on the last `held`, their outputs stored in the same order."""
    data = dataset(labels, "".join(module.mixture.tree.classes))
    every = torch.arange(len(labels))
    indices = SplitIndices(every[:0], every[:-held], every[-held:])
    along = {
        split: (stored.experts[index], stored.leaves[index], stored.route[index])
        for split, index in (("gate", indices.gate), ("val", indices.val))
    }
    targets = {label: label for label in range(len(data.classes))}
    datamodule = ImageDataModule(data, indices, RAW, targets, learns, 0, "gate", "val", along, 3)
    return fit("gates", module, datamodule, learns, TRAINER, None, folder)


def right_or_wrong(labels: list[int], right: list[bool], classes: int) -> Frozen:
    """Experts (base and one a leaf) that all give .9 to the label, or to the next class; routed to leaf 0."""
    said = [label if ok else (label + 1) % classes for label, ok in zip(labels, right, strict=True)]
    rest = 0.1 / (classes - 1)
    experts = torch.full((len(labels), classes + 1, classes), rest)
    experts[torch.arange(len(labels)), :, torch.tensor(said)] = 0.9
    return Frozen(experts, torch.full((len(labels), classes), 1 / classes), torch.zeros(len(labels)).long())


# Four leaves of one class each. Trained on eight images, chosen on ten: of class a 2 of 4 are right, of b 3 of 3,
# of c 0 of 1, of d 1 of 2.
FOUR = {"p": ["a"], "q": ["b"], "r": ["c"], "s": ["d"]}
TRAINED = [0, 1, 2, 3, 0, 1, 2, 3]
CHOSEN = [0, 0, 0, 0, 1, 1, 1, 2, 3, 3]
RIGHT = [True, True, False, False, True, True, True, False, True, False]


@pytest.mark.parametrize("at_once", [3, 500])  # of ten images the last batch has one
@pytest.mark.parametrize("averaging", [None, 0.5, 0.9])
def test_per_branch_accuracy_is_that_of_the_true_branch_each_epoch(
    averaging: float | None, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moe.data.module.at_once", lambda count, size: at_once)
    module = ensemble(CONSTANT, FOUR, "abcd", "hard")
    stored = right_or_wrong(TRAINED + CHOSEN, [True] * 6 + [False] * 2 + RIGHT, 4)
    curves = train(module, TRAINED + CHOSEN, stored, 10, recipe(epochs=3, averaging=averaging), tmp_path).curves
    assert len(curves) == 3
    rest = 0.1 / 3
    for row in curves:
        branches = {name: row[f"val/branch/{name}/accuracy"] for name in FOUR}
        assert branches == pytest.approx({"p": 2 / 4, "q": 3 / 3, "r": 0.0, "s": 1 / 2})
        # Six of ten right at .9, four wrong, whose label has a third of .1.
        assert row["val/accuracy"] == pytest.approx(0.6)
        assert row["val/nll"] == pytest.approx(-(6 * math.log(0.9) + 4 * math.log(rest)) / 10)
        assert row["train/accuracy"] == pytest.approx(6 / 8)
        assert row["train/loss"] == pytest.approx(-(6 * math.log(0.9) + 2 * math.log(rest)) / 8)
        assert row["train/gate_entropy"] == pytest.approx(math.log(2))  # a uniform gate over two experts


def test_averaging_leaves_what_is_counted_alone(tmp_path: Path) -> None:
    # An average of whole numbers, 0.9 * 3 + 0.1 * 3, is a little below 3 and cut down to 2.
    module = ensemble(CONSTANT, FOUR, "abcd", "hard")
    module.mixture.experts.append(ClassExpert(None, [3], 4))
    stored = right_or_wrong(TRAINED + CHOSEN, [True] * 18, 4)
    train(module, TRAINED + CHOSEN, stored, 10, recipe(averaging=0.9), tmp_path)
    assert module.get_buffer("leaf_of_label").tolist() == [0, 1, 2, 3]
    assert module.mixture.experts[0].get_buffer("labels").tolist() == [3]


def test_one_step_of_training_by_hand(tmp_path: Path) -> None:
    # Both classes' images go to x, whose gate starts even; the base gives the label .2 and the specialist .8 (its
    # outputs are all classes). p = .5, and d loss / d logit_e = -g_e (p_e - p) / p: .3 for the base, -.3 for the
    # specialist. A step of .1 leaves the logits -.03 and .03, and the gate of y as it was.
    module = ensemble(
        CONSTANT, TWO, "ab", "hard", recipe=asdict(recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 0.1}))
    )
    labels = [0, 1, 0, 1, 0, 1]
    label, other = torch.tensor([0.2, 0.8]), torch.tensor([0.8, 0.2])
    a = torch.stack([label, 1 - label, label])
    b = torch.stack([other, 1 - other, other])
    experts = torch.stack([a if k == 0 else b for k in labels])
    stored = Frozen(experts, torch.full((6, 2), 0.5), torch.zeros(6).long())
    fitted = train(module, labels, stored, 2, recipe(), tmp_path)
    torch.testing.assert_close(fitted.weights["mixture.gates.0.constant"], torch.tensor([-0.03, 0.03]))
    assert fitted.weights["mixture.gates.1.constant"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"_target_": "torch.optim.Adam", "lr": 0.1},
        {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
        {"_target_": "torch.optim.RMSprop", "lr": 0.1},
    ],
    ids=lambda optimizer: optimizer["_target_"],
)
def test_a_leaf_without_an_image_in_the_first_batch_learns_from_the_next(
    optimizer: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order = lambda data: Batches(data.examples("gate"), RAW, 2)  # noqa: E731
    monkeypatch.setattr(ImageDataModule, "train_dataloader", in_order)
    learns = recipe(optimizer=optimizer)
    module = ensemble(CONSTANT, TWO, "ab", "hard", recipe=asdict(learns))
    # In both leaves the specialist gives the label, a, more than the base does. Of the first batch no image goes to
    # y, of the next two one each; the last two images are for choices.
    experts = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.9, 0.1]]).expand(8, -1, -1)
    stored = Frozen(experts, torch.full((8, 2), 0.5), torch.tensor([0, 0, 0, 1, 1, 0, 0, 1]))
    fitted = train(module, [0] * 8, stored, 2, learns, tmp_path)
    for leaf in range(2):
        base, specialist = fitted.weights[f"mixture.gates.{leaf}.constant"].tolist()
        assert -3 < base < 0 < specialist < 3


@pytest.mark.parametrize("seen", [False, True], ids=["as on a CPU", "as on a GPU"])
def test_a_gate_without_an_image_in_a_batch_is_moved_by_its_momentum(
    seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "everywhere", lambda module, images: seen and module.training)
    in_order = lambda data: Batches(data.examples("gate"), RAW, 2)  # noqa: E731
    monkeypatch.setattr(ImageDataModule, "train_dataloader", in_order)
    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.5})
    module = ensemble(CONSTANT, TWO, "ab", "hard", recipe=asdict(learns))
    # Base and specialist give the label 0.2 and 0.6, so that equal shares mix 0.4. By the first share s, which is a
    # half, the loss of one image has the gradient -(0.2 - 0.6) * s * (1 - s) / 0.4 = 0.25, of half a batch 0.125.
    # The first batch has an image of either leaf, the second none of y, the rest are for choices.
    experts = torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]).expand(6, -1, -1)
    stored = Frozen(experts, torch.full((6, 2), 0.5), torch.tensor([0, 1, 0, 0, 0, 1]))
    fitted = train(module, [0] * 6, stored, 2, learns, tmp_path)
    first = 0.1 * 0.125
    moved = torch.tensor([-first - 0.5 * first, first + 0.5 * first])
    torch.testing.assert_close(fitted.weights["mixture.gates.1.constant"], moved)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"_target_": "torch.optim.Adam", "lr": 0.1},
        {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9},
        {"_target_": "torch.optim.RMSprop", "lr": 0.1, "momentum": 0.9},
    ],
    ids=lambda optimizer: optimizer["_target_"],
)
@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_step_that_is_not_finite_moves_no_gate_that_had_no_image_either(
    optimizer: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    class Spoilt(GatedEnsemble):
        def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
            loss = super().training_step(batch, batch_index)
            return loss * float("nan") if self.global_step == 1 else loss

        def on_train_batch_end(self, *_: Any) -> None:
            seen.append(torch.cat([gate.detach() for gate in constants(self)]))

    in_order = lambda data: Batches(data.examples("gate"), RAW, 2)  # noqa: E731
    monkeypatch.setattr(ImageDataModule, "train_dataloader", in_order)
    learns = recipe(optimizer=optimizer)
    module = Spoilt(CONSTANT, "per_expert", SHAPE, ["a", "b"], TWO, "hard", asdict(learns))
    # Both gates learn from the first batch; the second, whose loss is NaN, has images of x alone; the third ends it.
    experts = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.9, 0.1]]).expand(8, -1, -1)
    stored = Frozen(experts, torch.full((8, 2), 0.5), torch.tensor([0, 1, 0, 0, 0, 1, 0, 1]))
    monkeypatch.setitem(TRAINER, "log_every_n_steps", 3)
    with pytest.raises(NonFiniteError, match="at step 1;"):
        train(module, [0] * 8, stored, 2, learns, tmp_path)
    assert len(seen) == 2 and seen[0].abs().min() > 0
    assert torch.equal(seen[1], seen[0])
