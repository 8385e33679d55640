"""Lookahead by hand, on a weight to which every step adds one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from quick import TRAINER

from moe.errors import NonFiniteError
from moe.modules.callbacks import FiniteGuard
from moe.modules.fit import fit
from moe.modules.lookahead import Lookahead
from moe.schema import Lookahead as Settings
from tests.modules.scripts import Line, Scripted, Two, Weights, plain_recipe, recipe, rows, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


class Batches:
    def __init__(self, count: int) -> None:
        self.batches = [torch.zeros(1)] * count

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return iter(self.batches)


def stepped(lookahead: Lookahead, steps: int, epochs: int) -> list[float]:
    seen = Weights()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[lookahead, seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scripted([]), Batches(steps))
    return [float(weight) for weight in seen.seen]


def test_slow_weights_go_half_of_the_way_every_second_step_and_at_an_epochs_end() -> None:
    # From 0: 1; 2, so slow 0 + (2 - 0) / 2 = 1; 2, the epoch's end, so slow 1 + (2 - 1) / 2 = 1.5. Then step 4: 2.5, so
    # slow 1.5 + 1 / 2 = 2; step 5: 3; step 6: 4, so slow 2 + 2 / 2 = 3.
    assert stepped(Lookahead(2, 0.5), steps=3, epochs=2) == [0, 1, 1, 1.5, 2, 3, 3]


def test_a_whole_step_leaves_the_fast_weights_as_they_are() -> None:
    assert stepped(Lookahead(2, 1.0), steps=2, epochs=2) == [0, 1, 2, 3, 4]


def test_it_goes_on_from_the_slow_weights_that_it_had() -> None:
    lookahead = Lookahead(2, 0.25)
    lookahead.load_state_dict({"slow": {"weight": torch.tensor(10.0)}})
    # 1; 2, so slow 10 + (2 - 10) / 4 = 8.
    assert stepped(lookahead, steps=2, epochs=1) == [0, 1, 8]
    assert lookahead.state_dict()["slow"]["weight"] == 8


@pytest.mark.parametrize("optimizer", ["Adam", "SGD with momentum"])
@pytest.mark.fault("NaN or infinite loss or gradient")
def test_nothing_that_is_not_finite_reaches_the_slow_weights(optimizer: str) -> None:
    lookahead = Lookahead(2, 0.5)
    module = Line(plain_recipe(optimizer), bad_step=3, fault="NaN gradient")
    seen = trained(module, rows(8), FiniteGuard("x", every=5), lookahead)
    assert "at step 3;" in module.error
    # Step 3, the fourth, changes nothing but that the slow weights, those after step 1, go half of the way to step 2's.
    torch.testing.assert_close(seen[4], (seen[2] + seen[3]) / 2)
    assert torch.isfinite(seen[-1]).all() and not torch.equal(seen[3], seen[2])
    assert all(torch.isfinite(slow).all() for slow in lookahead.state_dict()["slow"].values())


def test_the_recipes_key_is_what_switches_it_on(tmp_path: Path) -> None:
    learns = recipe(epochs=2, lookahead=Settings(every=5, step=0.5), select="last")
    fitted = fit("x", Scripted([2.0, 1.0]), Two(), learns, TRAINER, None, tmp_path)
    # Two steps an epoch: 2, so 1; 3, so 1 + (3 - 1) / 2 = 2.
    assert fitted.weights["weight"].item() == 2.0
    with pytest.raises(NonFiniteError):  # the guard is still there
        fit("x", Scripted([float("nan")]), Two(), recipe(epochs=1), TRAINER, None, tmp_path)


def test_it_is_every_so_many_steps_as_the_recipe_says(tmp_path: Path) -> None:
    learns = recipe(epochs=1, lookahead=Settings(every=1, step=0.5), averaging=0.5, select="last")
    fitted = fit("x", Scripted([1.0]), Two(), learns, TRAINER, None, tmp_path)
    # Slow 1 / 2, from which the second step comes to 1.5: slow 1. Half of each; of every second or later step 1.
    assert fitted.weights["weight"].item() == 0.75


def test_what_is_averaged_are_the_slow_weights(tmp_path: Path) -> None:
    learns = recipe(epochs=1, lookahead=Settings(every=2, step=0.5), averaging=0.5, select="last")
    fitted = fit("x", Scripted([1.0]), Two(), learns, TRAINER, None, tmp_path)
    # After the first step 1; after the second 2, so slow 1: half of each. Of the fast ones it would be 1.5.
    assert fitted.weights["weight"].item() == 1.0
