from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning import Trainer

from moe import memory
from moe.modules.freed import GivesBack
from tests.modules.scripts import Scripted, Two

# What Lightning 2.6.6 asks of torch 2.15 and what torch says of it; moe.modules.fit keeps it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")
GB = 10**9
NOTHING: Any = None
QUIET: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}


def given_back(
    sizes: Sequence[float | None],
    monkeypatch: pytest.MonkeyPatch,
    clock: Sequence[float] | None = None,
    at_least: int = 0,
) -> int:
    """How often memory is given back where the process has so many GB whenever it is asked after a step."""
    given: list[int] = []
    asked = iter(sizes)

    def resident() -> int | None:
        size = next(asked)
        return None if size is None else round(size * GB)

    monkeypatch.setattr(memory, "resident", resident)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    if clock is not None:
        monkeypatch.setattr("moe.modules.freed.time", SimpleNamespace(monotonic=iter(clock).__next__))
    callback = GivesBack(1.5, at_least, 0.0 if clock is None else 10.0)
    for step in range(6):
        callback.on_train_batch_end(NOTHING, NOTHING, NOTHING, NOTHING, step)
    assert next(asked, "all") == "all"
    return len(given)


def test_freed_memory_is_given_back_where_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    # A step needs 2 GB: 3 are half more, which is allowed, 3.1 are not.
    assert given_back([2.0, 3.0, 3.1, 2.5, 3.0, 2.9], monkeypatch) == 1
    # What a step leaves that has to ask for its memory anew, 2.5, is not what it needs: as much is allowed as before.
    assert given_back([2.0, 3.0, 3.1, 2.5, 3.7, 3.0], monkeypatch) == 2


def test_a_step_that_needs_more_than_was_allowed_is_allowed_more(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3.2 GB just after memory was given back are allowed from then on, and not 3 any more; but not half more than them.
    assert given_back([2.0, 3.1, 3.2, 3.2, 3.1, 3.2], monkeypatch) == 1
    assert given_back([2.0, 3.1, 3.2, 3.3, 2.0, 3.2], monkeypatch) == 2


def test_so_much_is_always_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Half more than 2 GB is less than 4, which any process may have.
    assert given_back([2.0, 3.1, 4.0, 3.1, 2.0, 3.9], monkeypatch, at_least=4 * GB) == 0
    assert given_back([2.0, 3.1, 4.1, 3.1, 2.0, 3.9], monkeypatch, at_least=4 * GB) == 1


def test_where_the_system_does_not_say_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given_back([None] * 6, monkeypatch) == 0


def test_it_looks_once_in_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Steps end at these seconds. It looks at 0, not at 9, at 10, which is too much, so at once after that, at 11, and
    # not before 21.
    assert given_back([2.0, 4.0, 2.0, 2.0], monkeypatch, [0.0, 9.0, 10.0, 11.0, 20.0, 21.0]) == 1


@pytest.mark.parametrize(
    "size, times",
    [
        (1.9, 0),
        (2.1, 1),  # more than half of 4 GB, as training begins
        (3.5, 1),
        (3.7, 3),  # more than nine tenths, at both validations too
    ],
)
def test_there_is_room_before_training_and_before_validation(
    size: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "resident", lambda: round(size * GB))
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[GivesBack(1.5, 4 * GB)], **QUIET)
    trainer.fit(Scripted([1.0, 1.0]), datamodule=Two())
    assert len(given) == times


def test_it_gives_back_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    # Before training; after each of two steps, of which the second leaves more than half more; before validation.
    sizes = iter([1.0, 2.0, 3.1, 1.0])
    monkeypatch.setattr(memory, "resident", lambda: round(next(sizes) * GB))
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=[GivesBack(1.5, 3 * GB, 0.0)], **QUIET)
    trainer.fit(Scripted([1.0]), datamodule=Two())
    assert given == [1] and next(sizes, None) is None
