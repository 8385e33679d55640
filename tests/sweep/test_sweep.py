"""Real sweeps on digits: jobs that fail, are killed, run beside others; every launcher.

All read the tiny networks of `store`, so that a job trains its gates alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus

from hydra_plugins.moe_sweeps.launchers import ProcessLauncher
from moe.errors import ConfigError, StoreError
from moe.sweep import callback
from moe.sweep.jobs import Command
from moe.sweep.record import alone
from tests.commands import Commands
from tests.sweep.running import ENVIRONMENT, Sweep, arguments, jobs, processes, results, wait


def test_failed_jobs_leave_the_others_and_are_told_at_the_end(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("gate.recipe.optimizer.lr=0.001,1e38", "gate=mlp,nonsense", "gate.width=8,-3")
    # Of 2 x 2 x 2 jobs one is right: a width is refused, a gate does not exist, a learning rate ends in NaN.
    assert done.returncode == 1, done.stdout + done.stderr
    folder = tmp_path / "sweep"
    assert len(results(folder)) == 1
    assert "7 failed" in done.stderr
    assert done.stderr.count("gate.width must be a whole number above 0, not -3") == 2
    assert done.stderr.count("gate=nonsense: there is no such option") == 4
    assert len(re.findall(r"gates: the (loss|gradient) .*", done.stderr)) == 1
    assert done.stderr.count("python -m moe.train experiment=demo") == 7
    assert "Traceback" not in done.stdout + done.stderr

    # A failed job's command runs it again, alone and in its folder.
    command = next(line for line in done.stderr.splitlines() if "gate.width=-3" in line and "gate=mlp" in line)
    again = subprocess.run(
        command.strip().replace("python ", f"{sys.executable} ", 1),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 2
    assert again.stderr.strip() == "moe: gate.width must be a whole number above 0, not -3"


def test_two_jobs_may_not_have_one_folder(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("hydra.sweep.subdir=w${gate.width}", "gate.width=4", "seed=0,1")
    assert done.returncode == 2
    assert done.stderr == (
        "moe: hydra.sweep.subdir gives two jobs the folder w4: seed=0 and seed=1; name in it what is swept\n"
    )
    assert not list(tmp_path.rglob("results.json"))


def test_a_job_that_is_named_twice_is_one(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("gate.width=4", "seed=0,0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 1 job\n" in done.stdout and len(results(tmp_path / "sweep")) == 1


FAILS = """
import gc, weakref
import torch
from moe.modules.ensemble import GatedEnsemble
from moe import train

class Kept(torch.nn.Module):
    pass

kept, learn = [], GatedEnsemble.training_step

def step(self, batch, number):
    if not kept:
        dear = Kept()
        kept.append(weakref.ref(dear))
        said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.06"
        raise torch.OutOfMemoryError(said)
    gc.collect()
    if kept[0]() is not None:
        print("still there", flush=True)
    return learn(self, batch, number)

GatedEnsemble.training_step = step
train.main()
"""


def test_a_job_out_of_memory_gives_back_what_it_held(sweep: Sweep, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    done = commands.run([tmp_path / "fails.py", *arguments(tmp_path, "gate.width=4,8")], tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    said = "gates: CUDA out of memory. Tried to allocate 2.00 GiB; with gate.recipe.batch_size="
    assert said in done.stderr and "1 failed" in done.stderr and "Traceback" not in done.stderr
    assert [job.name for job in (tmp_path / "sweep").glob("*/")] and len(results(tmp_path / "sweep")) == 1
    assert "still there" not in done.stdout


def test_a_job_that_is_killed_leaves_the_others(sweep: Sweep, tmp_path: Path) -> None:
    launcher = ("hydra/launcher=processes", "hydra.launcher.n_jobs=2")
    command = arguments(tmp_path, "gate.width=4,8", "trainer.accelerator=auto", *launcher)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0,1", "MOE_GPU_LOCKS": str(tmp_path / "locks")}
    started = subprocess.Popen(
        [sys.executable, "-m", "moe.train", *command],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait(lambda: processes("gate.width=8", f"hydra.run.dir={tmp_path}"))
    os.kill(processes("gate.width=8", f"hydra.run.dir={tmp_path}")[0], signal.SIGKILL)
    out, err = started.communicate(timeout=300)
    assert started.returncode == 1
    assert list(results(tmp_path / "sweep")) == [jobs(tmp_path / "sweep")["4"].name]
    assert "1 failed" in err and "killed by SIGKILL" in err
    # Each had a pretended GPU to itself.
    assert sorted(re.findall(r"started on GPU (\d)", out)) == ["0", "1"]


def test_two_sweeps_at_once_over_one_store(sweep: Sweep, tmp_path: Path) -> None:
    command = arguments(tmp_path, "gate.width=4,8", "hydra.sweep.subdir=${gate.width}")  # even in one folder
    own, said = tmp_path / "sweep" / "4", [tmp_path / f"{number}.txt" for number in range(2)]
    with alone(own):  # until both are there
        both = []
        for file in said:
            with file.open("w") as out:
                line = [sys.executable, "-m", "moe.train", *command]
                both.append(subprocess.Popen(line, cwd=tmp_path, env=ENVIRONMENT, stdout=out))
        wait(lambda: all(f"another process is at work on {own}" in file.read_text() for file in said))
    assert [process.wait(300) for process in both] == [0, 0]
    assert jobs(tmp_path / "sweep")["4"] == own
    assert len(results(tmp_path / "sweep")) == 2
    assert len(list((tmp_path / "store").glob("gates-*"))) == 3  # two of the sweep, one of the session's run


def test_jobs_that_are_only_planned_have_not_failed(sweep: Sweep, tmp_path: Path) -> None:
    for launcher, widths in (("basic", "4,8"), ("processes", "4")):
        done = sweep(f"gate.width={widths}", "plan=true", f"hydra/launcher={launcher}", folder=launcher)
        assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
        # Every job says what it would train: the gates, of which there are none of these widths.
        assert len(re.findall(r"^gates +train", done.stdout, re.MULTILINE)) == len(widths.split(","))
        assert not list((tmp_path / launcher).rglob("failure.json"))


def test_optuna_ends_in_no_traceback_where_no_trial_is_done(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    asked = ("sweep=optuna_gates", "hydra.sweeper.n_trials=2")
    planned, failed = sweep(*asked, "plan=true", folder="planned"), sweep(*asked, "gate.recipe.epochs=-1")
    assert planned.returncode == 0 and failed.returncode == 1, planned.stderr + failed.stderr
    assert "2 failed; " in failed.stderr and "failed; " not in planned.stderr
    for done in (planned, failed):
        assert not any(word in done.stderr for word in ("moe: ", "Traceback", "No trials"))


def test_jobs_without_an_accuracy_to_search_by_are_done_and_wandbs_trouble_is_said_first(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # nobody listens there
    done = sweep("target=router", "hydra/launcher=processes", "logger=wandb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(results(tmp_path / "sweep")) == 1
    lines = done.stdout.splitlines()
    assert sum(line.startswith("job") and " done " in line for line in lines) == 1
    warned = lines.index("W&B: http://127.0.0.1:1 does not answer within 3 s; what runs is logged offline")
    assert warned < next(number for number, line in enumerate(lines) if line.startswith("job 1  started"))
    assert lines[-1] == f"            to upload them: wandb sync {tmp_path / 'sweep'}/wandb/offline-run-*"


@pytest.mark.parametrize("settings", [{"n_jobs": -1}, {"n_jobs": "two"}, {"threads": 0}])
def test_a_launcher_is_told_what_it_cannot_do(settings: dict[str, Any]) -> None:
    (key,) = settings
    with pytest.raises(ConfigError, match=rf"^hydra\.launcher\.{key} must be a whole number above 0, not "):
        ProcessLauncher(**settings).launch([], 0)


def test_a_job_whose_folder_cannot_be_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    commands = [Command([], tmp_path / "file" / "job"), Command([], tmp_path / "other")]
    launcher = ProcessLauncher()
    monkeypatch.setattr(launcher, "commands", lambda overrides: commands)
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    ended = launcher.launch([[], []], 0)
    said = [line.split(" after ")[0] for line in capsys.readouterr().out.splitlines() if "started" not in line]
    assert said == [
        f"job 1  failed: NotADirectoryError: [Errno 20] Not a directory: '{tmp_path}/file/job'",
        "job 2  failed: exit code 0",
    ]
    assert [one.status for one in ended] == [JobStatus.FAILED, JobStatus.FAILED]


def test_a_sweep_that_could_not_be_begun_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "_begun", [])
    with pytest.raises(StoreError, match=r"^hydra\.sweep\.dir=there cannot be written$"):
        callback.opened("there")


def test_a_sweeper_of_hydras_own_is_told_of_folders_that_its_sweep_would_not_see(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("hydra/sweeper=basic", "plan=true", "seed=0,1", "hydra.sweep.subdir=a/b/${seed}")
    assert done.returncode == 2
    said = f"moe: a job's folder must be in its sweep's, {tmp_path / 'sweep'}, or one deeper, not "
    assert f"{said}{tmp_path / 'sweep' / 'a' / 'b' / '0'}; set hydra.sweep.subdir=NAME or NAME/NAME" in done.stderr


def test_a_sweeps_folder_may_lie_beside_another(sweep: Sweep, tmp_path: Path) -> None:
    where = "hydra.sweep.dir=store/../out"
    done = sweep("target=base", "base.recipe.epochs=1", "seed=0", where, "hydra.sweep.subdir=a")
    assert done.returncode == 0 and (tmp_path / "out" / "a" / "results.json").is_file(), done.stderr


def test_optuna_goes_on_past_a_failed_trial(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = sweep("sweep=optuna_gates", "hydra.sweeper.n_trials=5", "gate.width=choice(-1,4)")
    found = results(tmp_path / "sweep")
    folders = list((tmp_path / "sweep").glob("*/hydra/overrides.yaml"))
    assert found and len(found) < len(folders), done.stdout + done.stderr
    assert done.returncode == 1
    failed = len(folders) - len(found)
    assert f"{failed} failed" in done.stderr
    assert done.stderr.count("    gate.width must be a whole number above 0, not -1\n") == failed
    best = max(job["val"]["accuracy"] for job in found.values())
    assert f"best_value: {best}" in (tmp_path / "sweep" / "optimization_results.yaml").read_text()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max_batch_size", "0", "hydra.sweeper.max_batch_size must be a whole number above 0, not 0"),
        ("params", "3", "hydra.sweeper.params must be values by key, like {gate.width:'16,32'}, not 3"),
        ("params", "[1,2]", "hydra.sweeper.params must be values by key, like {gate.width:'16,32'}, not [1, 2]"),
    ],
)
def test_a_sweepers_wrong_values_are_one_sentence(sweep: Sweep, key: str, value: str, said: str) -> None:
    done = sweep("plan=true", f"hydra.sweeper.{key}={value}")
    assert (done.returncode, done.stderr) == (2, f"moe: {said}\n"), done.stdout
