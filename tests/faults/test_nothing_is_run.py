"""Pickles, hyper-parameters and addresses in place of what was trained are refused, and run nothing."""

import hashlib
import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import moe
from moe.errors import StoreError, UserError
from moe.results.predictions import read_predictions
from moe.store import Store, digest
from moe.store.entry import RECORD, TENSORS

Tally = Counter[tuple[str, str]]
malice = pytest.mark.fault("malicious pickle, hyper-parameters and addresses as a checkpoint")


class Canary:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.path),)


@malice
def test_pickles_and_hyper_parameters_are_never_opened(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    canary = tmp_path / "canary"
    hyper = {"_instantiator": "os.system", "_class_path": "os.system", "command": f"touch {canary}"}
    checkpoint = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": hyper, "x": Canary(canary)}, checkpoint)
    contents = {
        "a pickle": pickle.dumps(Canary(canary)),
        "a checkpoint of Lightning's": checkpoint.read_bytes(),
        "hyper-parameters": json.dumps(hyper).encode(),
    }
    pickle.loads(contents["a pickle"])
    assert canary.is_dir()  # it would have worked
    canary.rmdir()
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.setenv("MOE_STORE", str(tmp_path / "store"))
    places = [entry.path / TENSORS for entry in Store(tmp_path / "store").entries() if entry.record["kind"] == "base"]
    places += [places[0].parent / RECORD]
    places += [tmp_path / "run" / name for name in ("results.json", "predictions.safetensors")]
    for place in places:
        whole = place.read_bytes()
        for name, content in contents.items():
            place.write_bytes(content)
            if place.name == TENSORS:  # by a forger, who mends the checksums
                _sign(place.parent, content)
            with pytest.raises(UserError):
                moe.load(tmp_path / "run")
                read_predictions(tmp_path / "run")
            tally[f"{name} as {place.name}", "refused, the canary absent"] += 1
        place.write_bytes(whole)
        if place.name == TENSORS:
            _sign(place.parent, whole)
    for name in (str(checkpoint), "https://127.0.0.1:9/run", "s3://bucket/run", "file:///etc", "hf://a/b"):
        with pytest.raises(StoreError, match=r"results\.json"):
            moe.load(name)
        tally["a checkpoint or an address as RUN", "refused, the canary absent"] += 1
    assert not canary.exists()


def _sign(entry: Path, content: bytes) -> None:
    record = json.loads((entry / RECORD).read_text())
    record = {**record, "sha256": hashlib.sha256(content).hexdigest()}
    record.pop("checksum")
    (entry / RECORD).write_text(json.dumps({**record, "checksum": digest(record)}))


@malice
def test_a_forged_target_in_an_entry_or_in_results_is_not_built(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.setenv("MOE_STORE", str(tmp_path / "store"))
    found = json.loads((run / "results.json").read_text())
    found["config"]["base"]["net"] = {"_target_": "os.mkdir", "path": str(tmp_path / "canary")}
    (tmp_path / "run" / "results.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"'os\.mkdir' is not an allowed network"):
        moe.load(tmp_path / "run")
    shutil.copy(run / "results.json", tmp_path / "run")
    base = next(entry for entry in Store(tmp_path / "store").entries() if entry.record["kind"] == "base")
    record = json.loads((base.path / RECORD).read_text())
    record["inputs"]["net"] = {"_target_": "os.mkdir", "path": str(tmp_path / "canary")}
    record.pop("checksum")
    (base.path / RECORD).write_text(json.dumps({**record, "checksum": digest(record)}))
    with pytest.raises(UserError, match=r"'os\.mkdir' is not an allowed network"):
        moe.load(tmp_path / "run")
    assert not (tmp_path / "canary").exists()


@malice
def test_no_code_of_ours_unpickles() -> None:
    for path in sorted(Path(moe.__file__).parent.rglob("*.py")):
        text = path.read_text()
        assert "import pickle" not in text and "load_from_checkpoint" not in text and "torch.hub" not in text, path
        for line in text.splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, path
