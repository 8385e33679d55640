"""Gates trained together and alone, on the same images in the same order."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from noise import data, ensemble
from quick import TRAINER, short_recipe
from torch import Tensor

import moe.together as jobs
from moe.errors import NonFiniteError
from moe.job import planned
from moe.modules.checkpoint import Checkpoints
from moe.modules.ensemble import GatedEnsemble
from moe.modules.fit import Fitted, fit
from moe.modules.together import End, GatesTogether, fit_together, obstacle
from moe.schema import Recipe
from tests.jobs import job

recipe = partial(
    short_recipe, optimizer={"_target_": "torch.optim.Adam", "lr": 0.01}, epochs=8, batch_size=8, select="best"
)


def alone(folder: Path, recipe: Recipe, module: GatedEnsemble) -> Fitted:
    fitted = fit("gates", module, data(recipe), recipe, TRAINER, None, folder)
    weights = {k.removeprefix("mixture.gates."): v for k, v in fitted.weights.items() if "gates" in k}
    return Fitted(weights, fitted.epoch, fitted.curves)


def together(
    folder: Path, recipe: Recipe, modules: list[GatedEnsemble], states: list[Tensor]
) -> list[Fitted | NonFiniteError]:
    stacked = GatesTogether("gates", [module.mixture for module in modules], states, 7, asdict(recipe))
    return fit_together(stacked, data(recipe), recipe, TRAINER, folder, Checkpoints(folder, "together-0", 1000))[0]


def both(
    folder: Path, recipe: Recipe, company: list[tuple[int, float]], routing: str = "hard"
) -> list[tuple[Any, Fitted]]:
    """What came of each gate, (width, dropout), with the others and alone."""
    found, modules, states = [], [], []
    for width, dropout in company:
        found.append(alone(folder, recipe, ensemble(width, dropout, recipe, routing)))
        modules.append(ensemble(width, dropout, recipe, routing))
        states.append(torch.get_rng_state())
    return list(zip(together(folder, recipe, modules, states), found, strict=True))


@pytest.mark.parametrize(
    ("routing", "dropout", "changes"),
    [
        ("hard", 0.0, {}),
        ("hard", 0.5, {"patience": 2}),
        ("soft", 0.5, {"select": "last", "patience": 1, "schedule": "cosine", "warmup": 0.2}),
        ("none", 0.0, {"clip": 0.05, "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.3, "momentum": 0.9}}),
        ("hard", 0.0, {"clip": 0.05, "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.01}}),
    ],
)
def test_together_is_as_alone(tmp_path: Path, routing: str, dropout: float, changes: dict[str, Any]) -> None:
    pairs = both(tmp_path, recipe(**changes), [(3, dropout), (40, dropout), (8, dropout)], routing)
    for with_others, by_itself in pairs:
        assert with_others.epoch == by_itself.epoch
        assert list(with_others.weights) == list(by_itself.weights)
        for name, weight in by_itself.weights.items():
            torch.testing.assert_close(with_others.weights[name], weight, atol=1e-5, rtol=0)
        assert len(with_others.curves) == len(by_itself.curves)
        for one, other in zip(with_others.curves, by_itself.curves, strict=True):
            assert set(one) == set(other)
            assert {k: v for k, v in one.items() if k != "seconds"} == pytest.approx(
                {k: v for k, v in other.items() if k != "seconds"}, abs=1e-5
            )


def test_gates_end_each_in_its_own_epoch(tmp_path: Path) -> None:
    pairs = both(tmp_path, recipe(patience=1, epochs=30), [(2, 0.0), (64, 0.0)])
    lengths = [len(with_others.curves) for with_others, _ in pairs]
    assert lengths == [len(by_itself.curves) for _, by_itself in pairs]
    assert len(set(lengths)) == 2 and max(lengths) < 30


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_gate_that_is_not_finite_fails_alone(tmp_path: Path) -> None:
    own = recipe(epochs=3)
    modules, states = [], []
    for width in (4, 5, 6):
        modules.append(ensemble(width, 0.0, own))
        states.append(torch.get_rng_state())
    expected = [alone(tmp_path, own, ensemble(width, 0.0, own)) for width in (4, 6)]
    with torch.no_grad():
        modules[1].mixture.gates[1].net[4].bias[0] = torch.inf  # type: ignore[index,union-attr]
    first, bad, last = together(tmp_path, own, modules, states)
    assert isinstance(bad, NonFiniteError)
    assert str(bad) == "gates: the loss was NaN or infinite at step 0"
    for found, by_itself in zip((first, last), expected, strict=True):
        assert isinstance(found, Fitted)
        for name, weight in by_itself.weights.items():
            torch.testing.assert_close(found.weights[name], weight, atol=1e-5, rtol=0)


def test_training_ends_where_all_have_failed(tmp_path: Path) -> None:
    own = recipe(epochs=50, optimizer={"_target_": "torch.optim.SGD", "lr": 1e38})
    modules = [ensemble(width, 0.0, own) for width in (4, 5)]
    stacked = GatesTogether("gates", [m.mixture for m in modules], [torch.get_rng_state()] * 2, 7, asdict(own))
    found, _ = fit_together(stacked, data(own), own, TRAINER, tmp_path, Checkpoints(tmp_path, "together-0", 1000))
    assert all(isinstance(error, NonFiniteError) for error in found)
    assert stacked.current_epoch < 3


def test_the_best_epoch_and_patience_by_hand() -> None:
    end = End("gates")
    said = [end.judge({"epoch": n, "val/nll": nll}, -1, 2) for n, nll in enumerate([3.0, 2.0, 2.0, 1.0, 1.5, 1.0])]
    # Equal is no better; two epochs without a lower loss, 1.5 and 1.0, end it.
    assert said == [True, True, False, True, False, False]
    assert end.over and end.error is None and len(end.curves) == 6


def test_what_keeps_gates_apart() -> None:
    assert obstacle(recipe(), TRAINER) is None
    for name in ("averaging", "lookahead", "muon"):
        assert obstacle(replace(recipe(), **{name: object()}), TRAINER) == f"gate.recipe.{name}"
    assert obstacle(recipe(optimizer={"_target_": "torch.optim.LBFGS"}), TRAINER) == "gate.recipe.optimizer"
    assert obstacle(recipe(), {**TRAINER, "devices": 2}) == "trainer.devices"
    assert obstacle(recipe(), {**TRAINER, "limit_train_batches": 3}) == "trainer.limit_train_batches"


def test_a_checkpoint_has_gates_in_one_order_however_jobs_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Stacked in the order of the jobs, gate.width=16,32 killed and gate.width=32,16 given would swap the two's weights.
    for asked in (["gates-b", "gates-a"], ["gates-a", "gates-b"]):
        monkeypatch.setattr(jobs, "_company", lambda job, stage, entries, asked=asked: ((key, key) for key in asked))
        assert list(jobs._members(None, None, {}).items()) == [("gates-a", "gates-a"), ("gates-b", "gates-b")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("mixture.cascade=0.9", "mixture.cascade=0.9"),
        ("gate.frozen=live", "gate.frozen=live"),
        ("gate=conv", "ConvGate cannot be stacked"),
        ("gate=confidence", None),
    ],
)
def test_which_jobs_gates_learn_alone(override: str, said: str | None) -> None:
    made = job(override)
    assert jobs._obstacle(made, planned(made)[-1]) == said
