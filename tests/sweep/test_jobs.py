"""A job's command, and the word it leaves where it fails."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from moe.errors import ConfigError
from moe.package import CONF
from moe.sweep import gpus
from moe.sweep.jobs import Command, _why, hydra_flags, quoted, run
from moe.sweep.record import Sweep, alone, read_failure, sweep_of, within


def test_the_command_runs_the_job_alone_in_its_folder() -> None:
    command = Command(["experiment=gates", "gate.width=32"], Path("multirun/a/b-1"))
    assert (
        str(command) == "python -m moe.train experiment=gates gate.width=32 hydra.mode=RUN hydra.run.dir=multirun/a/b-1"
    )


def test_a_job_of_a_preset_is_one_run() -> None:
    command = Command(["sweep=gate_widths", "gate.width=32"], Path("x"), ["--config-dir", "my conf"])
    assert command.arguments() == [
        *("--config-dir", "my conf", "sweep=gate_widths", "gate.width=32", "hydra.mode=RUN", "hydra.run.dir=x")
    ]


def test_a_job_is_told_what_its_sweeps_command_says_to_hydra_but_for_what_makes_a_sweep() -> None:
    said = ["hydra.verbose=true", "+hydra.job.env_set.A=b", "hydra/job_logging=none", "hydra.searchpath=[file:///x]"]
    said += ["hydra.job.name=${hydra:job.num}"]
    makes = ["hydra.mode=MULTIRUN", "hydra/launcher=processes", "hydra.launcher.n_jobs=2", "++hydra.sweep.dir=x"]
    makes += ["hydra.sweeper.max_batch_size=3", "hydra/sweeper=optuna", "hydra.run.dir=y", "~hydra.sweeper.params"]

    def flags(name: str, conf: str = str(CONF)) -> list[str]:
        sources = [{"provider": "main", "path": conf}, {"provider": "command-line", "path": "/my conf"}]
        job, overrides = {"config_name": name}, {"hydra": [*makes[:4], *said, *makes[4:]]}
        hydra = {"runtime": {"config_sources": sources}, "job": job, "overrides": overrides}
        return hydra_flags(OmegaConf.create({"hydra": hydra}))

    assert flags("config") == ["--config-dir", "/my conf", *said]
    assert flags("mine") == ["--config-dir", "/my conf", "--config-name", "mine", *said]
    assert flags("config", "/theirs") == ["--config-path", "/theirs", "--config-dir", "/my conf", *said]


@pytest.mark.parametrize("folder", ["a b/c", "it's", "a=b,c", "back\\slash", "end\\", "{x}", "ü"])
def test_a_folder_of_any_name_comes_back_from_the_shell_and_from_hydra(folder: str) -> None:
    *_, last = shlex.split(str(Command([], Path(folder))))
    assert OverridesParser.create().parse_override(last).value() == folder
    assert quoted("a/b-1.2_c+d") == "a/b-1.2_c+d"


def test_why_a_job_ended_is_its_signal_or_the_last_line_it_printed(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("training\nmoe: gate.width must be above 0\n\n")
    assert _why(-signal.SIGKILL, output) == "killed by SIGKILL"
    assert _why(-(signal.SIGRTMIN + 1), output) == f"killed by signal {signal.SIGRTMIN + 1}"  # which has no name
    assert _why(2, output) == "exit code 2: gate.width must be above 0"
    output.write_text("")
    assert _why(3, output) == "exit code 3"


def test_ctrl_c_in_a_terminal_is_the_launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    groups = []

    def started(process: "subprocess.Popen[bytes]", gpu: str | None) -> None:
        groups.append(os.getpgid(process.pid))

    run(Command([], tmp_path), started=started)
    assert groups != [os.getpgid(0)]
    assert read_failure(tmp_path) == "exit code 0"  # it said nothing and left nothing


def test_what_a_job_says_that_is_still_at_work_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("echo"))
    command, output = Command([], tmp_path), tmp_path / "output.txt"
    said = f"-m moe.train {' '.join(command.arguments())}\n"
    output.write_text("epoch 1\n")
    with alone(tmp_path):
        run(command)
        assert output.read_text() == f"epoch 1\n{said}"
    run(command)
    assert output.read_text() == said


def test_what_ends_a_job_after_its_results_takes_nothing_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n[ -n \"$DIES\" ] || echo '{{}}' > {tmp_path}/results.json\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    run(Command([], tmp_path))
    assert read_failure(tmp_path) is None
    # The same results, of that try, do not stand for another that is killed before it has its own.
    run(Command([], tmp_path), environment={"DIES": "1"})
    assert read_failure(tmp_path) == "killed by SIGKILL"


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that do not end by themselves."""
    program = tmp_path / "endless"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.usefixtures("endless")
def test_a_job_that_starts_while_all_is_ended_is_ended_too(tmp_path: Path) -> None:
    # Asked before it starts and when it has: whoever ends what runs did so in between, and did not see it.
    answers, processes = iter([False, True, True]), list[subprocess.Popen[bytes]]()
    run(
        Command([], tmp_path / "job"),
        started=lambda process, gpu: processes.append(process),
        stopped=lambda: next(answers),
    )
    assert [process.returncode for process in processes] == [-signal.SIGTERM]
    assert read_failure(tmp_path / "job") is None  # it did not fail


def test_a_gpu_that_comes_when_all_is_ended_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = gpus.Lease("0", os.open(tmp_path, os.O_RDONLY))
    monkeypatch.setattr(gpus, "lease", lambda devices, stopped: held)
    run(Command([], tmp_path / "job"), {"0": "0"}, stopped=lambda: True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held.handle)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(("said", "order"), [(None, "PCI_BUS_ID"), ("1,0", "None")])
def test_numbers_of_nvidia_smi_are_read_in_its_order(
    said: str | None, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    shows = tmp_path / "shows"
    shows.write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES ${CUDA_DEVICE_ORDER:-None}"\n')
    shows.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shows))
    monkeypatch.setattr(gpus, "lease", lambda devices, stopped: gpus.Lease("1", os.open(tmp_path, os.O_RDONLY)))
    run(Command([], tmp_path / "job"), {"0": "0", "1": "1"})
    assert (tmp_path / "job" / "output.txt").read_text() == f"1 {order}\n"


def test_a_job_that_may_have_no_gpu_waits_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "lease", lambda devices, stopped: pytest.fail("a GPU was asked for"))
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    run(Command([], tmp_path / "job", gpu=False), {"0": "0"})
    assert read_failure(tmp_path / "job") == "exit code 0"  # it ran


@pytest.mark.usefixtures("endless")
def test_a_job_ends_with_what_waits_for_it(tmp_path: Path) -> None:
    processes = []

    def started(process: "subprocess.Popen[bytes]", gpu: str | None) -> None:
        processes.append(process)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Command([], tmp_path / "job"), started=started)
    assert [process.returncode for process in processes] == [-signal.SIGTERM]


@pytest.mark.parametrize("job", [".", "a/b/c", "../a"])
def test_a_jobs_folder_that_its_sweep_would_not_see_is_refused(job: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a job's folder must be in its sweep's, .*; set hydra\.sweep\.subdir="):
        within(tmp_path / "sweep", (tmp_path / "sweep" / job).resolve())


@pytest.mark.parametrize("job", ["a", "a/b"])
def test_a_job_one_or_two_folders_below_its_sweep_is_its_sweeps(job: str, tmp_path: Path) -> None:
    assert within(tmp_path, tmp_path / job) == job
    Sweep(tmp_path, [], [], {job: []}).write()
    found = sweep_of(tmp_path / job)
    assert found is not None and found.jobs == {job: []}
    assert sweep_of(tmp_path / job / "c" / "d") is None
