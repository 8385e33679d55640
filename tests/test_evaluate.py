"""`python -m moe.evaluate`: a real run tested again on its own data, on the same as pictures, and on other data."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from moe.inference import Predictions
from moe.results.bits import pack, unpack
from moe.results.predictions import read_predictions, write_predictions
from tests.evaluated import command, part_of, recorded

OWN = "The run's own data: the test accuracy equals the recorded one, image by image."


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
    predictions, labels = read_predictions(run)
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
    predictions, labels = read_predictions(copy)
    predictions.probabilities[3] = predictions.probabilities[3].roll(1)
    write_predictions(copy, predictions, labels)
    code, out, err = command(capsys, copy)
    accuracy = f"{100 * recorded(run)['test']['accuracy']:.2f}%"
    assert code == 1 and OWN not in out and out.startswith("demo, seed 0, digits")
    assert err.startswith(
        f"moe: 1 of 359 test images are not classified as {copy} recorded: accuracy {accuracy}, recorded {accuracy} on "
    )


@pytest.mark.parametrize(("apart", "told"), [(5e-5, False), (5e-4, True)])
def test_another_class_is_no_other_outcome_where_rounding_decides(
    apart: float, told: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    predictions, labels = read_predictions(copy)
    assert isinstance(predictions, Predictions)
    first, second = predictions.probabilities[3].topk(2).indices
    middle = predictions.probabilities[3, [first, second]].mean()
    predictions.probabilities[3, first], predictions.probabilities[3, second] = middle, middle + apart
    write_predictions(copy, predictions, labels)
    code, out, err = command(capsys, copy)
    if told:
        assert code == 1 and err.startswith("moe: 1 of 359 test images are not classified as")
    else:
        assert (code, err) == (0, "")
        assert out.endswith(f"{OWN.removesuffix('.')} but for 1, whose class rounding decides.\n")


def test_without_its_predictions_it_says_what_could_be_compared(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "predictions.safetensors").write_bytes(b"x" * 500)
    start = "The run's own data: the test accuracy equals the recorded one"
    fault = f"{copy / 'predictions.safetensors'} is damaged: it does not hold the predictions of a run"
    code, out, _ = command(capsys, copy)
    said = f"{start}, and the same images are right; their classes are not known: {fault}."
    assert (code, out.splitlines()[-1]) == (0, said)
    # Two images that were wrong and right are right and wrong: the accuracy is the same, and it is told.
    found = recorded(run)
    right = unpack(found["test"]["right"], 359)
    swapped = [int(right.nonzero()[0]), int((~right).nonzero()[0])]
    right[swapped] = ~right[swapped]
    found["test"]["right"] = pack(right)
    (copy / "results.json").write_text(json.dumps(found))
    code, _, err = command(capsys, copy)
    assert code == 1 and err.startswith("moe: 2 of 359 test images are not classified")
    # Runs from before that was recorded have their accuracy alone.
    del found["test"]["right"]
    (copy / "results.json").write_text(json.dumps(found))
    code, out, _ = command(capsys, copy)
    said = f"{start}; image by image nothing could be compared: {fault}."
    assert (code, out.splitlines()[-1]) == (0, said)
    # One image less was right.
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
    right = 100 * ensemble.results["test"]["accuracy"]
    assert repr(ensemble) == f"<{ensemble.config.experiment}, seed {ensemble.config.seed}: {right:.2f} % right>"
    ensemble.results["data"]["protocol"] = "notebook"
    monkeypatch.setattr(runs, "load", lambda _: ensemble)
    assert "WARNING: data.splits.protocol=notebook" in command(capsys, run)[1]
    folder = part_of(pictures, tmp_path / "part")
    out = command(capsys, run, "data=folder", f"data.root={folder}", f"paths.data={tmp_path}")[1]
    assert "WARNING" not in out and "The run chose on its own test images" in out
