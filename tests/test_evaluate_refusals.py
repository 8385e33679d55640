"""What `python -m moe.evaluate` refuses: other classes, other shapes, wrong overrides, and what is no run."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from moe import runs
from moe.evaluate import _device
from tests.evaluated import command, export, part_of, recorded


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


def test_a_damaged_record_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for section, name, value, lacks in (
        ("test", "accuracy", None, "a test accuracy"),
        ("data", "fingerprint", None, "data.fingerprint and data.protocol as text"),
        ("data", "shape", [1, 8], "the shape of its images"),
        ("stages", "gates", {"key": True}, "the key of gates"),
        ("stages", "gates", {"key": "gates-0", "temperature": "warm"}, "the temperature of gates"),
        ("test", "right", 5, "test.right as text"),
        ("", "seed", "one", "its seed"),
        ("", "machine", None, "its machine"),
    ):
        results = json.loads((run / "results.json").read_text())
        (results[section] if section else results)[name] = value
        (tmp_path / "results.json").write_text(json.dumps(results))
        code, out, err = command(capsys, tmp_path)
        sentence = f"{tmp_path} holds results without {lacks}: it is no run that this version can open"
        assert (code, out, err) == (1, "", f"moe: {sentence}\n")
    results = json.loads((run / "results.json").read_text())
    del results["stages"]["curved"], results["stages"]["gates"]
    (tmp_path / "results.json").write_text(json.dumps(results))
    code, out, err = command(capsys, tmp_path)
    assert (code, out) == (1, "") and "holds results without 'curved': " in err


def test_a_results_file_is_its_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, run / "results.json")
    assert (code, err) == (0, "") and "equals the recorded one, image by image." in out


def test_without_a_run_that_alone_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys)
    assert (code, out, err.splitlines()[-1]) == (
        *(2, ""),
        "python -m moe.evaluate: error: the following arguments are required: RUN",
    )


def test_digits_have_no_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, run, f"data.root={tmp_path}")
    sentence = "data.root: scikit-learn's digits come from that package; for your own images set data=folder"
    assert (code, out, err) == (2, "", f"moe: {sentence}\n")


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
        ("data.download=perhaps", "data.download must be true or false, not 'perhaps'"),
        ("trainer.accelerator=abacus", "trainer.accelerator must be one of auto, cpu, gpu, cuda, not 'abacus'"),
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
    assert (code, err.startswith("moe: trainer.accelerator=gpu: this machine has no CUDA GPU")) == (2, True)


def test_it_is_asked_on_the_gpu_that_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    finished: Any = SimpleNamespace(config=SimpleNamespace(trainer={"accelerator": "auto", "devices": [1]}))
    count = 1  # another machine, which has no second
    assert _device(finished, {}) == torch.device("cuda")
    count = 2
    assert _device(finished, {}) == torch.device("cuda", 1)
    # Where another is asked for by name it is the first of its kind.
    assert _device(finished, {"trainer.accelerator": "gpu"}) == torch.device("cuda")
    assert _device(finished, {"trainer.accelerator": "cpu"}) == torch.device("cpu")


def test_what_is_no_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, tmp_path)
    assert (code, err) == (1, f"moe: {tmp_path} holds no results.json: it is no finished run\n")
    shutil.copytree(run, tmp_path / "copy")
    found = recorded(run)
    found["config"]["paths"]["store"] = str(tmp_path / "gone")
    (tmp_path / "copy" / "results.json").write_text(json.dumps(found))
    code, _, err = command(capsys, tmp_path / "copy")
    assert code == 1 and f"moe: {tmp_path / 'copy'}: its networks base-" in err
    assert f" are not in {tmp_path / 'gone'}; MOE_STORE=DIR says where" in err


def test_a_store_that_has_been_moved(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where that of MOE_STORE does not hold its networks, the run's own does.
    monkeypatch.setenv("MOE_STORE", str(tmp_path / "other"))
    assert command(capsys, run)[0] == 0
    # Where neither does, both are named.
    shutil.copytree(run, tmp_path / "copy")
    found = recorded(run)
    store = found["config"]["paths"]["store"]
    found["config"]["paths"]["store"] = str(tmp_path / "gone")
    (tmp_path / "copy" / "results.json").write_text(json.dumps(found))
    code, _, err = command(capsys, tmp_path / "copy")
    assert code == 1 and f" are not in {tmp_path / 'other'}, nor in {tmp_path / 'gone'}; MOE_STORE=" in err
    assert err.count("base-") == 1
    monkeypatch.setenv("MOE_STORE", str(runs.seen(run, Path(store))))
    assert command(capsys, tmp_path / "copy")[0] == 0


def test_as_a_command_of_its_own(process: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = process("moe.evaluate", "no-run", "data.sauce=digits")
    sentence = "moe: data.sauce: there is no such key; did you mean data.source?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
