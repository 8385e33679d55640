"""Checkpoints: what is read is what was written, or an older one; training goes on from there as if never ended."""

import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from noise import data, ensemble
from quick import TRAINER, short_recipe

from moe.errors import NonFiniteError, StoreError
from moe.modules.checkpoint import HEAD, Checkpoints, VerifiedCheckpointIO, random_states, restore_random
from moe.modules.ensemble import GatedEnsemble
from moe.modules.fit import fit, make_trainer
from moe.modules.together import GatesTogether, fit_together
from moe.schema import Lookahead, Recipe
from moe.store import files


def written(folder: Path, *values: int) -> Checkpoints:
    """Checkpoints of as many epochs, each of a tensor."""
    found = Checkpoints(folder, "base-0123", 0.0)
    for epochs, value in enumerate(values, 1):
        VerifiedCheckpointIO().save_checkpoint({"weight": torch.full((3,), value)}, found.path(epochs))
    return found


def read(path: Path | None) -> Any:
    assert path is not None
    return VerifiedCheckpointIO().load_checkpoint(path)["weight"].tolist()


@pytest.mark.fault("truncated, zero-byte, bit-flipped checkpoint")
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],  # in the checksum itself
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    found = written(tmp_path, 5, 6)
    assert read(found.newest()) == [6, 6, 6]
    newest = found.path(2)
    newest.write_bytes(damage(newest.read_bytes()))
    assert read(found.newest()) == [5, 5, 5]
    assert [r.message for r in caplog.records] == [
        f"{newest} is damaged: its checksum is not the one that was written; it is left out"
    ]
    with pytest.raises(StoreError, match="is damaged"):
        read(newest)


def test_without_a_sound_checkpoint_there_is_none(tmp_path: Path) -> None:
    found = written(tmp_path, 5)
    found.path(1).write_bytes(b"")
    assert found.newest() is None
    assert Checkpoints(tmp_path / "nowhere", "base-0123", 0.0).newest() is None


def test_other_stages_checkpoints_are_left_alone(tmp_path: Path) -> None:
    mine, other = written(tmp_path, 1, 2, 3), Checkpoints(tmp_path, "base-4567", 0.0)
    VerifiedCheckpointIO().save_checkpoint({"weight": torch.zeros(3)}, other.path(9))
    (tmp_path / ".base-0123-000004.ckpt.0af3").touch()  # of a write that was cut off
    mine.drop(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base-0123-000002.ckpt",
        "base-0123-000003.ckpt",
        "base-4567-000009.ckpt",
    ]
    mine.drop()
    assert [path.name for path in tmp_path.iterdir()] == ["base-4567-000009.ckpt"]


class Canary:
    """What a pickle can do to whoever reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.fault("malicious pickle, hyper-parameters and addresses as a checkpoint")
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, by_torch: bool) -> None:
    canary, buffer = tmp_path / "canary", io.BytesIO()
    if by_torch:
        torch.save({"hyper_parameters": {"_instantiator": Canary(canary)}}, buffer)
    else:
        pickle.dump(Canary(canary), buffer)
    content = buffer.getvalue()
    path = tmp_path / "base-0123-000001.ckpt"
    path.write_bytes(HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)  # by who knows the format
    with pytest.raises(StoreError, match="is no checkpoint"):
        VerifiedCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not canary.exists()


@pytest.mark.fault("disk full, read-only folder")
def test_where_no_more_can_be_written_the_older_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = written(tmp_path, 5)
    before = found.path(1).read_bytes()

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:100])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_durably", full)
    for epochs in (1, 2):
        with pytest.raises(StoreError) as error:
            VerifiedCheckpointIO().save_checkpoint({"weight": torch.zeros(9)}, found.path(epochs))
        assert str(error.value) == f"{found.path(epochs)} cannot be written: No space left on device"
    assert found.path(1).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["base-0123-000001.ckpt"]


def draws() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.rand()), torch.rand(2).tolist()


def test_every_random_generator_goes_back(tmp_path: Path) -> None:
    draws()
    buffer = io.BytesIO()
    torch.save(random_states(), buffer)
    first = draws()
    assert draws() != first
    buffer.seek(0)
    restore_random(torch.load(buffer, weights_only=True))
    assert draws() == first


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


def test_a_job_of_slurm_leaves_requeueing_to_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or Lightning would write a checkpoint of its own on SIGUSR1, and take it for the next stage's."""
    for name in ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_NNODES", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "gates")
    environment = make_trainer(TRAINER)._accelerator_connector.cluster_environment
    assert isinstance(environment, LightningEnvironment)
