from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from moe.errors import NonFiniteError
from moe.modules.callbacks import FiniteGuard
from moe.modules.recipe import RecipeModule
from tests.modules.scripts import INF, NAN, OPTIMIZERS, Batches, plain_recipe

# What Lightning 2.6.6 asks of torch 2.15 and what torch says of it; moe.modules.fit keeps it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


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
