"""Checkpoints: what is read is what was written, or an older one."""

import hashlib
import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from quick import TRAINER

from moe.errors import StoreError
from moe.modules.checkpoint import HEAD, Checkpoints, VerifiedCheckpointIO, random_states, restore_random
from moe.modules.fit import make_trainer
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


def test_a_job_of_slurm_leaves_requeueing_to_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or Lightning would write a checkpoint of its own on SIGUSR1, and take it for the next stage's."""
    for name in ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_NNODES", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "gates")
    environment = make_trainer(TRAINER)._accelerator_connector.cluster_environment
    assert isinstance(environment, LightningEnvironment)
