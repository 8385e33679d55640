"""`python -m moe.evaluate`: a real run tested again on its own data, on the same as pictures, and on other data."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import moe
from moe import evaluate, results
from moe.data import sources

OWN = "The run's own data: the test accuracy equals the recorded one, image by image."


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        evaluate.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def export(images: Any, labels: Any, folder: Path, names: list[str]) -> None:
    """Class folders of PNGs."""
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = folder / names[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as class folders."""
    folder = tmp_path_factory.mktemp("pictures")
    digits = sources.load(moe.compose("experiment=demo").data, folder)
    for split in ("train", "test"):
        part = getattr(digits, split)
        export(part.images, part.labels, folder / split, list(digits.classes))
    return folder


def part_of(pictures: Path, folder: Path, count: int = 3) -> Path:
    """The first `count` images of each class and split, by their files' names."""
    for split in ("train", "test"):
        for name in map(str, range(10)):
            (folder / split / name).mkdir(parents=True)
            for path in sorted((pictures / split / name).iterdir())[:count]:
                shutil.copy(path, folder / split / name)
    return folder


def recorded(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def test_its_own_data_gives_what_was_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, run, "--json")
    assert (code, err) == (0, "")
    said, before = json.loads(out), recorded(run)
    assert said["test"]["accuracy"] == before["test"]["accuracy"]
    assert said["test"]["branch"] == before["test"]["branch"]
    assert said["test"]["router"] == before["test"]["router"]
    assert said["test"]["nll"] == pytest.approx(before["test"]["nll"], abs=1e-6)
    assert said["test"]["gate"]["curved"]["weight"] == pytest.approx(
        before["test"]["gate"]["curved"]["weight"], abs=1e-6
    )
    assert said["baselines"] == before["baselines"] and said["verdict"] == before["verdict"]
    assert said["recorded"] == before["test"]
    assert said["data"]["fingerprint"] == before["data"]["fingerprint"]


def test_the_table_and_the_verdict_on_its_own_data(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, run)
    test = recorded(run)["test"]
    assert (code, err, out.splitlines()[-1]) == (0, "", OWN)
    line = next(line.split() for line in out.splitlines() if line.startswith("curved"))
    assert line[1:3] == ["180", f"{100 * test['branch']['curved']['accuracy']:.2f}"]
    assert f"Routers: {100 * test['router']['accuracy']:.2f}%" in out
    said = f"Negative log-likelihood {test['nll']:.4f} nats, expected calibration error {test['ece']:.4f}."
    assert out.splitlines()[-2] == said


def test_the_same_images_as_class_folders_are_its_own_data(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(capsys, run, "data=folder", f"data.root={pictures}", f"paths.data={tmp_path}")
    assert (code, err, out.splitlines()[-1]) == (0, "", OWN)
    # Classes in another order would be other labels; so the run's own order is taken, not that of the folders.
    assert "curved       180" in out


def test_other_data_with_its_classes(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = part_of(pictures, tmp_path / "part")
    code, out, err = command(capsys, run, "--json", "data=folder", f"data.root={folder}", f"paths.data={tmp_path}")
    assert (code, err) == (0, "")
    said = json.loads(out)
    # By hand: the recorded predictions of those 30 images. Files are named by their place in canonical order.
    predictions, labels = results.read_predictions(run)
    index = torch.tensor([int(path.stem) for path in folder.glob("test/*/*.png")])
    right = (predictions.probabilities.argmax(dim=1) == labels)[index]
    assert said["test"]["accuracy"] == right.sum().item() / 30
    assert said["test"]["branch"]["curved"]["count"] == 15
    assert said["data"]["sizes"] == {"test": 30} and said["recorded"] is None
    code, out, err = command(capsys, run, "data=folder", f"data.root={folder}", f"paths.data={tmp_path}")
    assert code == 0 and OWN not in out and f"all           30  {100 * right.double().mean():7.2f}" in out


def test_a_changed_record_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    predictions, labels = results.read_predictions(copy)
    predictions.probabilities[3] = predictions.probabilities[3].roll(1)
    results.write_predictions(copy, predictions, labels)
    code, out, err = command(capsys, copy)
    accuracy = f"{100 * recorded(run)['test']['accuracy']:.2f}%"
    assert code == 1 and OWN not in out and out.startswith("demo, seed 0, digits")
    assert err.startswith(
        f"moe: 1 of 359 test images are not classified as {copy} recorded: accuracy {accuracy}, recorded {accuracy} on "
    )
    # Without predictions the accuracy has to do: one image less was right.
    (copy / "predictions.safetensors").unlink()
    found = recorded(run)
    found["test"]["accuracy"] -= 1 / 359
    (copy / "results.json").write_text(json.dumps(found))
    code, _, err = command(capsys, copy, "--json")
    assert code == 1 and err.startswith("moe: 1 of 359 test images are not classified")


def test_relative_folders_are_seen_from_where_the_run_started(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, started = tmp_path / "copy", tmp_path / "started"
    shutil.copytree(run, copy)
    part_of(pictures, started / "pictures")
    (started / "data").mkdir()
    hydra = (copy / "hydra" / "hydra.yaml").read_text()
    (copy / "hydra" / "hydra.yaml").write_text(hydra.replace(f"cwd: {run.parent}", f"cwd: {started}"))
    found = recorded(run)
    found["config"]["data"].update(source="folder", root="pictures", name="pictures", fingerprint=None)
    found["config"]["paths"]["data"] = "data"
    (copy / "results.json").write_text(json.dumps(found))
    (tmp_path / "data").mkdir()  # another one, where the command is given
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, copy, "--json")
    assert (code, err) == (0, "") and json.loads(out)["data"]["sizes"] == {"test": 30}
    # The cache of decoded images lies where the run would have put it.
    assert len(list((started / "data" / ".cache").iterdir())) == 1 and not list((tmp_path / "data").iterdir())


def test_a_notebook_runs_warning_is_for_its_own_test_images(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moe import runs

    ensemble = runs.load(run)
    ensemble.results["data"]["protocol"] = "notebook"
    monkeypatch.setattr(runs, "load", lambda _: ensemble)
    assert "WARNING: data.splits.protocol=notebook" in command(capsys, run)[1]
    folder = part_of(pictures, tmp_path / "part")
    out = command(capsys, run, "data=folder", f"data.root={folder}", f"paths.data={tmp_path}")[1]
    assert "WARNING" not in out and "The run chose on its own test images" in out


def test_other_classes_are_named(run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits = ", ".join(map(str, range(10)))
    code, _, err = command(capsys, run, "data.classes=['1','0','2','3','4','5','6','7','8','9']")
    assert (code, err) == (
        1,
        f"moe: data.classes: digits has not the classes that the run learnt, {digits}: "
        "it has them in the order 1, 0, 2, 3, 4, 5, 6, 7, 8, 9\n",
    )
    code, _, err = command(capsys, run, "data.classes=['0','1','2','3','4','5','6','7','8',nine]")
    assert (code, err) == (
        1,
        f"moe: data.classes: digits has not the classes that the run learnt, {digits}: "
        "it lacks 9; the run knows no nine\n",
    )
    code, _, err = command(capsys, run, "data=cifar10", f"paths.data={tmp_path}")
    assert code == 1 and "it lacks 0, 1, 2, 3, 4 and 5 more; the run knows no airplane" in err
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded to find that out
    folder = part_of(pictures, tmp_path / "part")
    shutil.rmtree(folder / "test" / "7")
    code, _, err = command(capsys, run, "data=folder", f"data.root={folder}", f"paths.data={tmp_path}")
    assert (code, err) == (1, f"moe: {folder / 'test'} has no folder for class 7\n")


def test_images_of_another_shape_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (10, 3, 8, 9), dtype=np.uint8))
    for split in ("train", "test"):
        export(noise, torch.arange(10), tmp_path / split, list(map(str, range(10))))
    code, _, err = command(capsys, run, "data=folder", f"data.root={tmp_path}", f"paths.data={tmp_path}")
    sentence = "the images of folder are 3x8x9 (channels, height, width), but the run takes 1x8x8"
    assert (code, err) == (1, f"moe: {sentence}\n")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seed=3", "seed cannot be given here: evaluate takes only data=GROUP, data."),
        ("trainer.precision=16", "trainer.precision cannot be given here: evaluate takes only"),
        ("+data.root=x", "+data.root cannot be given here: evaluate takes only"),
        ("data.mean=[0.5]", "data.mean is the run's own and cannot be given: evaluate takes only"),
        ("data.splits.seed=1", "data.splits.seed is the run's own and cannot be given"),
        ("data.rot=x", "data.rot: there is no such key; did you mean data.root?"),
        ("data=fodler", "data=fodler: there is no such option; did you mean folder?"),
        ("data=folder", "data.root has no value; give it one with data.root=VALUE"),
        ("data.source=web", "data.source must be one of cifar10, folder, digits, not 'web'"),
        ("data.download=perhaps", "data.download: "),
        ("trainer.accelerator=abacus", "trainer.accelerator must be one of auto, cpu, gpu, not 'abacus'"),
    ],
)
def test_wrong_overrides_are_named_before_the_run_is_opened(
    override: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(capsys, "no-run", override)
    assert (code, out) == (2, "") and err.startswith(f"moe: {sentence}") and err.count("\n") == 1


def test_a_gpu_that_is_not_there(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = command(capsys, run, "trainer.accelerator=gpu")
    assert (code, err.startswith("moe: trainer.accelerator=gpu: this machine has no GPU")) == (2, True)


def test_what_is_no_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, tmp_path)
    assert (code, err) == (1, f"moe: {tmp_path} holds no results.json: it is no finished run\n")
    shutil.copytree(run, tmp_path / "copy")
    found = recorded(run)
    found["config"]["paths"]["store"] = str(tmp_path / "gone")
    (tmp_path / "copy" / "results.json").write_text(json.dumps(found))
    code, _, err = command(capsys, tmp_path / "copy")
    assert code == 1 and f"the store {tmp_path / 'gone'} no longer holds base-" in err


def test_as_a_command_of_its_own(process: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = process("moe.evaluate", "no-run", "data.sauce=digits")
    sentence = "moe: data.sauce: there is no such key; did you mean data.source?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
