"""Training that was ended goes on from its checkpoint as if it never had been."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from noise import data, ensemble
from quick import TRAINER, short_recipe

from moe.errors import NonFiniteError
from moe.modules.checkpoint import Checkpoints, VerifiedCheckpointIO
from moe.modules.ensemble import GatedEnsemble
from moe.modules.fit import fit
from moe.modules.together import End, GatesTogether, fit_together
from moe.schema import Lookahead, Recipe


def slow(**changes: Any) -> Recipe:
    adam = {"_target_": "torch.optim.Adam", "lr": 0.01}
    return short_recipe(**{"optimizer": adam, "epochs": 6, "batch_size": 8, "select": "best", **changes})


@pytest.mark.fault("an error in the middle of an epoch")
@pytest.mark.parametrize(
    "recipe",
    [
        slow(averaging=0.7, schedule="cosine", warmup=0.3, select="last"),
        slow(averaging=0.7),
        slow(patience=1),
        slow(lookahead=Lookahead(every=3, step=0.5), averaging=0.7, select="last"),
        slow(optimizer={"_target_": "torch.optim.SGD", "lr": 0.3, "momentum": 0.9}, clip=0.1),
        slow(optimizer={"_target_": "torch.optim.RMSprop", "lr": 0.01}, schedule="linear"),
    ],
)
def test_training_that_was_ended_goes_on_as_if_it_was_not(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(where: Checkpoints | None) -> Any:
        torch.manual_seed(1)
        module = ensemble(8, 0.5, recipe)
        torch.manual_seed(2)
        return fit("gates", module, data(recipe), recipe, TRAINER, None, tmp_path, None, where)

    whole, where = train(None), Checkpoints(tmp_path, "gates-0", 0.0)
    begins = GatedEnsemble.on_train_batch_start

    def ends(module: GatedEnsemble, batch: Any, index: int) -> None:
        if (module.current_epoch, index) == (3, 2):
            raise KeyError("ended")
        begins(module, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(GatedEnsemble, "on_train_batch_start", ends)
        with pytest.raises(KeyError):
            train(where)
    assert [path.name for path in sorted(tmp_path.glob("*.ckpt"))] == ["gates-0-000002.ckpt", "gates-0-000003.ckpt"]
    goes_on = train(where)
    assert goes_on.epoch == whole.epoch
    assert [{**epoch, "seconds": 0} for epoch in goes_on.curves] == [{**epoch, "seconds": 0} for epoch in whole.curves]
    assert goes_on.weights.keys() == whole.weights.keys()
    assert all(torch.equal(weight, whole.weights[name]) for name, weight in goes_on.weights.items())
    assert goes_on.earlier > 0


@pytest.mark.fault("an error in the middle of an epoch")
def test_gates_trained_together_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last one's loss is not finite from its first step on.
    recipe = slow(patience=2, optimizer={"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9})

    def train(where: Checkpoints) -> list[Any]:
        modules = [ensemble(width, 0.5, recipe) for width in (3, 8, 5)]
        with torch.no_grad():
            next(modules[2].mixture.gates.parameters()).fill_(float("nan"))
        states = []
        for number in range(3):
            torch.manual_seed(number)
            states.append(torch.get_rng_state())
        stacked = GatesTogether("gates", [module.mixture for module in modules], states, 7, asdict(recipe))
        return fit_together(stacked, data(recipe), recipe, TRAINER, tmp_path, where)[0]

    whole = train(Checkpoints(tmp_path, "together-0", 1000.0))
    assert not list(tmp_path.glob("*.ckpt"))  # not so soon
    where = Checkpoints(tmp_path, "together-1", 0.0)
    steps = GatesTogether.training_step

    def ends(module: GatesTogether, batch: Any, index: int) -> Any:
        if (module.current_epoch, index) == (2, 2):
            raise KeyError("ended")
        return steps(module, batch, index)

    with monkeypatch.context() as patched:
        patched.setattr(GatesTogether, "training_step", ends)
        with pytest.raises(KeyError):
            train(where)
    goes_on = train(where)
    assert isinstance(whole[2], NonFiniteError) and str(goes_on[2]) == str(whole[2])
    for mine, other in zip(goes_on[:2], whole[:2], strict=True):
        assert mine.epoch == other.epoch and len(mine.curves) == len(other.curves)
        assert all(torch.equal(weight, other.weights[name]) for name, weight in mine.weights.items())


def test_gates_trained_together_on_another_kind_of_device_go_on_with_draws_of_their_own() -> None:
    # A state of a CPU's generator is none of a GPU's, and the other way about.
    recipe = slow()
    module = GatesTogether("gates", [ensemble(3, 0.5, recipe).mixture], [torch.get_rng_state()], 7, asdict(recipe))
    checkpoint: dict[str, Any] = {"together": {"epochs": 2, "first_bad": torch.tensor([-1]), "device": "cuda"}}
    checkpoint["together"] |= {"generators": [torch.zeros(16, dtype=torch.uint8)], "ends": [End("gates").state_dict()]}
    module.on_load_checkpoint(checkpoint)
    module.on_fit_start()
    assert torch.equal(module.generators[0].get_state(), module.random[0])
    checkpoint["together"]["device"] = "cpu"
    with pytest.raises(RuntimeError, match="size"):
        module.on_fit_start()


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_after_a_loss_that_is_not_finite_the_last_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, recipe = Checkpoints(tmp_path, "gates-0", 0.0), slow(averaging=0.7)
    steps = GatedEnsemble.training_step

    def spoilt(module: GatedEnsemble, batch: Any, index: int) -> Any:
        return steps(module, batch, index) * (float("nan") if (module.current_epoch, index) == (2, 1) else 1.0)

    monkeypatch.setattr(GatedEnsemble, "training_step", spoilt)
    # Five steps an epoch, and the guard looks at each.
    for _ in range(2):  # the second time it goes on from that checkpoint, to the same end
        with pytest.raises(NonFiniteError, match="at step 11;"):
            fit("gates", ensemble(8, 0.5, recipe), data(recipe), recipe, TRAINER, None, tmp_path, None, where)
        newest = where.newest()
        assert newest == where.path(2)
        found = VerifiedCheckpointIO().load_checkpoint(newest)
        tensors = [*found["state_dict"].values(), *found["current_model_state"].values()]
        tensors += [v for state in found["optimizer_states"][0]["state"].values() for v in state.values()]
        assert all(torch.isfinite(tensor).all() for tensor in tensors) and len(tensors) > 10
