"""results.json and predictions.safetensors, written and read, whole and damaged."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from moe import results
from moe.errors import NonFiniteError, StoreError
from moe.inference import Averaged
from moe.results.predictions import read_predictions, write_predictions
from moe.schema import Plain
from tests.results.worked import GATES, LABELS, NOTHING, complete, measured


def test_write_and_read(tmp_path: Path, hard: Plain) -> None:
    whole = json.loads(json.dumps(complete(hard)))
    results.write(tmp_path, whole)
    assert results.read(tmp_path) == results.read(tmp_path / "results.json") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_number_that_is_none_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"val\.nll came out as nan"):
        results.write(tmp_path, complete(NOTHING, val={"nll": math.nan}))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.write(tmp_path, complete(NOTHING, seed=1))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moe.store.files.os.replace", fail)
    with pytest.raises(StoreError, match=r"results\.json cannot be written: No space left"):
        results.write(tmp_path, complete(NOTHING, seed=2))
    assert results.read(tmp_path)["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"run holds no results\.json: it is no finished run"),
        ("{", r"results\.json is damaged"),
        ("[]", r"results\.json is damaged"),
        ("{}", r"results\.json is damaged"),
        ("\xff\xfe", r"results\.json is damaged"),
        ('{"schema": 99}', "has schema 99; this version of moe reads schema 1"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, content: str | None, message: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    if content is not None:
        (run / "results.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=message):
        results.read(run)


def test_predictions_come_back(tmp_path: Path) -> None:
    _, predictions = measured("hard", GATES)
    write_predictions(tmp_path, predictions, LABELS)
    back, labels = read_predictions(tmp_path)
    assert torch.equal(labels, LABELS)
    for name, tensor in vars(predictions).items():
        assert torch.equal(getattr(back, name), tensor)


def test_predictions_of_bases_come_back(tmp_path: Path) -> None:
    said = Averaged(torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([1, 3]))
    write_predictions(tmp_path, said, torch.tensor([1, 0]))
    back, labels = read_predictions(tmp_path)
    assert isinstance(back, Averaged) and labels.tolist() == [1, 0]
    assert torch.equal(back.probabilities, said.probabilities) and torch.equal(back.asked, said.asked)
    assert back.route is None and back.weights is None


def test_missing_and_damaged_predictions(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no predictions"):
        read_predictions(tmp_path)
    (tmp_path / "predictions.safetensors").write_bytes(b"no tensors")
    with pytest.raises(StoreError, match="is damaged"):
        read_predictions(tmp_path)
