"""The epoch that is kept, and every epoch's metrics."""

import csv
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger
from quick import TRAINER
from torch import nn

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import NonFiniteError
from moe.modules.callbacks import Curves, log_again
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit
from tests.modules.scripts import INF, NAN, Scripted, Two, plain_recipe, recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


def test_epochs_are_logged_again_at_their_last_batchs_step() -> None:
    logged: list[tuple[dict[str, float], int]] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((metrics, step)))
    log_again(logger, [{"epoch": n, "val/nll": 1.0 + n, "seconds": 9.0} for n in range(2)], 7)  # type: ignore[arg-type]
    assert logged == [({"epoch": 0, "val/nll": 1.0}, 6), ({"epoch": 1, "val/nll": 2.0}, 13)]


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


def test_each_row_of_the_curves_holds_its_own_epochs_metrics(tmp_path: Path) -> None:
    curves = scripted([5.0, 4.0, 6.0], tmp_path).curves
    assert [(row["epoch"], row["train/loss"], row["val/nll"]) for row in curves] == [
        (0, 10.0, 5.0),
        (1, 11.0, 4.0),
        (2, 12.0, 6.0),
    ]
    assert all(set(row) == {"epoch", "lr/optimizer", "seconds", "train/loss", "val/nll"} for row in curves)
    assert all(row["seconds"] >= 0 for row in curves)


def test_the_learning_rates_of_an_epochs_first_step_are_in_the_curves_and_logged(tmp_path: Path) -> None:
    # Module and recipe are given apart: the schedule is the module's.
    module = Scripted([1.0, 1.0])
    # The first kernel of a network is not Muon's.
    module.first, module.kernel = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
    module.recipe = {**module.recipe, "schedule": "linear", "muon": {"lr": 0.5, "momentum": 0.0}}
    logger = CSVLogger(tmp_path, name="metrics", version="x")
    curves = fit("x", module, Two(), recipe(epochs=2), TRAINER, logger, tmp_path).curves
    # Four steps from 1 to 0, two an epoch: a half is left for the third. Kernels have half of it all.
    assert [(row["lr/optimizer"], row["lr/muon"]) for row in curves] == [(1.0, 0.5), (0.5, 0.25)]
    rows = list(csv.DictReader((tmp_path / "metrics" / "x" / "metrics.csv").open()))
    logged = [(row["epoch"], row["train/loss"], row["lr/optimizer"], row["lr/muon"]) for row in rows if row["lr/muon"]]
    # In the row of what the epoch's training came to.
    assert logged == [("0", "10.0", "1.0", "0.5"), ("1", "11.0", "0.5", "0.25")]


def test_the_mean_loss_of_every_so_many_steps_is_logged(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="metrics", version="x")
    fit("x", Scripted([1.0] * 4), Two(), recipe(epochs=4), {**TRAINER, "log_every_n_steps": 3}, logger, tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics" / "x" / "metrics.csv").open()))
    # Of eight steps, two an epoch, the losses are 0, -1 and so on; the last two are not three.
    logged = [(row["step"], row["epoch"], row["train/loss_step"]) for row in rows if row["train/loss_step"]]
    assert logged == [("2", "1", "-1.0"), ("5", "2", "-4.0")]


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
        "natural: epoch 1 of 2, train/loss 10.0000, val/nll 2.0000",
        "natural: epoch 2 of 2, train/loss 11.0000, val/nll 1.5000",
    ]


NET = {"_target_": "moe.nets.vgg.VGG", "blocks": [[1]], "hidden": 1, "dropout": 0.0, "conv_dropout": 0.0}


def images(labels: list[int], held: int) -> tuple[Any, SplitIndices]:
    """A data set of such training labels in canonical order, the last `held` of which are for choices."""
    count = len(labels)
    pixels = torch.randint(256, (count + 2, 1, 2, 2), generator=torch.Generator().manual_seed(3)).byte()
    data = assemble("tiny", "abc", (pixels[:count], torch.zeros(count).long(), pixels[count:], torch.tensor([0, 1])))
    data.train.labels.copy_(torch.tensor(labels))
    every = torch.arange(count)
    return data, SplitIndices(every[:-held], every[:0], every[-held:])


def test_a_model_that_never_changes_has_the_metrics_worked_out_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr("moe.data.module.EVALUATED", 3)
    datamodule = ImageDataModule(data, indices, pixels, {0: 0, 1: 1, 2: 2}, recipe(epochs=2), seed=0)
    fitted = fit("base", module, datamodule, recipe(epochs=2), TRAINER, None, tmp_path)
    assert len(fitted.curves) == 2
    for row in fitted.curves:
        assert row["train/loss"] == pytest.approx(1.6 * math.log(2))
        assert row["train/accuracy"] == pytest.approx(0.4)
        assert row["val/nll"] == pytest.approx(1.25 * math.log(2))
        assert row["val/accuracy"] == pytest.approx(0.75)
    assert fitted.epoch == 0
