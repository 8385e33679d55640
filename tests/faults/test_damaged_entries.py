"""Truncated, zero-byte and bit-flipped store entries: refused, and trained anew."""

import copy
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from entries import KEY

import moe
from moe.errors import StoreError
from moe.store import Store, digest
from moe.store.entry import RECORD, TENSORS

Tally = Counter[tuple[str, str]]
damage = pytest.mark.fault("truncated, zero-byte, bit-flipped store entry")


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
        f"{small.root / KEY} is damaged: it is made anew; the old one is kept as {aside}",
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
    assert f"{root / key} is damaged: it is made anew; the old one is kept as {aside}" in said
    assert (aside / TENSORS).read_bytes() == before[:-9]
    assert (root / key / TENSORS).read_bytes() == before  # the same seed gives the same weights
    if kind == "router":
        assert "router: training" in said and "base: reused" in said
