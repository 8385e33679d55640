"""What a run records is what its networks say, and what a specialist begins as is what its base had learnt."""

from pathlib import Path

import pytest
import torch

import moe
from moe.data import sources, splits
from moe.data.module import split_images
from moe.metrics import accuracy, nll
from moe.store import Store
from tests.train.command import copy_of, results, train


@pytest.mark.parametrize(
    "overrides",
    [
        ("gate=confidence", "gate.weights=per_class"),
        ("router=base", "mixture.cascade=0.9"),
        ("mixture.routing=soft",),
        ("target=base",),
    ],
)
def test_what_choices_are_made_by_is_of_the_images_held_out_for_them(
    trained: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false", *overrides)
    assert code == 0
    found, finished = results(run), moe.load(run)
    dataset = sources.load(finished.config.data, tmp_path / "data")
    held = split_images(dataset, splits.split(dataset, finished.config.data.splits), "val")
    for images, recorded in ((held, found["val"]), (dataset.test, found["test"])):
        said = finished.predict(images.images).probabilities
        assert recorded["accuracy"] == accuracy(said, images.labels)
        assert recorded["nll"] == pytest.approx(nll(said, images.labels), abs=1e-5)
    assert found["val"]["nll"] != found["test"]["nll"]


def test_a_specialist_begins_as_the_base_with_the_base_s_outputs_for_its_own_classes(
    trained: Path, tmp_path: Path
) -> None:
    copy_of(trained, tmp_path)
    still = ("expert.init=base", "expert.recipe.optimizer.lr=1e-30", "expert.recipe.epochs=1")
    code, run = train(tmp_path, "target=experts", "logger=none", "report=false", *still)
    assert code == 0
    found = results(run)
    entries = {name: Store(tmp_path / "store").get(found["stages"][name]["key"]) for name in found["stages"]}
    base = entries["base"].tensors()  # type: ignore[union-attr]
    for name, labels in (("curved", [0, 3, 6, 8, 9]), ("straight", [1, 2, 4, 5, 7])):
        own = entries[name].tensors()  # type: ignore[union-attr]
        heads = [key for key in base if base[key].shape != own[key].shape]
        assert len(heads) == 2  # weights and biases of the last layer
        expected = {key: tensor[labels] if key in heads else tensor for key, tensor in base.items()}
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-20)


def test_the_memory_is_that_of_the_whole_run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_of(trained, tmp_path)

    def peak_memory() -> int:
        # All but the results is written by then: what the test and the report take is in it.
        return len([name for name in ("predictions.safetensors", "report.html") if (tmp_path / "run" / name).exists()])

    monkeypatch.setattr("moe.record.peak_memory", peak_memory)
    code, run = train(tmp_path, "logger=none")
    assert code == 0 and results(run)["peak_memory_bytes"] == 2
