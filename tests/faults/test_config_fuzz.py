"""Random overrides of every config value: each ends in a plan or in one sentence, never in a traceback."""

import copy
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import overrides
import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torchvision.datasets import CIFAR10

from moe import command_line, config, schema
from moe.config import compose, parse
from moe.data import sources
from moe.errors import UserError
from moe.schema import Config
from moe.train import train

pytestmark = pytest.mark.fault("config fuzz")
Tally = Counter[tuple[str, str]]
DEMO = ("experiment=demo", "trainer.accelerator=cpu", "logger=none")
LONGEST = 600  # characters: of a sentence, which may quote a value
PATIENCE = 120  # seconds, after which a case counts as hung


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], None]:
    """What `plan=true` does with a config: all of the command but Hydra, in an empty folder, with no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    read, known = sources.load, {}

    def load(data: schema.Data, root: Path) -> object:
        key = repr((data, root))
        if key not in known:
            known[key] = read(data, root)
        return known[key]

    monkeypatch.setattr(sources, "load", load)

    def planned(composed: Config) -> None:
        composed.plan = True
        assert train(composed, Path("run")) is None

    return planned


def hung(*_: object) -> None:
    raise AssertionError(f"no plan and no sentence in {PATIENCE} s")


def outcome(run: Callable[[], None]) -> str:
    signal.signal(signal.SIGALRM, hung)
    signal.alarm(PATIENCE)
    try:
        run()
    except UserError as error:
        said = str(error)
        assert said.strip() and len(said) < LONGEST and "\n" not in said, said
        return f"one sentence ({type(error).__name__})"
    finally:
        signal.alarm(0)
    return "a plan"


def fuzz(strategy: st.SearchStrategy[list[str]], count: int, act: Callable[[list[str]], None], tally: Tally) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(strategy)
    def check(given: list[str]) -> None:
        tally["random overrides", outcome(lambda: act(given))] += 1

    check()


def test_random_values(plan: Callable[[Config], None], long: bool, tally: Tally) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        composed = hydra_compose("config", list(DEMO))

    def act(given: Sequence[str]) -> None:
        # What Hydra does with overrides of values once its groups are chosen, which takes most of its time.
        command_line.check(given)
        with config.hydra_errors():
            own: DictConfig = copy.deepcopy(composed)
            ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(list(given)), own)
        plan(parse(own))

    fuzz(st.lists(overrides.assignments(), min_size=1, max_size=3), 9000 if long else 140, act, tally)
    assert tally["random overrides", "a plan"] > 5  # it is not all refused


def test_every_value_taken_away(plan: Callable[[Config], None], long: bool, tally: Tally) -> None:
    if not long:
        pytest.skip("make faults")
    for key in overrides.known():
        tally["a value taken away", outcome(lambda key=key: plan(compose(*DEMO, f"~{key}")))] += 1


def test_random_groups_and_garbage(plan: Callable[[Config], None], long: bool, tally: Tally) -> None:
    def act(given: list[str]) -> None:
        command_line.check(given)
        plan(compose(*DEMO, *given))

    anything = st.one_of(overrides.groups(), overrides.groups(), overrides.assignments(), overrides.GARBAGE)
    fuzz(st.lists(anything, min_size=1, max_size=3), 1000 if long else 30, act, tally)
