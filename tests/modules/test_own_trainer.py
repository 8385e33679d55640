"""The modules and the data under a Trainer of a user's own, as in a notebook."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.tuner import Tuner
from torch import Tensor
from torch.utils.data import DataLoader

from moe.data.batches import Pixels
from moe.data.module import ImageDataModule
from moe.modules.ensemble import GatedEnsemble
from moe.modules.expert import Expert
from moe.modules.fit import fit
from moe.modules.router import Router
from moe.schema import Augment
from tests.modules.mixtures import CONSTANT, TWO, ensemble
from tests.modules.quick import TRAINER
from tests.modules.tiny import NET, SHAPE, data, recipe

SGD = {"_target_": "torch.optim.SGD", "lr": 1.0}
PIXELS = Pixels((0.5,), (0.25,))


def images(**more: Any) -> ImageDataModule:
    return ImageDataModule(*data(), PIXELS, {0: 0, 1: 1}, recipe(**more), seed=3)


def expert(**more: Any) -> Expert:
    torch.manual_seed(0)
    return Expert(NET, SHAPE, 2, asdict(recipe(**more)))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Any]:
    """A Trainer as Lightning makes it."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    yield lambda **more: Trainer(
        **{"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path, **quiet, **more}
    )


def judged(probabilities: Tensor, targets: Tensor) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood."""
    right = probabilities.argmax(dim=1) == targets
    return right.float().mean().item(), -probabilities[torch.arange(len(targets)), targets].log().mean().item()


def test_an_expert_is_tested_and_asked(own: Any) -> None:
    module, whole = expert(), images()
    (said,) = own().test(module, datamodule=whole, verbose=False)
    found = own().predict(module, datamodule=whole)
    test = whole.dataset.test
    right = module.net.eval()(PIXELS(test.images)).softmax(dim=1)
    assert len(found) == 1 and torch.allclose(found[0], right, atol=1e-6)
    assert said == pytest.approx(dict(zip(("test/accuracy", "test/nll"), judged(right, test.labels), strict=True)))


def test_a_router_says_the_recall_of_each_branch_when_it_is_tested(own: Any) -> None:
    torch.manual_seed(0)
    module = Router(NET, SHAPE, ["x", "y"], asdict(recipe()))
    (said,) = own().test(module, datamodule=images(), verbose=False)
    classes = module.net.eval()(PIXELS(images().dataset.test.images)).argmax(dim=1)
    labels = images().dataset.test.labels
    for branch, name in enumerate("xy"):
        recall = (classes[labels == branch] == branch).float().mean().item()
        assert said[f"test/recall/{name}"] == pytest.approx(recall)
    assert set(said) == {"test/accuracy", "test/nll", "test/recall/x", "test/recall/y"}


def mixture() -> GatedEnsemble:
    """Two branches of a class each: the base says 0.8 and 0.2 of every image, the specialists are sure of theirs."""

    class Says(torch.nn.Module):
        def __init__(self, *said: float) -> None:
            super().__init__()
            self.said = torch.tensor(said)

        def forward(self, batch: Tensor) -> Tensor:
            return self.said.expand(len(batch), -1)

    return ensemble(CONSTANT, TWO, "ab", "hard", experts=[Says(0.8, 0.2), Says(1.0, 0.0), Says(0.0, 1.0)])


def test_a_mixture_is_tested_by_branch_and_asked(own: Any) -> None:
    module = mixture()
    batches = [(torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 1])), (torch.zeros(1, 1, 2, 2), torch.tensor([0]))]
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    (said,) = own().test(module, loader, verbose=False)
    # All go to the first branch, whose gate gives half to each: (0.9, 0.1).
    nll = -(2 * torch.tensor(0.9).log() + 2 * torch.tensor(0.1).log()).item() / 4
    right = {"test/accuracy": 0.5, "test/nll": nll, "test/branch/x/accuracy": 1.0, "test/branch/y/accuracy": 0.0}
    assert said == pytest.approx(right)
    found = torch.cat(own().predict(module, loader))
    assert torch.allclose(found, torch.tensor([0.9, 0.1]).expand(4, 2))


def test_a_trainers_clipping_is_done(own: Any) -> None:
    def moved(**more: Any) -> float:
        module = expert(optimizer=SGD)
        before = [parameter.detach().clone() for parameter in module.parameters()]
        own(limit_train_batches=1, limit_val_batches=0, **more).fit(module, datamodule=images())
        steps = [(b - a).flatten() for a, b in zip(module.parameters(), before, strict=True)]
        return torch.cat(steps).norm().item()

    parameters = sum(parameter.numel() for parameter in expert().parameters())
    assert moved() > 0.02 > 0.001 * parameters**0.5
    assert moved(gradient_clip_val=0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(gradient_clip_val=0.001, gradient_clip_algorithm="value") <= 0.001 * parameters**0.5


class Seen(Callback):
    """Every batch that was learnt from."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append((batch[0].clone(), batch[1].clone()))


def test_to_overfit_a_batch_it_is_the_same_in_every_epoch(own: Any) -> None:
    def seen(**more: Any) -> list[tuple[Tensor, Tensor]]:
        found = Seen()
        trainer = own(max_epochs=3, limit_val_batches=0, callbacks=[found], **more)
        trainer.fit(expert(), datamodule=images(augment=Augment(flip=True, shift=1, cutout=0)))
        return found.batches

    first, *others = seen(overfit_batches=1)
    whole = PIXELS(images().examples("train").images)
    assert len(others) == 2 and all(any(torch.equal(image, one) for one in whole) for image in first[0])
    assert all(torch.equal(first[0], batch) and torch.equal(first[1], targets) for batch, targets in others)
    first, *others = seen(limit_train_batches=1)
    assert len(others) == 2 and not any(torch.equal(first[0], batch) for batch, _ in others)


def test_batches_are_there_without_a_trainer(own: Any) -> None:
    alone, seen = images(augment=Augment(flip=True, shift=1, cutout=0)), Seen()
    own(limit_train_batches=2, limit_val_batches=0, callbacks=[seen]).fit(
        expert(), datamodule=images(augment=Augment(flip=True, shift=1, cutout=0))
    )
    assert len(seen.batches) == 2
    for (batch, targets), (made, labels) in zip(seen.batches, alone.train_dataloader(), strict=False):
        assert torch.equal(batch, made) and torch.equal(targets, labels)
    assert len(alone.train_dataloader()) == 4  # 30 images by 8
    # What was there on the CPU goes with a Trainer to its device.
    elsewhere: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("meta")), global_rank=0, world_size=1, current_epoch=0
    )
    elsewhere.overfit_batches, alone.trainer = 0.0, elsewhere
    assert alone.train_dataloader().examples.images.device.type == "meta"
    alone = images()
    ((batch, targets),) = alone.test_dataloader()
    assert torch.equal(batch, PIXELS(alone.dataset.test.images)) and torch.equal(targets, alone.dataset.test.labels)


def test_of_a_split_whose_outputs_are_not_stored_that_is_said() -> None:
    stored = (torch.zeros(10, 2, 2), torch.zeros(10, 1), torch.zeros(10).long())
    whole = ImageDataModule(*data(), PIXELS, {0: 0, 1: 1}, recipe(), seed=3, along={"val": stored})
    assert len(next(iter(whole.val_dataloader()))) == 5
    with pytest.raises(ValueError, match=r"^stored outputs are there of val, not of test$"):
        whole.test_dataloader()


def test_lightnings_tuner_finds_a_rate_and_a_batch_size(own: Any) -> None:
    module, whole = expert(), images()
    found = Tuner(own(max_epochs=-1)).lr_find(module, datamodule=whole, num_training=40, early_stop_threshold=None)
    assert found is not None and module.lr == found.suggestion() != 0.02
    assert module.configure_optimizers().param_groups[0]["lr"] == module.lr
    assert module.hparams["recipe"]["optimizer"]["lr"] == 0.02  # what it was made with
    size = Tuner(own()).scale_batch_size(module, datamodule=whole, init_val=2, max_trials=2)
    assert whole.batch_size == size == 4 and len(whole.train_dataloader()) == 8


def test_a_profilers_report_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pytorch_lightning")
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        fit("base", expert(), images(), recipe(), TRAINER, None, tmp_path)
        assert said == []
        fit("base", expert(), images(), recipe(), {**TRAINER, "profiler": "simple"}, None, tmp_path)
    finally:
        logger.removeHandler(handler)
    assert len(said) == 1 and "FIT Profiler Report" in said[0] and "run_training_batch" in said[0]
