"""A tiny mixture, trained once a session by the real command."""

import json
import logging
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Commands, started

TINY = (
    "experiment=demo",
    "logger=none",
    "report=false",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "base.recipe.epochs=4",
    "expert.recipe.epochs=3",
    "router.recipe.epochs=3",
    "gate.recipe.epochs=2",
    "base.recipe.optimizer.lr=0.003",
    "expert.recipe.optimizer.lr=0.003",
    "router.recipe.optimizer.lr=0.003",
)


# A test of a fault is marked by the row of experiments/faults/README.md that it belongs to.
FAULT = "fault(row): injects a fault of this row; --faults FILE records what came of it, --long does it many times"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", metavar="FILE", type=Path, help="write what came of each fault that was injected")
    parser.addoption("--long", action="store_true", help="inject faults many times")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", FAULT)
    path = config.getoption("--faults")
    if path is not None and not hasattr(config, "workerinput"):  # of xdist's processes the first one alone writes
        path = path.resolve()  # tests go to folders of their own
        head = {"version": "long" if config.getoption("--long") else "short", **_made_by()}
        path.write_text(json.dumps(head) + "\n")
        config.pluginmanager.register(FaultRecorder(path))


def _made_by() -> dict[str, Any]:
    import torch

    from moe.provenance import git_revision, versions
    from moe.training import machine

    return {"git": git_revision(), "machine": machine(torch.device("cpu")), "versions": versions()}


# The files that take longest, so that no process is left alone with one of them at the end.
DEAR = (
    "test_sweep",
    "test_again",
    "test_company",
    "test_submitted",
    "test_ddp",
    "test_ddp_ends",
    "test_kinds",
    "test_verdict",
    "test_config_fuzz",
    "test_resuming",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in DEAR)


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.user_properties += [("fault", mark.args[0]) for mark in item.iter_markers("fault")]


class FaultRecorder:
    """Writes a line of JSON for each thing that the tests of faults tried: row, case, outcome, how often."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = [row for name, row in report.user_properties if name == "fault"]
        if not rows or (report.when != "call" and report.passed):
            return
        case = report.nodeid.rpartition("::")[2]
        tried = [what for name, what in report.user_properties if name == "tried"] or [(case, report.outcome, 1)]
        if not report.passed:
            tried = [(case, report.outcome, 1)]
        with self.path.open("a") as file:
            for case, outcome, times in tried:
                line = {"fault": rows[0], "case": case, "outcome": outcome, "times": times}
                file.write(json.dumps(line) + "\n")


# In a shell's background Ctrl-C is ignored, also by every process that the tests start, which is not what they test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    with started() as server:
        yield server


@pytest.fixture(scope="session")
def process(commands: Commands) -> Process:
    """Runs `python -m NAME ARGUMENTS...` in a process of its own, from the folder `cwd`."""

    def start(name: str, *arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return commands.run(["-m", name, *arguments], cwd)

    return start


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that holds the networks of `run`; tests that change it do so in a copy."""
    return tmp_path_factory.mktemp("trained") / "store"


@pytest.fixture(scope="session")
def run(store: Path, process: Process) -> Path:
    """The folder of a finished run: a mixture on digits, branches curved and straight; leave it as it is."""
    folder = store.parent / "run"
    done = process("moe.train", *TINY, f"paths.store={store}", f"hydra.run.dir={folder}", cwd=store.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch with one thread: for networks this small, more of them mostly wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a command that a test runs in this process sets up for its messages ends with the test."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) in (logging.StreamHandler, logging.FileHandler):
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as class folders; leave them as they are."""
    import moe
    from moe.data import sources
    from tests.evaluated import export

    folder = tmp_path_factory.mktemp("pictures")
    digits = sources.load(moe.compose("experiment=demo").data, folder)
    for split in ("train", "test"):
        part = getattr(digits, split)
        export(part.images, part.labels, folder / split, list(digits.classes))
    return folder
