"""Runs of target=base opened again: one network, several averaged, and a cascade of them, by every command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import moe
from moe import evaluate, predict
from moe.data import sources
from moe.errors import StoreError
from moe.nets.build import build_network
from moe.results.predictions import PREDICTIONS, read_predictions
from moe.store import Store
from tests.train.command import results, train

COMMON = ("target=base", "base.recipe.optimizer.lr=0.003", "logger=none", "report=false")
RUNS = {
    "one": ("base.views=flip",),
    "averaged": ("base.members=2",),
    "cascade": ("base.members=3", "base.cascade=0.6"),
}
OWN = "The run's own data: the test accuracy equals the recorded one"


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of each of `RUNS`, and of their store."""
    folder = tmp_path_factory.mktemp("bases")
    for name, overrides in RUNS.items():
        code, run = train(folder, *COMMON, *overrides)
        assert code == 0
        run.rename(folder / name)
    return folder


@pytest.fixture(scope="module")
def images() -> Tensor:
    return sources.load(moe.compose("experiment=demo").data, Path()).test.images


def command(
    main: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def by_hand(where: Path, name: str, images: Tensor) -> tuple[Tensor, list[int]]:
    """Probabilities (N, K) from the store's networks one by one, and how many of them each image needs."""
    said = []
    for stage in results(where / name)["stages"].values():
        entry = Store(where / "store").get(stage["key"])
        assert entry is not None
        net = build_network(entry.record["inputs"]["net"], (1, 8, 8), 10)
        net.load_state_dict(entry.tensors())
        pixels = images / 255  # digits have a mean of 0 and a deviation of 1
        with torch.no_grad():
            logits = net.eval()(pixels)
            if name == "one":
                logits = (logits + net(pixels.flip(3))) / 2
        said.append((logits / stage.get("temperature", 1.0)).softmax(dim=1))
    if name != "cascade":
        return torch.stack(said).mean(dim=0), [len(said)] * len(images)
    rows, asked = [], []
    for members in zip(*said, strict=True):
        count = next((n for n in (1, 2) if sum(members[:n]).max() / n >= 0.6), 3)
        rows.append(sum(members[:count]) / count)
        asked.append(count)
    return torch.stack(rows), asked


@pytest.mark.parametrize("name", RUNS)
def test_its_networks_say_what_the_run_tested_and_left(where: Path, images: Tensor, name: str) -> None:
    expected, asked = by_hand(where, name, images)
    said = moe.load(where / name).predict(images)
    torch.testing.assert_close(said.probabilities, expected, rtol=0, atol=1e-5)
    assert said.asked.tolist() == asked and (len(set(asked)) > 1) == (name == "cascade")
    assert said.route is None and said.weights is None
    recorded, labels = read_predictions(where / name)
    torch.testing.assert_close(recorded.probabilities, expected, rtol=0, atol=1e-5)
    assert recorded.asked.tolist() == asked
    test = results(where / name)["test"]
    assert test["accuracy"] == (expected.argmax(dim=1) == labels).sum().item() / len(labels)
    assert test["accuracy"] > 0.4  # far from chance, so labels and images belong together


def test_a_cascades_members_speak_of_the_images_that_calibrate_them(where: Path) -> None:
    training = {name: results(where / name)["cost"]["training_flops"] for name in RUNS}
    # Three of tiny_vgg, a pass of 18,432 and 147,456 in convolutions, then of 16,384 and 1,280; 200 images.
    assert training["cascade"]["calibration"] == 3 * (18_432 + 147_456 + 16_384 + 1_280) * 200
    assert (training["one"]["calibration"], training["averaged"]["calibration"]) == (0, 0)
    for found in training.values():
        assert found["total"] == sum(found["stages"].values()) + found["calibration"]


@pytest.mark.parametrize("name", RUNS)
def test_evaluate_gives_what_was_recorded(where: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(evaluate.main, capsys, where / name, "--json")
    assert (code, err) == (0, "")
    said, before = json.loads(out), results(where / name)
    assert {**said["test"], "nll": None, "ece": None} == {**before["test"], "nll": None, "ece": None}
    assert said["test"]["nll"] == pytest.approx(before["test"]["nll"], abs=1e-6)
    assert said["recorded"] == before["test"] and said["verdict"] is None and said["baselines"] is None
    for stage, told in said["stages"].items():
        assert told["key"] == before["stages"][stage]["key"]
        assert told["test"]["accuracy"] == before["stages"][stage]["test"]["accuracy"]


def test_evaluates_table_is_of_networks_without_gates(where: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(evaluate.main, capsys, where / "averaged")
    found = results(where / "averaged")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "") and out.splitlines()[-1] == f"{OWN}, image by image."
    assert ["branch", "images", "bases"] in lines and ["network", "images", "accuracy"] in lines
    assert ["all", "359", f"{100 * found['test']['accuracy']:.2f}"] in lines
    assert ["base-2", "359", f"{100 * found['stages']['base-2']['test']['accuracy']:.2f}"] in lines
    assert not any(word in out for word in ("Routers", "gate", "mixture"))


def test_an_older_run_that_left_no_predictions_is_compared_by_what_was_right(
    where: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(where / "one", tmp_path / "one")
    (tmp_path / "one" / PREDICTIONS).unlink()
    code, out, _ = command(evaluate.main, capsys, tmp_path / "one")
    fault = f"their classes are not known: {tmp_path / 'one'} holds no {PREDICTIONS}."
    assert (code, out.splitlines()[-1]) == (0, f"{OWN}, and the same images are right; {fault}")


@pytest.mark.parametrize("name", RUNS)
def test_predict_says_class_and_probability_and_how_many_a_cascade_asked(
    where: Path, images: Tensor, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(12)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    expected, asked = by_hand(where, name, images[: len(paths)])
    code, out, err = command(predict.main, capsys, where / name, *paths, "--json")
    assert (code, err) == (0, "")
    code, lines, _ = command(predict.main, capsys, where / name, *paths)
    assert code == 0
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    for path, line, row, given, count in zip(paths, lines.splitlines(), rows, expected, asked, strict=True):
        label = int(given.argmax())
        assert list(row["probabilities"].values()) == pytest.approx(given.tolist(), abs=1e-5)
        last = {"asked": count, "members": 3} if name == "cascade" else {}
        assert row == {
            **{"path": str(path), "class": str(label), "label": label},
            **{"probability": max(row["probabilities"].values()), "probabilities": row["probabilities"]},
            **last,
        }
        words = [str(count), "of", "3", "asked"] if last else []
        assert line.split() == [str(path), str(label), f"{row['probability']:.3f}", *words]


def test_a_base_has_no_path_to_draw(where: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(predict.main, capsys, where / "one", "x.png", "--explain", tmp_path)
    sentence = "--explain draws an image's path through a mixture, and a base has none; leave it out"
    assert (code, out, err) == (2, "", f"moe: {sentence}\n")


@pytest.mark.parametrize("target", ["router", "experts"])
def test_networks_that_nothing_puts_together_are_refused(
    where: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = results(where / "one")
    found["config"].update(target=target)
    (tmp_path / "results.json").write_text(json.dumps(found))
    sentence = f"{tmp_path} trained {target} alone; give a run with target=gates or target=base"
    with pytest.raises(StoreError) as raised:
        moe.load(tmp_path)
    assert str(raised.value) == sentence
    for main, rest in ((evaluate.main, ()), (predict.main, ("x.png",))):
        assert command(main, capsys, tmp_path, *rest) == (1, "", f"moe: {sentence}\n")
