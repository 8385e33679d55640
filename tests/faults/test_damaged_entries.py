"""Truncated, zero-byte and bit-flipped store entries, and pickles in their place: refused, and trained anew."""

import copy
import hashlib
import json
import os
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from entries import KEY

import moe
from moe import results
from moe.errors import StoreError, UserError
from moe.store import Store, digest
from moe.store.entry import RECORD, TENSORS

Tally = Counter[tuple[str, str]]
damage = pytest.mark.fault("truncated, zero-byte, bit-flipped store entry")
malice = pytest.mark.fault("malicious pickle, hyper-parameters and addresses as a checkpoint")


def refused(store: Store) -> bool:
    try:
        entry = store.get(KEY)
        assert entry is not None
        entry.tensors()
    except StoreError as error:
        assert KEY in str(error) and "run again: it will be made anew" in str(error) and "\n" not in str(error)
        return True
    return False


@damage
@pytest.mark.parametrize("name", [RECORD, TENSORS])
def test_every_bit_counts(name: str, small: Store, long: bool, tally: Tally) -> None:
    path = small.root / KEY / name
    whole, entry = path.read_bytes(), small.get(KEY)
    assert entry is not None
    record = dict(entry.record)
    bits = range(len(whole) * 8) if long else random.Random(0).sample(range(len(whole) * 8), 400)
    for bit in bits:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if refused(small):
            tally[f"{name}, a bit flipped", "refused, named"] += 1
        else:  # JSON may say the same in other words: 1E-5 for 1e-5
            same = small.get(KEY)
            assert name == RECORD and same is not None and dict(same.record) == record
            tally[f"{name}, a bit flipped", "says the same as before"] += 1
    path.write_bytes(whole)
    assert not refused(small)


@damage
@pytest.mark.parametrize("name", [RECORD, TENSORS])
def test_every_length_counts(name: str, small: Store, long: bool, tally: Tally) -> None:
    path = small.root / KEY / name
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 if long else 7):
        path.write_bytes(whole[:length])
        assert refused(small), length
        tally[f"{name}, truncated", "refused, named"] += 1
    path.write_bytes(whole + b"\0")
    assert refused(small)
    path.unlink()
    assert refused(small)
    tally[f"{name}, lengthened or gone", "refused, named"] += 2


@damage
def test_an_earlier_versions_entry_is_held_against_its_key(small: Store) -> None:
    path = small.root / KEY / RECORD
    record = json.loads(path.read_text())
    record.pop("checksum")
    path.write_text(json.dumps(record))
    assert refused(small)  # its key is none of its inputs'
    record["key"] = key = f"base-{digest(record['inputs'])[:16]}"
    (small.root / KEY).rename(small.root / key)
    path = small.root / key / RECORD
    path.write_text(json.dumps(record))
    entry = small.get(key)
    assert entry is not None and torch.equal(entry.tensors()["weight"], torch.arange(40.0))
    changed = copy.deepcopy(record)
    changed["inputs"]["seed"] = 4
    path.write_text(json.dumps(changed))
    with pytest.raises(StoreError, match="is no readable store entry"):
        small.get(key)


@damage
def test_a_damaged_entry_is_put_aside_once_with_a_warning(small: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = small.root / KEY / TENSORS
    broken = path.read_bytes()[:-1]
    path.write_bytes(broken)
    assert small.sound(KEY) is None
    small.mend(KEY)
    small.mend(KEY)
    (aside,) = small.damaged()
    assert (aside / TENSORS).read_bytes() == broken and small.present() == []
    assert caplog.messages == [
        f"{small.root / KEY} is damaged: it is made anew; the damaged one is kept as {aside}",
    ]
    small.prepare()
    assert small.damaged() == [aside]  # no start sweeps it away


def damaged_run(run: Path, store: Path, folder: Path, kind: str) -> tuple[Path, Path, str]:
    """A copy of the run and of its store in which the entry of a kind is truncated."""
    shutil.copytree(store, folder / "store")
    shutil.copytree(run, folder / "run")
    entries = [e for e in Store(folder / "store").entries() if e.record["kind"] == kind]
    # Of outputs those that the same command reads again, whose gates are there.
    entry = next(e for e in entries if e.record["inputs"].get("split", "test") == "test")
    path = entry.path / TENSORS
    path.write_bytes(path.read_bytes()[:-9])
    return folder / "run", folder / "store", entry.key


@damage
def test_evaluate_predict_and_load_refuse(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from moe import evaluate, predict

    copied, root, key = damaged_run(run, store, tmp_path, "expert")
    monkeypatch.setenv("MOE_STORE", str(root))
    with pytest.raises(StoreError, match=f"{key}/{TENSORS} is damaged"):
        moe.load(copied)
    for act in (lambda: evaluate.main([str(copied)]), lambda: predict.main([str(copied), "image.png"])):
        with pytest.raises(SystemExit) as ended:
            act()
        said = capsys.readouterr().err
        assert ended.value.code == 1 and said.count("\n") == 1 and f"{key}/{TENSORS} is damaged" in said
    assert Store(root).damaged() == [] and (root / key).is_dir()


@damage
@pytest.mark.parametrize("kind", ["router", "outputs"])
def test_train_makes_it_anew_and_says_so(
    kind: str, run: Path, store: Path, tmp_path: Path, train: Callable[..., tuple[int, str]]
) -> None:
    _, root, key = damaged_run(run, store, tmp_path, kind)
    before = (store / key / TENSORS).read_bytes()
    code, said = train(tmp_path / "again", f"paths.store={root}", "plan=true")
    assert code == 0 and Store(root).damaged() == []  # a plan changes nothing
    code, said = train(tmp_path / "again", f"paths.store={root}")
    assert code == 0, said
    (aside,) = Store(root).damaged()
    assert f"{root / key} is damaged: it is made anew; the damaged one is kept as {aside}" in said
    assert (aside / TENSORS).read_bytes() == before[:-9]
    assert (root / key / TENSORS).read_bytes() == before  # the same seed gives the same weights
    if kind == "router":
        assert "router: training" in said and "base: reused" in said


# ---- what would run something


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
                results.read_predictions(tmp_path / "run")
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
