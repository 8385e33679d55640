"""Commands that are refused, fail or are interrupted: one sentence, an exit code, and nothing is lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import moe
from moe import together
from moe.errors import StoreError
from moe.nets.gates import Gate
from moe.store import Store
from tests.train.command import QUICK, copy_of, train

WRONG = {
    "gate.widht=32": (2, "did you mean gate.width?"),
    "gate.width=-1": (2, "gate.width must be a whole number above 0, not -1"),
    "gate.width=0": (2, "gate.width must be a whole number above 0, not 0"),
    "taxonomy.branches={a:[0,1,2,3,4],b:[5,6,7,8,11]}": (2, "taxonomy.branches.b: label 11 does not exist"),
    "taxonomy.branches={a:[0,1,2,3,4],b:[4,5,6,7,8,9]}": (2, "the class '4' is in both a and b"),
    "taxonomy.branches={a:[0,1,2,3,4],b:[5,6,7,8]}": (2, "no branch holds the class 9"),
    "taxonomy.branches={a:[0,1,2,3,4,5,6,7,8,9],b:[]}": (2, "taxonomy.branches.b is empty"),
    "base.net._target_=torch.load": (2, "base.net._target_: 'torch.load' is not an allowed network"),
    "+base.net.x={_target_:os.system}": (2, "base.net.x._target_ is not allowed"),
    "base.net._target_=moe.nets.vgg.Nothing": (2, "there is no Nothing in moe.nets.vgg"),
    "+base.net.sise=3": (2, "base.net.sise: moe.nets.vgg.VGG takes no sise"),
    "data.root=/nowhere": (2, "data.root: scikit-learn's digits come from that package"),
    "data.mean=[0,0]": (2, "data.mean must have one number or one for each of the 1 channels"),
    "gate.frozen=live gate.recipe.augment.shift=8": (2, "gate.recipe.augment.shift=8 must be below the images' 8"),
    "trainer.devices=2": (2, "trainer.devices must be 1"),
    "base.recipe.optimizer.betas=[0.9,0.99]": (2, "+KEY=VALUE"),
    "trainer.max_epochs=3": (2, "base.recipe.epochs"),
    "+trainer.foo=3": (2, "unexpected keyword argument 'foo'"),
    "+gate.foo=3": (2, "gate: moe.nets.gates.MLPGate cannot be built"),
    "+router.recipe.optimizer.foo=3": (2, "is removed with ~router.recipe.optimizer.foo"),
    "net@expert.net=fat_vgg expert.net.blocks=[[1],[1],[1],[1]]": (2, "too small for 4 blocks"),
    "data.splits.gate=1500": (2, "data.splits.gate"),
    "hydra/launcher=processes": (2, "hydra/launcher=processes runs the jobs of a sweep; add -m"),
    "data.fingerprint=abc": (1, "data.fingerprint=null"),
}


@pytest.mark.parametrize("override", WRONG)
def test_bad_input_gets_one_sentence_and_no_results(
    override: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, run = train(tmp_path, "logger=none", *override.split())
    expected, sentence = WRONG[override]
    said = capsys.readouterr().err
    assert code == expected
    assert said.startswith("moe: ") and said.count("\n") == 1 and sentence in said
    assert "Traceback" not in said
    assert not (run / "results.json").exists()


def test_what_another_run_left_meanwhile_stays(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = (trained / "run" / "results.json").read_bytes()
    obtain = together.obtain

    def meanwhile(*arguments: Any) -> Any:
        (tmp_path / "run" / "results.json").write_bytes(others)
        return obtain(*arguments)

    monkeypatch.setattr(together, "obtain", meanwhile)
    code, run = train(tmp_path, "logger=none", "report=false", "seed=1", "target=base")
    assert code == 2 and "holds a finished run that differs in " in capsys.readouterr().err
    assert (run / "results.json").read_bytes() == others


def test_gates_that_cannot_weigh_are_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2\nshapes cannot be multiplied")

    target = "moe.nets.gates.MLPGate"
    monkeypatch.setattr(f"{target}.logits", fail)
    assert train(tmp_path, "logger=none", "plan=true")[0] == 2
    said = capsys.readouterr().err
    assert said.startswith(f"moe: gate: {target} cannot weigh two images: mat1 and mat2 shapes cannot be multiplied (")
    assert re.search(r" \(moe/nets/gates\.py, line \d+\)\n$", said)  # where it was asked, as the test's is elsewhere
    monkeypatch.setattr(f"{target}.logits", Gate.logits)
    assert train(tmp_path, "logger=none", "plan=true")[0] == 2
    said = f"moe: gate: {target} has no logits(images, experts) of its own, by which a gate weighs\n"
    assert capsys.readouterr().err == said
    # Of two images the weights of one.
    monkeypatch.setattr(f"{target}.logits", lambda self, images, experts: images.new_zeros(1, self.num_logits))
    assert train(tmp_path, "logger=none", "plan=true")[0] == 2
    assert "gives weights of (1, 10, 2) for two images, not of (2, 10, 2)" in capsys.readouterr().err


def test_output_folder_that_cannot_be_written_is_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    code, _ = train(tmp_path, "logger=none", f"hydra.run.dir={tmp_path / 'file' / 'run'}")
    assert code == 1
    said = capsys.readouterr().err
    assert said.startswith("moe: ") and "Not a directory; set hydra.run.dir=DIR" in said
    assert not (tmp_path / "store").exists()


def test_a_failed_run_leaves_the_older_results_of_its_config_in_its_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none")
    names = ("results.json", "predictions.safetensors", "report.html")
    before = [(run / name).read_bytes() for name in names]
    monkeypatch.setattr("moe.record.measure", full)
    assert code == 0 and train(tmp_path, "logger=none")[0] == 1
    assert [(run / name).read_bytes() for name in names] == before


@pytest.mark.fault("resuming with a changed config")
def test_a_folder_with_another_configs_results_is_refused_by_the_keys_that_differ(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    configs = {path: path.read_bytes() for path in (tmp_path / "run" / "hydra").iterdir()}
    code, run = train(tmp_path, "logger=none", "report=false", "gate.weights=per_class", "seed=1")
    assert code == 2 and len(configs) == 3
    assert capsys.readouterr().err == (
        f'moe: {run} holds a finished run that differs in seed (0, not 1), gate.weights ("joint", not "per_class"); '
        "set hydra.run.dir to another folder, or remove that run\n"
    )
    assert (run / "results.json").read_bytes() == before
    assert {path: path.read_bytes() for path in configs} == configs  # by which its store is found
    assert not (tmp_path / "store").exists()
    # What decides no weights may change, and what is planned takes nobody's place.
    copy_of(trained, tmp_path)
    assert train(tmp_path, "logger=none", "report=false", "plan=true", "seed=1")[0] == 0
    assert (run / "results.json").read_bytes() == before
    assert {path: path.read_bytes() for path in configs} == configs
    assert train(tmp_path, "logger=csv", "report=true")[0] == 0


def test_ctrl_c_ends_with_130_and_the_finished_networks_stay(tmp_path: Path) -> None:
    flags = ("logger=none", "router.recipe.epochs=100000", "router.recipe.patience=null", "base.recipe.epochs=1")
    command = [sys.executable, "-m", "moe.train", *QUICK, *flags, f"paths.store={tmp_path / 'store'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(moe.__file__).parents[1])}
    started = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert started.stdout is not None and started.stderr is not None
    try:
        for line in started.stdout:
            if line.startswith("router: epoch 2"):
                started.send_signal(signal.SIGINT)
                break
        said = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    assert started.returncode == 130
    assert said == "moe: interrupted; the same command goes on from the last checkpoint\n"
    assert {entry.record["name"] for entry in Store(tmp_path / "store").entries()} == {"base", "curved", "straight"}
