"""Several processes that need the same network at once; and runs that begin in the same moment."""

import logging
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moe import training
from moe.modules.fit import Fitted
from moe.store import Store

needing = pytest.mark.fault("processes needing the same network at once")
KEY = "base-0123456789abcdef"
STAGE: Any = SimpleNamespace(key=KEY, name="base", kind="base", inputs={})


def obtain_in_forks(folder: Path, count: int, kill_first: bool = False) -> list[int]:
    """Each of `count` processes obtains the stage by the command's own code; only the training itself is short."""
    store = Store(folder / "store")
    store.prepare()
    config = SimpleNamespace(checkpoint_seconds=20.0)
    job: Any = SimpleNamespace(config=config, store=store, device=torch.device("cpu"), team=None)

    def train(*_: Any) -> Fitted:
        with (folder / "trained").open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        if kill_first and len((folder / "trained").read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return Fitted({"weight": torch.tensor([float(os.getpid())])}, 0, [])

    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                training._train = train
                own = logging.getLogger("moe")
                own.handlers, own.level = [logging.FileHandler(folder / f"{number}.log")], logging.INFO
                entry, _ = training.obtain(job, STAGE, {})
                (folder / f"{number}.got").write_text(str(entry.tensors()["weight"].item()))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


@needing
@pytest.mark.parametrize("count", [2, 8])
def test_one_trains_and_the_others_wait(count: int, tmp_path: Path) -> None:
    assert obtain_in_forks(tmp_path, count) == [0] * count
    (trainer,) = (tmp_path / "trained").read_text().split()
    assert Store(tmp_path / "store").present() == [KEY]
    assert {path.read_text() for path in tmp_path.glob("*.got")} == {str(float(trainer))}
    logs = [path.read_text() for path in sorted(tmp_path.glob("*.log"))]
    waiting = f"base: another process is at work on {KEY}; waiting for it"
    # Those that came while one trained said so; one that came late found the entry.
    assert sum("base: training" in log for log in logs) == 1
    assert all(waiting in log or "base: training" in log or "base: reused" in log for log in logs)
    assert sum(waiting in log for log in logs) >= 1


@needing
@pytest.mark.parametrize("count", [2, 8])
def test_another_takes_over_from_one_that_is_killed(count: int, tmp_path: Path) -> None:
    ends = obtain_in_forks(tmp_path, count, kill_first=True)
    assert sorted(ends) == [0] * (count - 1) + [signal.SIGKILL]
    trained = (tmp_path / "trained").read_text().split()
    assert len(trained) == 2
    assert Store(tmp_path / "store").present() == [KEY]
    assert [path.read_text() for path in tmp_path.glob("*.got")] == [str(float(trained[1]))] * (count - 1)


@needing
def test_the_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    store = Store(tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with store.lock(KEY, "base"):
            os.write(writer, b"x")
            time.sleep(60)
    os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    with store.lock(KEY, "base"):
        assert time.monotonic() - began < 30  # half of what the process would have held it for


@pytest.mark.fault("two runs in the same second")
def test_two_runs_have_two_folders(tmp_path: Path, process: Callable[..., Any]) -> None:
    """By the command itself, which makes its folder before it finds that the config is wrong."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        wrong = ("moe.train", "experiment=demo", "gate.width=0")
        ends = [pool.submit(process, *wrong, cwd=tmp_path) for _ in range(2)]
        assert [end.result().returncode for end in ends] == [2, 2]
    names = [path.name for path in (tmp_path / "runs" / "demo").iterdir()]
    # Of the same second or not, what tells them apart is its millionths.
    assert len(names) == 2 and all(re.fullmatch(r"[\d-]{10}_\d\d-\d\d-\d\d-\d{6}", name) for name in names)
