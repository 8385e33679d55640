"""Checkpoints of a network in training: a killed command goes on from the last one, to the same weights.

A checkpoint is written between two epochs, whole or not at all, and read only where it is what was written: Lightning's
own writer stages in the folder for temporary files, which may be on another device, and torch checks no sums.
"""

import hashlib
import io
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer

from moe.errors import StoreError
from moe.schema import Plain
from moe.store import write_whole

log = logging.getLogger(__name__)
HEAD = b"moe checkpoint "  # then the SHA-256 in hexadecimal and a line's end
KEPT = 2  # the newest, and one before it should the newest be damaged


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoints of the stage `key` lie, and the least `seconds` between two of them.

    `learns_from` tells the weights that the stage reads from others under the same keys, from which none goes on.
    """

    folder: Path
    key: str
    seconds: float
    learns_from: str = ""

    def path(self, epochs: int) -> Path:
        """The file for what so many epochs have trained."""
        return self.folder / f"{self.key}-{epochs:06d}{self._suffix}"

    def newest(self) -> Path | None:
        """The newest that is as it was written, or None; warns of each that is not."""
        for path in reversed(self._present()):
            try:
                _verified(path)
            except StoreError as error:
                log.warning("%s; it is left out", error)
            else:
                return path
        return None

    def drop(self, kept: int = 0) -> None:
        """Remove all but the newest so many, and what writes that were cut off have left."""
        for path in self._present()[:-kept] if kept else self.folder.glob(f"{self.key}-*.ckpt"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f".{self.key}-*"):
            path.unlink(missing_ok=True)

    def _present(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.key}-*{self._suffix}"))

    @property
    def _suffix(self) -> str:
        return f".{self.learns_from}.ckpt" if self.learns_from else ".ckpt"


class VerifiedCheckpointIO(CheckpointIO):
    """Lightning's way to the disk: checkpoints written durably beside their place, and none loaded unverified."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all. Raises StoreError where that cannot be."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content, path = buffer.getvalue(), Path(path)
        head = HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, head + content)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """What `save_checkpoint` wrote: tensors and plain values alone. Raises StoreError for anything else."""
        content = _verified(Path(path))
        try:
            found: dict[str, Any] = torch.load(io.BytesIO(content), map_location, weights_only=True)
        except Exception as error:  # it unpickles, and so may raise whatever it meets
            raise StoreError(f"{path} is no checkpoint: {' '.join(str(error).split())[:200]}") from None
        return found

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def _verified(path: Path) -> bytes:
    try:
        head, _, content = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from None
    if head != HEAD + hashlib.sha256(content).hexdigest().encode():
        raise StoreError(f"{path} is damaged: its checksum is not the one that was written")
    return content


class SaveProgress(Callback):
    """Writes a checkpoint as an epoch begins, where the last one is old enough; must come after all other callbacks.

    At that moment everything of the epoch before is done and logged, so that going on from there repeats nothing. After
    the last epoch none is written. `earlier` are the seconds of training that a loaded checkpoint has behind it.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints, self.earlier = checkpoints, 0.0
        self._start = self._saved = time.monotonic()
        self._random: list[Plain] = []
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        return {"random": self._random, "seconds": self.earlier + time.monotonic() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random, self.earlier, self._resumed = state_dict["random"], state_dict["seconds"], True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._resumed:
            # An epoch begins here, but Lightning takes its loop over batches to be where the last epoch ended.
            trainer.fit_loop.epoch_loop.restarting = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._resumed:
            self._resumed = False
            if trainer.global_rank < len(self._random):
                restore_random(self._random[trainer.global_rank])
            return
        due = trainer.current_epoch > 0 and time.monotonic() - self._saved >= self.checkpoints.seconds
        if not trainer.strategy.broadcast(due):  # the clocks of several processes may not agree
            return
        self._random = _of_all(random_states(), trainer)
        trainer.save_checkpoint(self.checkpoints.path(trainer.current_epoch))
        self._saved = time.monotonic()
        if trainer.is_global_zero:
            self.checkpoints.drop(KEPT)


def _of_all(mine: Plain, trainer: Trainer) -> list[Plain]:
    """What each process of those that train together has, by rank."""
    if trainer.world_size == 1:
        return [mine]
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, mine)
    return found


def random_states() -> Plain:
    """The states of this process's global random generators, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    numbers: Any = keys
    return {
        "python": random.getstate(),
        "numpy": (name, numbers.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def restore_random(states: Plain) -> None:
    """Put every global random generator back into the state that `random_states` found."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
