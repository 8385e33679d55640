"""What tests of faults share: whether they run long, and a tally of what they tried."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from entries import small_store

from moe.store import Store
from tests.conftest import TINY


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether faults are injected many times (`make faults`) and not a few (`make test`)."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[tuple[str, str]]]:
    """Counts (case, outcome); what a test counts here is what the recorded run says of it."""
    counted: Counter[tuple[str, str]] = Counter()
    # The pairs are read when the test has ended; its report is made before its fixtures are taken down.
    request.node.tally = counted
    yield counted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    result = yield
    for (case, outcome), times in getattr(item, "tally", {}).items():
        item.user_properties.append(("tried", (case, outcome, times)))
    return result


@pytest.fixture
def small(tmp_path: Path) -> Store:
    return small_store(tmp_path / "store")


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the tiny mixture of `run` by the real command in this process: exit code, and all that it printed."""

    def command(folder: Path, *overrides: str) -> tuple[int, str]:
        from moe.train import main

        monkeypatch.setattr(sys, "argv", ["moe.train", *TINY, f"hydra.run.dir={folder}", *overrides])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return command
