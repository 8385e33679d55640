"""What ProcessLauncher gives each job, with pretended GPUs and jobs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.moe_sweeps.launchers import ProcessLauncher
from moe import cpus
from moe.sweep import gpus, jobs
from moe.sweep.jobs import Command

Given = list[tuple[dict[str, str], Mapping[str, str]]]


def launched(patch: pytest.MonkeyPatch, gpu: bool = True, **parameters: Any) -> Given:
    """The environment and the GPUs of each of two jobs on a machine of two GPUs and twelve CPUs."""
    given: Given = []

    def run(command: Command, devices: Mapping[str, str], environment: dict[str, str], *_: Any) -> None:
        given.append((environment, devices))

    patch.setattr(jobs, "run", run)
    patch.setattr(gpus, "visible", lambda: {"0": "GPU-a", "1": "GPU-b"})
    patch.setattr(cpus, "granted", lambda: 12)
    launcher = ProcessLauncher(**parameters)
    patch.setattr(launcher, "commands", lambda overrides: [Command([], Path(name), gpu=gpu) for name in "ab"])
    patch.setattr(launcher, "said_plan", lambda command: True)
    patch.setattr(launcher, "returned", lambda command: None)
    launcher.launch([[], []], 0)
    return given


@pytest.mark.parametrize(
    ("gpu", "parameters", "threads"),
    [
        (True, {}, "6"),  # two at once, a GPU each
        (False, {}, "12"),  # one at a time, whatever GPUs there are
        (False, {"n_jobs": 3}, "4"),
        (True, {"threads": 5}, "5"),
    ],
)
def test_cpus_are_shared_by_the_jobs_that_run_at_once(
    gpu: bool, parameters: dict[str, int], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cards = {"0": "GPU-a", "1": "GPU-b"}
    assert launched(monkeypatch, gpu, **parameters) == [({"OMP_NUM_THREADS": threads}, cards)] * 2


def test_what_the_launcher_is_told_goes_before_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [environment for environment, _ in launched(monkeypatch, threads=3)] == [{"OMP_NUM_THREADS": "3"}] * 2
    assert [environment for environment, _ in launched(monkeypatch)] == [{}] * 2
