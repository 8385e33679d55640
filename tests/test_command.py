"""How commands end, in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moe import command, command_line
from moe.errors import ConfigError, signal_name

PROGRAM = """
import sys, time
from moe import command

def wait():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep(60 if "slow" in sys.argv else 0)

command.run(wait, "; more")
"""


def started(*arguments: str, ignored: bool = False) -> "subprocess.Popen[str]":
    """The program above, waiting."""
    found = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Else it would be as it is for the tests, which may run in a shell's background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    assert found.stdout is not None and found.stdout.readline() == "ready\n"
    return found


@pytest.mark.fault("SIGTERM, Ctrl-C")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "moe: interrupted; more\n"), (signal.SIGTERM, 143, "moe: ended by SIGTERM; more\n")],
)
def test_a_signal_ends_in_order(number: signal.Signals, code: int, said: str) -> None:
    process = started()
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("ending\n", said)
    assert process.returncode == code


@pytest.mark.fault("SIGTERM, Ctrl-C")
@pytest.mark.parametrize(("first", "second", "code"), [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGINT", 130)])
def test_a_second_signal_ends_at_once(first: str, second: str, code: int) -> None:
    process = started("slow")
    process.send_signal(signal.Signals[first])
    assert process.stdout is not None and process.stdout.readline() == "ending\n"
    process.send_signal(signal.Signals[second])
    assert process.communicate(timeout=30) == ("", "")  # well before the minute is over
    assert process.returncode == code


def test_what_a_shell_in_the_background_ignores_stays_ignored() -> None:
    process = started(ignored=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1] == "moe: ended by SIGTERM; more\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("experiment=gates --cfg job gate.width=3", "experiment=gates gate.width=3 --cfg job"),
        ("experiment=gates -m seed=0,1 ~gate.depth", "experiment=gates seed=0,1 ~gate.depth -m"),
        ("--info searchpath seed=1 --config-dir a=b", "seed=1 --info searchpath --config-dir a=b"),
    ],
)
def test_overrides_stand_before_flags_and_each_flag_keeps_its_value(given: str, expected: str) -> None:
    assert command_line.ordered(given.split()) == expected.split()


@pytest.mark.parametrize("given", ["hydra.job.chdir=true", "hydra.job={chdir:true}", "hydra.job.chdir=on"])
def test_no_job_has_a_store_of_its_own_in_its_folder(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.job\.chdir must be false: store and data are found from "):
        command_line.check([given])
    command_line.check(["hydra.job.chdir=false"])


def test_a_signal_is_named_where_it_has_a_name() -> None:
    assert signal_name(9) == "SIGKILL" and signal_name(signal.SIGRTMIN + 1) == f"signal {signal.SIGRTMIN + 1}"


def test_a_gpu_without_memory_left_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def command_() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79")

    with pytest.raises(SystemExit) as ended:
        command.run(command_)
    said = "moe: CUDA out of memory. Tried to allocate 2.00 GiB; nvidia-smi shows what else has the memory\n"
    assert (ended.value.code, capsys.readouterr().err) == (1, said)
    with pytest.raises(RuntimeError, match=r"^another$"), command.sentences():
        raise RuntimeError("another")


TRACED = """
import os, subprocess, sys
from moe import command
from moe.errors import ConfigError

def fails():
    with command.hydra_raises():
        print(os.environ["HYDRA_FULL_ERROR"], command._traced, flush=True)
        if "inner" not in sys.argv:  # as a launcher, or what it starts, begins a job
            subprocess.run([sys.executable, __file__, "inner"], stderr=subprocess.STDOUT)
        try:
            {}["width"]
        except KeyError:
            raise ConfigError("there is no width") from None

command.run(fails)
"""


@pytest.mark.parametrize("asked", [None, "0", "1"])
def test_what_a_sentence_was_made_of_is_shown_where_hydras_variable_asks(asked: str | None, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TRACED)
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        **({} if asked is None else {"HYDRA_FULL_ERROR": asked}),
    }
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    # A process that this one starts is asked what this one was, and not what it asks of Hydra.
    for said in (done.stderr.splitlines(), done.stdout.splitlines()[2:]):
        *trace, sentence = said
        assert (done.returncode, sentence) == (2, "moe: there is no width")
        assert trace[:1] + trace[-1:] == (
            ["Traceback (most recent call last):", "KeyError: 'width'"] if asked == "1" else []
        )
    assert done.stdout.splitlines()[:2] == [f"1 {asked == '1'}"] * 2
