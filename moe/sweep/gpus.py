"""One GPU a job: a lock file for each, held by the job's own process for as long as it lives."""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.2
TRIES = 2


@dataclass(frozen=True)
class Lease:
    """A GPU held through an open, locked file. Whoever inherits `handle` holds it too, dead processes do not."""

    gpu: str
    handle: int

    def close(self) -> None:
        """Give up this process's part; the GPU is free when no process has the file open any more."""
        os.close(self.handle)


def visible(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, each with a name that lasts.

    CUDA is not started for it. Who starts many jobs asks once: if nvidia-smi fails meanwhile, cards keep their names.
    """
    said = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return _identities()
    listed = [part.strip() for part in said.split(",") if part.strip() not in ("", "-1")]
    names = _identities() if listed else {}
    return {gpu: names.get(gpu, gpu) for gpu in listed}


def lease(gpus: Mapping[str, str], give_up: Callable[[], bool] = lambda: False) -> Lease | None:
    """One of these GPUs that no other job on this machine holds; waits for one. None once `give_up` says so."""
    while not give_up():
        for gpu, name in gpus.items():
            handle = os.open(_lock_file(name), os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                continue
            return Lease(gpu, handle)
        time.sleep(POLL_SECONDS)
    return None


def _identities() -> dict[str, str]:
    """Each GPU's index and its lasting name; inside a Slurm job several cards may be called 0."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    for _ in range(TRIES):  # on a machine with much to do it may take too long once
        try:
            listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        except OSError:
            break  # there is none
        except subprocess.SubprocessError:
            continue
        return {index.strip(): name.strip() for index, _, name in (row.partition(",") for row in listed.splitlines())}
    return {}


def _lock_file(gpu: str) -> Path:
    # Of the machine and not of the store, which several machines may share.
    folder = Path(os.environ.get("MOE_GPU_LOCKS") or Path(tempfile.gettempdir()) / f"moe-gpus-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{''.join(c if c.isalnum() or c in '-_' else '-' for c in gpu)}.lock"
