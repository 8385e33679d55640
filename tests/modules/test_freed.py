import pytest

from moe import memory
from moe.modules.freed import GivesBack
from tests.modules.scripts import Line, plain_recipe, rows, trained

# What Lightning 2.6.6 asks of torch 2.15 and what torch says of it; moe.modules.fit keeps it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 6), (1000.0, 0)])
def test_freed_memory_is_given_back_when_its_time_has_come(
    seconds: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    trained(Line(plain_recipe("Adam")), rows(3), GivesBack(seconds), epochs=2)
    assert len(given) == times  # after each of three steps, twice; or never in so short a training


def test_its_time_begins_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    clock = iter([0.0, 10.0, 25.0, 25.0, 30.0, 44.0, 46.0, 46.0])
    monkeypatch.setattr("moe.modules.freed.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    callback = GivesBack(20.0)
    for _ in range(5):
        callback.on_train_batch_end(None, None, None, None, 0)  # type: ignore[arg-type]
    # Made at 0; steps end at 10, 25 (given back, at 25 again), 30, 44 and 46 (given back).
    assert len(given) == 2
