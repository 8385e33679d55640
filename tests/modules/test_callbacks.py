import logging
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from quick import TRAINER, short_recipe
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import NonFiniteError
from moe.modules.callbacks import Curves, FiniteGuard
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit
from moe.modules.recipe import RecipeModule

# What Lightning 2.6.6 asks of torch 2.15 and what torch says of it; moe.modules.fit keeps it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1, "weight_decay": 0.5},
    "SGD": {"lr": 0.1, "weight_decay": 0.1},
    "SGD with momentum": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "NAdam": {"lr": 0.1, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
}
NAN, INF = float("nan"), float("inf")


def plain_recipe(optimizer: str = "SGD", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "optimizer": {"_target_": f"torch.optim.{optimizer.split()[0]}", **OPTIMIZERS[optimizer]},
        "schedule": "constant",
        "warmup": 0.0,
        "label_smoothing": 0.0,
        "bias_lr": 1.0,
        "decay": None,
    }
    return {**values, **changes}


class Line(RecipeModule):
    """Learns weights from rows of numbers; its loss or gradient can be spoilt at one step."""

    def __init__(self, recipe: dict[str, Any], bad_step: int = -1, fault: str = "") -> None:
        super().__init__(recipe)
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, 3, generator=generator))
        self.bias = nn.Parameter(torch.randn(2, generator=generator))
        self.bad_step, self.fault, self.error = bad_step, fault, ""
        self.bias.register_hook(self._spoil)

    def _spoil(self, gradient: Tensor) -> Tensor | None:
        if self.global_step == self.bad_step and self.fault.endswith("gradient"):
            return gradient.clone().fill_(NAN if self.fault.startswith("NaN") else INF)
        return None

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        loss = (batch @ self.weight.T + self.bias).pow(2).mean()
        if self.global_step == self.bad_step and self.fault.endswith("loss"):
            loss = loss * (NAN if self.fault.startswith("NaN") else INF)
        return loss


class Weights(Callback):
    """All weights as one vector: before the first step, then after each."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.seen.append(nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.on_train_start(trainer, pl_module)


class Batches:
    """Batches, one after the other. (Of a list Lightning would take each for a loader of its own.)"""

    def __init__(self, batches: list[Tensor]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


def rows(steps: int) -> list[Tensor]:
    return list(torch.randn(steps, 4, 3, generator=torch.Generator().manual_seed(1)))


def trained(module: Line, batches: list[Tensor], *callbacks: Callback, epochs: int = 1) -> list[Tensor]:
    seen = Weights()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[*callbacks, seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, Batches(batches))
    except NonFiniteError as error:
        module.error = str(error)
    return seen.seen


# ---- the guard against what is not finite


@pytest.mark.parametrize("fault", ["NaN loss", "infinite loss", "NaN gradient", "infinite gradient"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.fault("NaN or infinite loss or gradient")
def test_nothing_that_is_not_finite_changes_a_weight(optimizer: str, fault: str) -> None:
    module = Line(plain_recipe(optimizer), bad_step=2, fault=fault)
    seen = trained(module, rows(8), FiniteGuard("natural", every=5))
    # Seen before the first step and after steps 0 to 3; step 4 is the fifth, a logging point, and stops the run.
    assert len(seen) == 5
    assert torch.equal(seen[3], seen[2])
    assert torch.isfinite(seen[4]).all()
    assert not torch.equal(seen[1], seen[0]) and not torch.equal(seen[2], seen[1]) and not torch.equal(seen[4], seen[3])
    assert "natural" in module.error and "at step 2;" in module.error


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
def test_a_fused_optimiser_goes_on_as_if_the_bad_step_had_not_been(optimizer: str) -> None:
    bad = trained(Line(plain_recipe(optimizer), bad_step=2, fault="NaN loss"), rows(8), FiniteGuard("x", every=6))
    batches = rows(8)
    without = trained(Line(plain_recipe(optimizer)), batches[:2] + batches[3:])
    assert len(bad) == 6
    assert torch.equal(torch.stack(bad[3:]), torch.stack(without[2:5]))


def test_the_first_of_several_bad_steps_is_named() -> None:
    module = Line(plain_recipe("Adam"), bad_step=1, fault="NaN loss")
    batches = rows(8)
    batches[3] = batches[3] * NAN
    trained(module, batches, FiniteGuard("x", every=6))
    assert "at step 1;" in module.error


@pytest.mark.parametrize("every", [1, 50])
def test_the_run_stops_at_the_next_logging_point_or_the_epochs_end(every: int) -> None:
    module = Line(plain_recipe("Adam"), bad_step=4, fault="NaN loss")
    seen = trained(module, rows(3), FiniteGuard("base", every=every), epochs=5)
    # Three steps an epoch: step 4 is the second of the second epoch. Where every step is a logging point it stops
    # there, having seen steps 0 to 3; else at the end of that epoch, having seen step 4 too.
    assert len(seen) == {1: 5, 50: 6}[every]
    assert module.error.startswith("base: the loss or a gradient was NaN or infinite at step 4;")


def test_the_sentence_says_what_may_help() -> None:
    module = Line(plain_recipe("Adam"), bad_step=0, fault="NaN loss")
    trained(module, rows(1), FiniteGuard("base"))
    assert module.error.startswith("base: the loss or a gradient was NaN or infinite at step 0; no weight took it in")
    assert "recipe.optimizer.lr" in module.error and "recipe.clip" in module.error


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_finite_training_is_the_same_with_the_guard(optimizer: str) -> None:
    guarded = trained(Line(plain_recipe(optimizer)), rows(6), FiniteGuard("x"), epochs=2)
    alone = trained(Line(plain_recipe(optimizer)), rows(6), epochs=2)
    assert len(guarded) == 13
    assert torch.equal(torch.stack(guarded), torch.stack(alone))


def test_gradients_are_clipped_to_their_norm() -> None:
    clip, recipe = 0.5, plain_recipe("SGD")
    found = trained(Line(recipe), rows(5), FiniteGuard("x", clip=clip))
    module = Line(recipe)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=0.1)
    norms = []
    for place, batch in enumerate(rows(5)):
        optimizer.zero_grad()
        (batch @ module.weight.T + module.bias).pow(2).mean().backward()
        norms.append(clip_grad_norm_(module.parameters(), clip).item())
        optimizer.step()
        torch.testing.assert_close(found[place + 1], nn.utils.parameters_to_vector(module.parameters()).detach())
    assert max(norms) > clip  # some gradient was clipped


# ---- scripted epochs


class Scripted(RecipeModule):
    """Says a loss of its own for each epoch; its weight counts the steps, two an epoch."""

    def __init__(self, val_nll: list[float]) -> None:
        super().__init__({**plain_recipe(), "optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0}})
        self.weight = nn.Parameter(torch.zeros(()))
        self.val_nll = val_nll

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        return -self.weight  # a gradient of -1 at a rate of 1

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", 10.0 + self.current_epoch)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        self.log("val/nll", self.val_nll[self.current_epoch])


class Two(ImageDataModule):
    """Two batches of nothing an epoch."""

    def __init__(self) -> None:
        super().__init__(*[None] * 3, {}, None, 0)  # type: ignore[arg-type]

    def train_dataloader(self) -> Any:
        return Batches([torch.zeros(1)] * 2)

    def val_dataloader(self) -> Any:
        return Batches([torch.zeros(1)])


recipe = partial(short_recipe, optimizer={"_target_": "torch.optim.SGD", "lr": 0.1}, select="best")


def scripted(val_nll: list[float], folder: Path, **changes: Any) -> Fitted:
    return fit("x", Scripted(val_nll), Two(), recipe(epochs=len(val_nll), **changes), TRAINER, None, folder)


@pytest.mark.parametrize(
    ("val_nll", "changes", "epoch", "epochs"),
    [
        ([3.0, 1.0, 2.0], {}, 1, 3),
        ([1.0, 2.0, 3.0], {}, 0, 3),
        ([3.0, 2.0, 1.0], {}, 2, 3),
        ([2.0, 1.0, 1.0], {}, 1, 3),  # of equals the first
        ([3.0, 1.0, 2.0], {"select": "last"}, 2, 3),
        # Patience 2: two epochs no better than the best end it.
        ([2.0, 1.0, 3.0, 1.0, 0.0], {"patience": 2}, 1, 4),
        ([2.0, 1.0, 3.0, 1.0, 0.0], {"patience": 2, "select": "last"}, 3, 4),
        ([2.0, 1.0, 3.0, 1.0, 0.0], {"patience": 3}, 4, 5),
    ],
)
def test_the_epoch_that_is_kept_and_its_weights(
    val_nll: list[float], changes: dict[str, Any], epoch: int, epochs: int, tmp_path: Path
) -> None:
    fitted = scripted(val_nll, tmp_path, **changes)
    assert (fitted.epoch, len(fitted.curves)) == (epoch, epochs)
    # Two steps an epoch, each adding one.
    assert fitted.weights["weight"].item() == 2.0 * (epoch + 1)


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_loss_on_val_that_was_never_finite_is_no_best_epoch(tmp_path: Path) -> None:
    # There is nothing to keep, and no entry of the store may be made from nothing.
    for val_nll in ([NAN, NAN], [INF]):
        for patience in (None, 2):
            with pytest.raises(NonFiniteError, match=r"^x: .*val"):
                scripted(val_nll, tmp_path, patience=patience)


# ---- curves


def test_each_row_of_the_curves_holds_its_own_epochs_metrics(tmp_path: Path) -> None:
    curves = scripted([5.0, 4.0, 6.0], tmp_path).curves
    assert [(row["epoch"], row["train/loss"], row["val/nll"]) for row in curves] == [
        (0, 10.0, 5.0),
        (1, 11.0, 4.0),
        (2, 12.0, 6.0),
    ]
    assert all(set(row) == {"epoch", "lr", "seconds", "train/loss", "val/nll"} for row in curves)
    assert all(row["seconds"] >= 0 for row in curves)


def test_the_learning_rate_of_the_curves_is_that_at_the_epochs_end(tmp_path: Path) -> None:
    # Module and recipe are given apart: the schedule is the module's.
    module = Scripted([1.0, 1.0])
    module.recipe = {**module.recipe, "schedule": "linear"}
    curves = fit("x", module, Two(), recipe(epochs=2), TRAINER, None, tmp_path).curves
    # Four steps from 1 to 0: a half is left after two of them.
    assert [row["lr"] for row in curves] == pytest.approx([0.5, 0.0])


def test_an_epoch_is_said_in_the_log_where_there_is_no_bar(caplog: pytest.LogCaptureFixture) -> None:
    curves = Curves("natural", say=True)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[curves],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with caplog.at_level(logging.INFO, logger="moe"):
        trainer.fit(Scripted([2.0, 1.5]), datamodule=Two())
    said = [message.rpartition(", ")[0] for message in caplog.messages if message.startswith("natural")]
    assert said == [
        "natural: epoch 1, train/loss 10.0000, val/nll 2.0000",
        "natural: epoch 2, train/loss 11.0000, val/nll 1.5000",
    ]


# ---- an expert's own metrics

NET = {"_target_": "moe.nets.vgg.VGG", "blocks": [[1]], "hidden": 1, "dropout": 0.0, "conv_dropout": 0.0}


def images(labels: list[int], held: int) -> tuple[Any, SplitIndices]:
    """A data set of such training labels in canonical order, the last `held` of which are for choices."""
    count = len(labels)
    pixels = torch.randint(256, (count + 2, 1, 2, 2), generator=torch.Generator().manual_seed(3)).byte()
    data = assemble("tiny", "abc", (pixels[:count], torch.zeros(count).long(), pixels[count:], torch.tensor([0, 1])))
    data.train.labels.copy_(torch.tensor(labels))
    every = torch.arange(count)
    return data, SplitIndices(every[:-held], every[:0], every[-held:])


def test_a_model_that_never_changes_has_the_metrics_worked_out_by_hand(tmp_path: Path) -> None:
    # All weights zero and a bias of ln 2 for class 0 of three: probabilities 1/2, 1/4, 1/4, and class 0 the answer.
    # Trained on labels 0 0 1 2 2, of which 2 of 5 are right: loss (2 ln 2 + 3 ln 4) / 5 = 1.6 ln 2, though batches
    # of 4 and 1. Chosen on 0 0 0 1: 3 of 4 right, (3 ln 2 + ln 4) / 4 = 1.25 ln 2.
    data, indices = images([0, 0, 1, 2, 2, 0, 0, 0, 1], held=4)
    plain = {**plain_recipe(), "optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-30}}
    module = Expert(NET, [1, 2, 2], 3, plain)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.net.head[-1].bias[0] = math.log(2)
    pixels = Pixels((0.0,), (1.0,))
    datamodule = ImageDataModule(data, indices, pixels, {0: 0, 1: 1, 2: 2}, recipe(epochs=2), seed=0, eval_batch_size=3)
    fitted = fit("base", module, datamodule, recipe(epochs=2), TRAINER, None, tmp_path)
    assert len(fitted.curves) == 2
    for row in fitted.curves:
        assert row["train/loss"] == pytest.approx(1.6 * math.log(2))
        assert row["train/accuracy"] == pytest.approx(0.4)
        assert row["val/nll"] == pytest.approx(1.25 * math.log(2))
        assert row["val/accuracy"] == pytest.approx(0.75)
    assert fitted.epoch == 0
