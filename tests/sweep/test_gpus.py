"""One GPU a job, with pretended GPUs: names and lock files need no card."""

import subprocess
import sys
from pathlib import Path

import pytest

from moe.sweep import gpus

ONE, TWO = {"0": "0"}, {"0": "0", "1": "1"}


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
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": said}) == dict(zip(found, found, strict=True))


def test_without_the_variable_they_are_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_identities", lambda: {"0": "GPU-a", "1": "GPU-b"})
    assert gpus.visible({}) == {"0": "GPU-a", "1": "GPU-b"}
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": "1,2"}) == {"1": "GPU-b", "2": "2"}


def test_no_two_leases_are_of_one_gpu_and_a_free_one_is_waited_for() -> None:
    first, second = gpus.lease(TWO), gpus.lease(TWO)
    assert first is not None and second is not None
    assert {first.gpu, second.gpu} == {"0", "1"}
    asked = iter([False, False, True])
    assert gpus.lease(TWO, lambda: next(asked)) is None  # it looked twice and found none
    first.close()
    third = gpus.lease(TWO)
    assert third is not None and third.gpu == first.gpu
    second.close()
    third.close()


def test_a_card_is_locked_by_its_lasting_name(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two Slurm jobs on one machine both call their card 0.
    monkeypatch.setattr(gpus, "_identities", lambda: {"0": "GPU-a"})
    card = gpus.visible({"CUDA_VISIBLE_DEVICES": "0"})
    one = gpus.lease(card)
    assert one is not None and [path.name for path in locks.iterdir()] == ["GPU-a.lock"]
    assert gpus.lease({"GPU-a": "GPU-a"}, iter([False, True]).__next__) is None
    monkeypatch.setattr(gpus, "_identities", dict)  # nvidia-smi fails while the sweep is under way
    assert gpus.lease(card, iter([False, True]).__next__) is None
    one.close()


def test_the_jobs_own_process_holds_its_gpu_until_it_is_killed() -> None:
    held = gpus.lease(ONE)
    assert held is not None
    job = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[held.handle])
    held.close()  # the sweep itself may die, the job still has the card
    assert gpus.lease(ONE, iter([False, True]).__next__) is None
    job.kill()
    job.wait()
    after = gpus.lease(ONE)
    assert after is not None
    after.close()


def test_nvidia_smi_is_asked_again_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"#!/bin/sh\necho asked >> {tmp_path}/asked\n[ $(wc -l < {tmp_path}/asked) = 2 ] && echo '0, GPU-a'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpus._identities() == {"0": "GPU-a"}
    (tmp_path / "asked").write_text("\n" * 2)  # from now on it fails
    assert gpus._identities() == {}
    assert (tmp_path / "asked").read_text().count("asked") == 2
