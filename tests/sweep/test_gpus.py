"""One GPU a job, with pretended GPUs: names and lock files need no card."""

import subprocess
import sys
from pathlib import Path

import pytest

from moe.sweep import gpus


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOE_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(gpus, "_identities", dict)  # no card, whatever machine this is
    return tmp_path / "locks"


@pytest.mark.parametrize(
    ("said", "found"),
    [("0,1", ["0", "1"]), (" 2 , GPU-5f ", ["2", "GPU-5f"]), ("", []), ("-1", []), ("3", ["3"])],
)
def test_the_visible_gpus_are_what_the_environment_says(said: str, found: list[str]) -> None:
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": said}) == found


def test_without_the_variable_they_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_identities", lambda: {"0": "GPU-a", "1": "GPU-b"})
    assert gpus.visible({}) == ["0", "1"]


def test_no_two_leases_are_of_one_gpu_and_a_free_one_is_waited_for() -> None:
    first, second = gpus.lease(["0", "1"]), gpus.lease(["0", "1"])
    assert first is not None and second is not None
    assert {first.gpu, second.gpu} == {"0", "1"}
    asked = iter([False, False, True])
    assert gpus.lease(["0", "1"], lambda: next(asked)) is None  # it looked twice and found none
    first.close()
    third = gpus.lease(["0", "1"])
    assert third is not None and third.gpu == first.gpu
    second.close()
    third.close()


def test_a_card_is_locked_by_its_lasting_name(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two Slurm jobs on one machine both call their card 0.
    monkeypatch.setattr(gpus, "_identities", lambda: {"0": "GPU-a"})
    one = gpus.lease(["0"])
    assert one is not None and [path.name for path in locks.iterdir()] == ["GPU-a.lock"]
    assert gpus.lease(["GPU-a"], iter([False, True]).__next__) is None
    one.close()


def test_the_jobs_own_process_holds_its_gpu_until_it_is_killed() -> None:
    held = gpus.lease(["0"])
    assert held is not None
    job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[held.handle])
    held.close()  # the sweep itself may die, the job still has the card
    assert gpus.lease(["0"], iter([False, True]).__next__) is None
    job.kill()
    job.wait()
    after = gpus.lease(["0"])
    assert after is not None
    after.close()
