"""Several processes that train a network together end together, whatever ends one of them."""

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.commands import Commands
from tests.ddp_commands import TWO, command, entries, environment, trained

TIMEOUT = 400  # of a command; seconds on a busy machine, and never the reason that a test passes


@contextmanager
def running(folder: Path, *overrides: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command, and the mark by which its processes are known."""
    mark = f"MOE_TEST_{uuid.uuid4().hex}"
    process = subprocess.Popen(
        command("target=base", *TWO, *overrides),
        cwd=folder,
        env=environment(**{mark: "1"}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process, mark
    finally:
        process.kill()
        process.communicate()


def ranks(mark: str) -> list[int]:
    """The processes of `moe.rank` that the marked command has started, as Linux lists them; the first rank first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes() and b"moe.rank" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found)


def wait_for_epoch(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("base: epoch 2"):
            return
    pytest.fail(process.communicate()[1])


ENDLESS = ("base.recipe.epochs=100000", "base.recipe.patience=null")
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")


@needs_proc
@pytest.mark.fault("NaN or infinite loss or gradient")
def test_a_loss_that_is_no_number_ends_all_with_one_sentence(tmp_path: Path, commands: Commands) -> None:
    mark = f"MOE_TEST_{uuid.uuid4().hex}"
    diverging = command("target=base", *TWO, "base.recipe.optimizer.lr=1e38")[1:]
    said = commands.run(diverging, tmp_path, environment(**{mark: "1"}))
    assert said.returncode == 1
    assert said.stderr.startswith("moe: base: the loss or a gradient was NaN or infinite at step 1;")
    assert said.stderr.count("\n") == 1
    assert not ranks(mark) and not entries(tmp_path)


@needs_proc
@pytest.mark.fault("kill -9, SIGTERM and Ctrl-C in the middle of an epoch")
def test_ctrl_c_ends_all(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("make faults")
    with running(tmp_path, *ENDLESS) as (process, mark):
        wait_for_epoch(process)
        assert len(ranks(mark)) == 2
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=TIMEOUT)[1]
        assert (process.returncode, said) == (
            130,
            "moe: interrupted; the same command goes on from the last checkpoint\n",
        )
        assert not ranks(mark)


@needs_proc
def test_a_rank_that_is_killed_ends_all_with_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path, *ENDLESS) as (process, mark):
        wait_for_epoch(process)
        os.kill(ranks(mark)[1], signal.SIGKILL)
        said = process.communicate(timeout=TIMEOUT)[1]
        assert process.returncode == 1
        assert said == (
            "moe: base: rank 1 of the 2 processes was killed by SIGKILL (all it said: run/rank-1.txt)\n"
        ).replace("run/", f"{tmp_path / 'run'}/")
        assert not ranks(mark)


@needs_proc
@pytest.mark.fault("kill -9, SIGTERM and Ctrl-C in the middle of an epoch")
def test_ranks_end_with_the_command_that_is_killed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("make faults")
    with running(tmp_path, *ENDLESS) as (process, mark):
        wait_for_epoch(process)
        process.kill()
        deadline = time.monotonic() + TIMEOUT
        while ranks(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not ranks(mark)


@needs_proc
@pytest.mark.fault("kill -9, SIGTERM and Ctrl-C in the middle of an epoch")
def test_what_was_killed_goes_on_to_the_same_weights(
    tmp_path: Path, commands: Commands, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("make faults")
    # Dropout is drawn apart by each process, so that both processes' random states matter.
    base = ("base.recipe.epochs=30", "base.recipe.patience=null", "base.net.dropout=0.5", "checkpoint_seconds=0")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    trained(commands, whole, "target=base", *TWO, *base)
    with running(killed, *base) as (process, mark):
        wait_for_epoch(process)
        process.kill()
        process.wait()
        deadline = time.monotonic() + TIMEOUT
        while ranks(mark) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert not entries(killed)
    said = trained(commands, killed, "target=base", *TWO, *base).stdout
    assert re.search(r"base: goes on after epoch \d+\n", said)
    expected, found = entries(whole)["base"], entries(killed)["base"]
    assert found.key == expected.key
    for name, weights in expected.tensors().items():
        assert torch.equal(found.tensors()[name], weights)
