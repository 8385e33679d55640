"""Legend: B images, K classes, E experts (preorder, the base first), L leaves."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import TRAINER, short_recipe
from torch import Tensor, nn

from moe.config import Recipe
from moe.data.batches import Batches, Pixels
from moe.data.canonical import DataSet, assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import NonFiniteError
from moe.modules.ensemble import GatedEnsemble, mixture_nll
from moe.modules.fit import Fitted, fit
from moe.nets.class_expert import ClassExpert
from moe.nets.mixture import Frozen

CONSTANT = {"_target_": "moe.nets.gates.ConstantGate"}
LINEAR = {"_target_": "moe.nets.gates.LinearGate"}
SHAPE = [1, 2, 2]
TWO = {"x": ["a"], "y": ["b"]}
NESTED = {"left": {"low": ["a", "b"], "high": ["c"]}, "right": ["d", "e", "f"]}
RAW = Pixels((0.0,), (1.0,))


recipe = partial(short_recipe, optimizer={"_target_": "torch.optim.SGD", "lr": 1e-30})


def ensemble(gate: dict[str, Any], branches: dict[str, Any], classes: str, routing: str, **more: Any) -> GatedEnsemble:
    values = {"weights": "per_expert", "recipe": asdict(recipe()), **more}
    return GatedEnsemble(gate, in_shape=SHAPE, classes=list(classes), branches=branches, routing=routing, **values)


def constants(module: GatedEnsemble) -> list[nn.Parameter]:
    return [gate.constant for gate in module.mixture.gates]  # type: ignore[misc]


def give(gate: nn.Parameter, weights: list[float]) -> None:
    gate.data.copy_(torch.tensor(weights).log())


def network(outputs: int) -> nn.Module:
    """Batch normalisation and two kinds of dropout around a linear map."""
    return nn.Sequential(nn.BatchNorm2d(1), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, outputs))


def live(routing: str, gate: dict[str, Any] = LINEAR, **more: Any) -> GatedEnsemble:
    """An ensemble of random networks over the nested tree; high holds one class and has none."""
    torch.manual_seed(0)
    labels = [range(6), [0, 1, 2], [0, 1], [2], [3, 4, 5]]
    experts = [ClassExpert(network(len(ls)) if len(ls) > 1 else None, ls, 6) for ls in map(list, labels)]
    routers = [] if routing == "none" else [network(2), network(2)]
    return ensemble(gate, NESTED, "abcdef", routing, weights="joint", experts=experts, routers=routers, **more)


def batch(count: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE, generator=generator) * 3, torch.arange(count) % 6


# ---- the loss


def test_the_negative_log_likelihood_by_hand() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.25, 0.75]])
    # ln 2, ln 10 and ln 4, over three.
    expected = (math.log(2) + math.log(10) + math.log(4)) / 3
    assert mixture_nll(probabilities, torch.tensor([0, 1, 0])).item() == pytest.approx(expected)


def test_a_probability_of_zero_has_a_finite_loss_and_gradient() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    loss = mixture_nll(probabilities, torch.tensor([1, 0]))
    # Zero counts as the smallest normal fp32, 2**-126: (126 ln 2 + ln 2) / 2.
    assert loss.item() == pytest.approx(127 * math.log(2) / 2)
    loss.backward()
    # The image that can be learnt from still is: -1 / .5, over two images.
    assert probabilities.grad is not None
    assert probabilities.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]


# Two classes, and a leaf for each: E is base, x, y. The experts of leaves are constant.
EXPERTS = torch.tensor([[[0.8, 0.2], [1.0, 0.0], [0.0, 1.0]], [[0.3, 0.7], [1.0, 0.0], [0.0, 1.0]]])
GATE_X, GATE_Y = [0.75, 0.25], [0.5, 0.5]


def two(routing: str, **more: Any) -> GatedEnsemble:
    module = ensemble(CONSTANT, TWO, "ab", routing, **more)
    for gate, weights in zip(
        constants(module), [[0.6, 0.3, 0.1]] if routing == "none" else [GATE_X, GATE_Y], strict=True
    ):
        give(gate, weights)
    return module


def test_under_hard_routing_an_image_is_judged_by_the_leaf_it_was_sent_to_whatever_its_label() -> None:
    # Both images are of class b, whose leaf is y, and both were sent to x. Leaf x: .75*base + .25*(1, 0), so that
    # b has .75*.2 = .15 and .75*.7 = .525.
    stored = (EXPERTS, torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 0]))
    module = two("hard")
    labels = torch.tensor([1, 1])
    loss = module.training_step((torch.zeros(2, *SHAPE), labels, *stored), 0)
    assert loss.item() == pytest.approx(-(math.log(0.15) + math.log(0.525)) / 2)
    loss.backward()
    x, y = constants(module)
    assert y.grad is None
    # d loss / d logit_e = -g_e (p_e - p) / p, over two images. Base: -.75 (.2 - .15) / .15 = -.25 and
    # -.75 (.7 - .525) / .525 = -.25, together -.25; the specialist the opposite.
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([-0.25, 0.25]))


def test_under_soft_routing_the_loss_is_that_of_the_whole_mixture() -> None:
    leaves = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    # Class a of image 0: leaf x .75*.8+.25 = .85, leaf y .5*.8 = .4, so .9*.85 + .1*.4 = .805.
    # Class b of image 1: leaf x .525, leaf y .5*.7+.5 = .85, so .6*.525 + .4*.85 = .655.
    loss = two("soft").training_step(
        (torch.zeros(2, *SHAPE), torch.tensor([0, 1]), EXPERTS, leaves, torch.tensor([0, 0])), 0
    )
    assert loss.item() == pytest.approx(-(math.log(0.805) + math.log(0.655)) / 2)


def test_without_routing_the_loss_is_that_of_one_gate_over_all_experts() -> None:
    none = (EXPERTS, torch.zeros(2, 2), torch.tensor([-1, -1]))
    # Class a of image 0: .6*.8 + .3 = .78; class b of image 1: .6*.7 + .1 = .52.
    loss = two("none").training_step((torch.zeros(2, *SHAPE), torch.tensor([0, 1]), *none), 0)
    assert loss.item() == pytest.approx(-(math.log(0.78) + math.log(0.52)) / 2)


# ---- frozen networks


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_only_gates_learn(routing: str) -> None:
    module = live(routing)
    module.train()
    before = {name: tensor.clone() for name, tensor in module.mixture.state_dict().items()}
    optimizer = module.configure_optimizers()
    module.training_step(batch(), 0).backward()
    with_gradient = {name for name, p in module.mixture.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name in before if name.startswith("gates.")}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in module.mixture.gates.parameters()
    }
    # Nothing in the frozen networks moves, the running means of their normalisation neither.
    assert all(torch.equal(before[name], tensor) for name, tensor in module.mixture.state_dict().items())


@pytest.mark.parametrize("frozen_dropout", [False, True])
def test_frozen_networks_stay_in_evaluation_mode_save_their_dropout_where_asked(frozen_dropout: bool) -> None:
    module = live("hard", {"_target_": "moe.nets.gates.MLPGate", "width": 3}, frozen_dropout=frozen_dropout)
    module.train()
    frozen = [layer for nets in (module.mixture.experts, module.mixture.routers) for layer in nets.modules()]
    dropouts = [layer for layer in frozen if isinstance(layer, nn.Dropout | nn.Dropout2d)]
    others = [layer for net in (*module.mixture.experts, *module.mixture.routers) for layer in net.modules()]
    others = [layer for layer in others if layer not in dropouts]
    # Six networks (high has none) of two dropouts each.
    assert len(dropouts) == 12 and all(layer.training is frozen_dropout for layer in dropouts)
    assert len(others) > 12 and not any(layer.training for layer in others)
    assert all(layer.training for layer in module.mixture.gates.modules())
    module.eval()
    assert not any(layer.training for layer in module.modules())


def test_active_dropout_of_frozen_networks_changes_what_they_say_in_training_alone() -> None:
    images, _ = batch()
    for frozen_dropout in (False, True):
        module = live("hard", CONSTANT, frozen_dropout=frozen_dropout)
        module.train()
        same = torch.equal(module(images).probabilities, module(images).probabilities)
        assert same is not frozen_dropout
        module.eval()
        assert torch.equal(module(images).probabilities, module(images).probabilities)


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_stored_and_live_outputs_give_the_same_loss_and_gradients(routing: str) -> None:
    images, labels = batch()
    module = live(routing)
    module.train()
    dense = module.mixture.dense(images, routed=routing != "none")
    if routing == "hard":
        assert set(dense.route.tolist()) == {0, 1, 2}  # every leaf has images
    found = []
    for stored in ((), (dense.experts, dense.leaves, dense.route)):
        module.zero_grad()
        loss = module.training_step((images, labels, *stored), 0)
        loss.backward()
        found.append(torch.cat([loss.detach()[None], *(p.grad.flatten() for p in module.mixture.gates.parameters())]))
    assert found[0].norm() > 0.1
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


def test_a_stored_batch_is_mixed_without_any_network() -> None:
    # Made as for training from the store: no expert and no router is there.
    module = two("hard")
    assert len(module.mixture.experts) == len(module.mixture.routers) == 0
    mixed = module(torch.zeros(2, *SHAPE), EXPERTS, torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    # .75*.8+.25 and .75*.2; .5*.3 and .5*.7+.5.
    torch.testing.assert_close(mixed.probabilities, torch.tensor([[0.85, 0.15], [0.15, 0.85]]))


# ---- whole trainings


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


@pytest.mark.parametrize("averaging", [None, 0.5, 0.9])
def test_per_branch_accuracy_is_that_of_the_true_branch_each_epoch(averaging: float | None, tmp_path: Path) -> None:
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


def test_hyperparameters_are_plain_values() -> None:
    values = dict(two("hard").hparams)
    assert values["branches"] == TWO and values["gate"] == CONSTANT and values["classes"] == ["a", "b"]
    assert "experts" not in values and "routers" not in values
