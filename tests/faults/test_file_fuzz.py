"""Every reader of files takes random bytes, mutated files and well-formed forgeries: it reads, or says one sentence."""

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from entries import KEY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moe
from moe import results
from moe.data.cache import read_cache, write_cache
from moe.errors import UserError
from moe.modules.checkpoint import HEAD, VerifiedCheckpointIO
from moe.results.predictions import read_predictions
from moe.store import Store, digest
from moe.store.__main__ import main as store_main
from moe.store.entry import RECORD, TENSORS
from moe.sweep import record as sweeps

pytestmark = pytest.mark.fault("file fuzz")
Tally = Counter[tuple[str, str]]
READ, REFUSED = "read, or as good as none", "refused in a sentence"

BOMBS = (b"[" * 100_000, b'{"a":' * 5000, b"1" * 5000, b"null", b"[]", b'"x"', b"NaN", b"\xff\xfe{}")
# safetensors says the length of its header in the first eight bytes
LENGTHS = tuple(length.to_bytes(8, "little") for length in (0, 1, 2**31, 2**62, 2**64 - 1))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from((10**400, -(10**400))), st.floats(), st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def mutations(whole: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are mostly `whole`, and some that are nothing of the kind."""
    places = st.integers(0, len(whole))
    spans = st.tuples(places, st.integers(0, 64)).map(lambda span: whole[span[0] :][: span[1]])
    splices = st.tuples(places, st.integers(0, 64), st.binary(max_size=64) | spans)
    return st.one_of(
        splices.map(lambda s: whole[: s[0]] + s[2] + whole[s[0] + s[1] :]),
        places.map(lambda end: whole[:end]),
        st.sampled_from(LENGTHS).map(lambda length: length + whole[8:]),
        st.sampled_from(BOMBS),
        st.binary(max_size=300),
    )


def fuzz(case: str, given_: st.SearchStrategy[Any], read: Callable[[Any], object], tally: Tally, long: bool) -> None:
    """Hand `read` random values; it may raise UserError with one sentence, and nothing else."""

    @settings(
        max_examples=2000 if long else 60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(given_)
    def check(value: Any) -> None:
        try:
            read(value)
            outcome = READ
        except UserError as error:
            assert str(error).strip() and "\n" not in str(error)
            outcome = REFUSED
        tally[case, outcome] += 1

    check()


@pytest.mark.parametrize("name", ["results.json", "predictions.safetensors", "cache", "sweep.json"])
def test_files_of_a_run(name: str, run: Path, tmp_path: Path, long: bool, tally: Tally) -> None:
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    write_cache((images, torch.arange(4), images.clone(), torch.arange(4)), tmp_path / "cache")
    sweeps.Sweep(tmp_path, ["a=1,2"], ["a"], {"x": ["a=1"]}).write()
    for file in ("results.json", "predictions.safetensors"):
        shutil.copy(run / file, tmp_path)
    readers: dict[str, Callable[[], object]] = {
        "results.json": lambda: (results.read(tmp_path), moe.load(tmp_path)),
        "predictions.safetensors": lambda: read_predictions(tmp_path),
        "cache": lambda: read_cache(tmp_path / "cache"),
        "sweep.json": lambda: (sweep := sweeps.read_sweep(tmp_path)) and (sweep, sweeps.failures(sweep, earlier=True)),
    }
    path = tmp_path / name
    whole = path.read_bytes()
    assert readers[name]() is not None  # as it was written it is read

    def read(content: bytes) -> None:
        path.write_bytes(content)
        readers[name]()

    fuzz(f"{name}, mutated", mutations(whole), read, tally, long)


@pytest.mark.parametrize("name", [RECORD, TENSORS])
def test_files_of_an_entry(
    name: str, small: Store, long: bool, tally: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small.root / KEY / name
    whole = path.read_bytes()
    _read_entry(small, capsys)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        _read_entry(small, capsys)
        assert name == RECORD or content == whole

    fuzz(f"{name}, mutated", mutations(whole), read, tally, long)


def test_a_forged_record(small: Store, long: bool, tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    """Other values than a record has, with the right checksum, as a forger would write it."""
    usual = {"key": KEY, "kind": "base", "name": "base", "inputs": {}, "seconds": 1.0, "created": 1.0, "sha256": "0"}
    forged = st.dictionaries(st.sampled_from(sorted(usual)), VALUES | st.just({"network": [1]}), min_size=1)

    def read(changes: dict[str, Any]) -> None:
        record = {**usual, **changes}
        (small.root / KEY / RECORD).write_text(json.dumps({**record, "checksum": digest(record)}))
        _read_entry(small, capsys)

    fuzz("entry.json, other values with a right checksum", forged, read, tally, long)


def test_forged_tensors(small: Store, long: bool, tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    path = small.root / KEY / TENSORS
    record = json.loads((small.root / KEY / RECORD).read_text())
    del record["checksum"]
    whole = path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        signed = {**record, "sha256": hashlib.sha256(content).hexdigest()}
        (small.root / KEY / RECORD).write_text(json.dumps({**signed, "checksum": digest(signed)}))
        _read_entry(small, capsys)

    fuzz("tensors.safetensors, mutated with a right checksum", mutations(whole), read, tally, long)


@pytest.mark.parametrize("signed", [False, True])
def test_checkpoints(signed: bool, tmp_path: Path, long: bool, tally: Tally) -> None:
    path, reader = tmp_path / "base-0123-000001.ckpt", VerifiedCheckpointIO()
    buffer = io.BytesIO()
    torch.save({"epoch": 1, "state_dict": {"weight": torch.arange(3.0)}}, buffer)

    def read(content: bytes) -> None:
        head = HEAD + hashlib.sha256(content).hexdigest().encode() + b"\n" if signed else b""
        path.write_bytes(head + content)
        reader.load_checkpoint(path)
        assert signed or content == whole

    case = "checkpoint, mutated" + (" with a right checksum" if signed else "")
    whole = buffer.getvalue()
    if not signed:
        whole = HEAD + hashlib.sha256(whole).hexdigest().encode() + b"\n" + whole
    read(whole)
    fuzz(case, mutations(whole), read, tally, long)


def _read_entry(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry as the commands read it."""
    for command in ("list", "verify", "prune"):
        with pytest.raises(SystemExit) as ended:
            store_main(["--root", str(store.root), command])
        assert ended.value.code in (0, 1)
    capsys.readouterr()
    entry = store.get(KEY)
    assert entry is not None
    entry.tensors()
