"""A sweep's command given again: it finds what is finished, and runs what is missing, failed or of another config."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moe.config import compose
from moe.results.files import SCHEMA
from moe.sizes import anywhere
from moe.sweep.record import failed, write_failure
from tests.conftest import TINY, Process
from tests.sweep.running import ENVIRONMENT, Sweep, arguments, jobs, processes, results, wait


def test_the_same_command_runs_only_what_is_missing(sweep: Sweep, tmp_path: Path) -> None:
    same = ("gate.width=4,8", "gate.recipe.epochs=auto")  # a finished job is known by what auto became
    assert sweep(*same).returncode == 0
    first = {name: (path / "results.json").stat().st_mtime_ns for name, path in jobs(tmp_path / "sweep").items()}
    (jobs(tmp_path / "sweep")["4"] / "results.json").unlink()
    write_failure(jobs(tmp_path / "sweep")["8"], "as after a wrong config in the same folder")
    done = sweep(*same)
    assert done.returncode == 0, done.stderr
    assert "2 jobs, 1 left to run" in done.stdout
    second = {name: (path / "results.json").stat().st_mtime_ns for name, path in jobs(tmp_path / "sweep").items()}
    assert second["8"] == first["8"] and second["4"] > first["4"]
    # Where nothing is left to run, the table needs no torch, whose import would be most of the wait.
    asked = [sys.executable, "-X", "importtime", "-m", "moe.train", *arguments(tmp_path, *same)]
    again = subprocess.run(asked, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in again.stderr.splitlines()}
    assert "2 jobs, 0 left to run" in again.stdout and "moe.comparison.rows" in imported and "torch" not in imported
    # A default that changed in between makes it another job, though its overrides are the same.
    path = jobs(tmp_path / "sweep")["8"] / "results.json"
    path.write_text(path.read_text().replace('"dropout": 0.5', '"dropout": 0.4'))
    assert "2 jobs, 1 left to run" in sweep(*same).stdout


def test_a_job_on_another_machine_is_known_by_what_auto_became_there(process: Process, tmp_path: Path) -> None:
    own = ("net@base.net=fast_vgg", "plan=true")
    there, here = anywhere(compose(*TINY, *own))
    assert (there.base.net["size"], here.base.net["size"]) == ("m", "s")
    (tmp_path / "sweep" / "of-0").mkdir(parents=True)
    (tmp_path / "sweep" / "of-0" / "results.json").write_text(json.dumps({"schema": SCHEMA, "config": there.plain()}))
    for launcher, said in (("slurm", "1 job, 0 left to run\n"), ("basic", "1 job\n")):
        launched = (f"hydra/launcher={launcher}", "hydra.sweep.subdir=of-${seed}", "seed=0")
        done = process("moe.train", *arguments(tmp_path, *own, *launched), cwd=tmp_path)
        assert said in done.stdout, done.stdout + done.stderr


def test_older_results_in_a_failed_jobs_folder_do_not_stand_for_it(sweep: Sweep, tmp_path: Path) -> None:
    own = ("hydra.sweep.subdir=of-${seed}", "seed=0")  # a folder that says nothing of the width
    assert sweep(*own, "gate.width=4").returncode == 0
    before = (tmp_path / "sweep" / "of-0" / "results.json").read_bytes()
    for override, said in (
        ("gate.width=-4", "gate.width must be a whole number above 0, not -4"),
        ("data=cifar10", "nowhere does not exist"),  # is found out only when images are read
    ):
        wrong = sweep(*own, override, *(("taxonomy=cifar10", "data.root=nowhere") if "cifar10" in override else ()))
        assert wrong.returncode == 1 and "1 failed" in wrong.stderr
        assert said in wrong.stderr
        assert "experiment  n" not in wrong.stdout  # no table: no job has results
        assert (tmp_path / "sweep" / "of-0" / "results.json").read_bytes() == before


@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_older_results_outlive_a_job_that_is_killed_and_do_not_stand_for_it(
    launcher: str, sweep: Sweep, tmp_path: Path
) -> None:
    own = ("hydra.sweep.subdir=of-${seed}", "seed=0", f"hydra/launcher={launcher}")
    assert sweep(*own, "gate.width=4").returncode == 0
    run = tmp_path / "sweep" / "of-0"
    before = (run / "results.json").read_bytes()
    endless = arguments(tmp_path, *own, "gate.width=8", "gate.recipe.epochs=100000", "gate.recipe.patience=null")
    command = subprocess.Popen(
        [sys.executable, "-m", "moe.train", *endless], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    wait(lambda: "of 100000" in (run / "train.log").read_text())
    for job in [command.pid] if launcher == "basic" else processes("hydra.mode=RUN", str(run)):
        os.kill(job, signal.SIGKILL)
    said = command.communicate()[1]
    assert launcher == "basic" or "killed by SIGKILL" in said
    assert (run / "results.json").read_bytes() == before and failed(run)
    assert sweep(*own, "gate.width=4").returncode == 0 and not failed(run)


def test_a_sweep_killed_whole_goes_on_to_the_table_of_an_uninterrupted_one(
    sweep: Sweep, store: Path, tmp_path: Path
) -> None:
    widths = "gate.width=4,8"
    command = [sys.executable, "-m", "moe.train", *arguments(tmp_path, widths)]
    killed = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    )
    wait(lambda: len(results(tmp_path / "sweep")) == 1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(results(tmp_path / "sweep")) < 2
    done = sweep(widths)
    assert done.returncode == 0 and "2 jobs, 1 left to run" in done.stdout, done.stdout + done.stderr
    # The other trains its gates anew.
    shutil.rmtree(tmp_path / "store")
    shutil.copytree(store, tmp_path / "store")
    whole = sweep(widths, folder="whole")
    assert whole.returncode == 0 and whole.stdout.count("gates: training ") == 2
    one, other = (said.stdout[said.stdout.index("#  experiment") :] for said in (done, whole))
    assert one.partition("MFLOP routed")[0] == other.partition("MFLOP routed")[0]  # then come the seconds
    assert results(tmp_path / "sweep") == results(tmp_path / "whole")
    assert len(results(tmp_path / "whole")) == 2
