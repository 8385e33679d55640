"""Jobs by submitit, on this machine and on a pretended Slurm cluster; what each may see of the GPUs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.moe_sweeps.submitit import SubmititLauncher
from moe.errors import ConfigError
from tests.sweep import pretended_slurm
from tests.sweep.running import arguments, processes, results, wait

pytest.importorskip("submitit")
Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(tmp_path: Path) -> Started:
    """Starts `python -m moe.train -m` with the tiny networks' overrides, and with a changed environment."""

    def started(*overrides: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "moe.train", *arguments(tmp_path, *overrides)]
        root = str(Path(__file__).parents[2])
        given: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, **environment}
        return subprocess.Popen(command, cwd=tmp_path, env=given, stdout=-1, stderr=-1, text=True)

    return started


@pytest.fixture
def start(run: Path, store: Path, tmp_path: Path, begin: Started) -> Started:
    """As `begin`, with the tiny networks in the store."""
    shutil.copytree(store, tmp_path / "store")
    return begin


def seen_gpus(where: Path, widths: tuple[int, ...]) -> dict[int, str]:
    """Of each job, by its gate's width, CUDA_VISIBLE_DEVICES as its own process has it, while it runs."""
    found: dict[int, str] = {}

    def look() -> bool:
        for width in widths:
            for process in processes(f"gate.width={width}\0", f"hydra.run.dir={where}"):
                try:
                    said = Path(f"/proc/{process}/environ").read_bytes().decode()
                except OSError:  # it has ended
                    continue
                if match := re.search(r"(?:^|\0)CUDA_VISIBLE_DEVICES=([^\0]*)", said):
                    found[width] = match[1]
        return len(found) == len(widths)

    wait(look)
    return found


def test_jobs_on_this_machine_have_a_gpu_to_themselves_and_a_wrong_one_fails_alone(
    start: Started, tmp_path: Path
) -> None:
    pretended = {"CUDA_VISIBLE_DEVICES": "4,6", "MOE_GPU_LOCKS": str(tmp_path / "locks")}
    started = start("gate.width=4,-1,8", "trainer.accelerator=auto", "hydra/launcher=slurm_local", **pretended)
    # submitit itself would hide all GPUs from its jobs.
    assert sorted(seen_gpus(tmp_path, (4, 8)).values()) == ["4", "6"]
    out, err = started.communicate(timeout=300)
    assert started.returncode == 1, out + err
    assert len(results(tmp_path / "sweep")) == 2
    assert "1 failed" in err and "gate.width must be a whole number above 0, not -1" in err


@pytest.mark.parametrize(("accelerator", "gpus"), [("auto", "1"), ("cpu", None)])
def test_a_slurm_cluster_gets_one_array_of_jobs_with_the_launchers_limits(
    start: Started, tmp_path: Path, accelerator: str, gpus: str | None
) -> None:
    pretended_slurm.install(tmp_path / "bin")
    started = start(
        *("gate.width=4,8", "plan=true", "hydra/launcher=slurm", f"trainer.accelerator={accelerator}"),
        *("hydra.launcher.timeout_min=30", "hydra.launcher.cpus_per_task=2"),
        *("hydra.launcher.slurm_partition=gpu", "+hydra.launcher.slurm_account=mine"),
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    )
    assert seen_gpus(tmp_path, (4, 8)) == {4: "0", 8: "1"}  # the cluster's choice
    out, err = started.communicate(timeout=300)
    assert started.returncode == 0, out + err
    assert len(re.findall(r"^gates +train", out, re.MULTILINE)) == 2  # each says what it would train
    asked = dict(re.findall(r"#SBATCH --([a-z-]+)=(.*)", (tmp_path / "bin" / "batch.sh").read_text()))
    expected = {"array": "0-1%2", "partition": "gpu", "account": "mine", "time": "30", "gpus-per-node": gpus}
    expected |= {"cpus-per-task": "2", "mem": "32GB"}
    assert {key: asked.get(key) for key in expected} == expected


def test_where_there_is_no_slurm_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^hydra/launcher=slurm: Could not detect \"srun\""):
        SubmititLauncher("slurm", str(tmp_path)).launch([], 0)


def test_ctrl_c_ends_the_jobs_on_this_machine(begin: Started, tmp_path: Path) -> None:
    endless = ("target=base", "base.recipe.epochs=100000", "base.recipe.patience=null")
    started = begin("seed=0", *endless, "hydra/launcher=slurm_local", "hydra.sweep.subdir=job")
    log = tmp_path / "sweep" / "job" / "train.log"
    wait(lambda: log.is_file() and "of 100000" in log.read_text())
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=300)
    assert started.returncode == 130, out + err
    (job,) = re.findall(r"^submitted (\d+)  ", out, re.MULTILINE)
    assert f"cancelled {job}" in out.splitlines()
    wait(lambda: not processes(f"hydra.run.dir={tmp_path}"))


def test_ctrl_c_cancels_the_jobs_on_slurm(begin: Started, tmp_path: Path) -> None:
    pretended_slurm.install(tmp_path / "bin", full=True)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    started = begin("gate.width=4,8", "hydra/launcher=slurm", PATH=path)
    assert started.stdout is not None
    while not started.stdout.readline().startswith("submitted 7_1 "):
        assert started.poll() is None
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=300)
    assert started.returncode == 130, out + err
    assert out.splitlines()[:2] == ["cancelled 7_0", "cancelled 7_1"]
    assert (tmp_path / "bin" / "cancelled.txt").read_text() == "7_0\n7_1\n"
    assert err == "moe: interrupted; the same command goes on from the last checkpoint\n"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"mem_gb": "x"}, 'hydra/launcher=slurm: Parameter "mem_gb" expected type'),
        ({"slurm_tyme": 3}, "hydra/launcher=slurm: Unknown argument 'tyme' for executor 'slurm' in parameter 'slurm_t"),
        ({"colour": 1}, "hydra/launcher=slurm: Parameter 'colour' need to be prefixed by an executor name."),
        ({"max_num_timeout": -1}, "hydra.launcher.max_num_timeout must be a whole number, 0 or above, not -1"),
    ],
)
def test_what_submitit_does_not_take_is_one_sentence(
    parameters: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretended_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}.*$"):
        SubmititLauncher("slurm", str(tmp_path), **parameters).launch([], 0)


def test_what_the_cluster_refuses_is_one_sentence(begin: Started, tmp_path: Path) -> None:
    pretended_slurm.install(tmp_path / "bin")
    said = "sbatch: error: Batch job submission failed: Invalid account"
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\necho 'a line before' >&2\necho '{said}' >&2\nexit 1\n")
    started = begin("gate.width=4,8", "hydra/launcher=slurm", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    out, err = started.communicate(timeout=300)
    assert started.returncode == 2, out + err
    assert err.splitlines()[-1] == f"moe: hydra/launcher=slurm: {said}" and "Traceback" not in out + err


def test_how_often_a_job_out_of_time_is_submitted_again_can_be_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretended_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    launcher = SubmititLauncher("slurm", str(tmp_path), max_num_timeout=10, timeout_min=30)
    assert launcher._executor()._executor.max_num_timeout == 10
