"""kill -9 at every point of writing: afterwards the old or the new one loads, and the next start sweeps the rest."""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import points
import pytest
import torch

from moe import record, results
from moe.data.cache import read_cache, write_cache
from moe.inference import Predictions
from moe.results.predictions import read_predictions, write_predictions
from moe.store import Store, write_whole
from moe.sweep.record import FAILURE, SWEEP, Sweep, read_failure, read_sweep, write_failure

pytestmark = pytest.mark.fault("kill -9 at every point of writing a file")
Tally = Counter[tuple[str, str]]
KEY, OTHER = "base-0123456789abcdef", "base-00000000000000aa"
OLD, NEW = {"weight": torch.zeros(3)}, {"weight": torch.arange(4000.0)}


def predictions(value: float) -> Predictions:
    return Predictions(**{field.name: torch.full((300, 2), float(value)) for field in fields(Predictions)})


def sweep(folder: Path, name: str) -> Sweep:
    return Sweep(folder, ["seed=0,1"], ["seed"], {name: [f"seed={number}" for number in range(50)]})


# What is written, and what its reader then says: 0 or 1.
FILES: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], float]]] = {
    "results.json": (
        lambda folder, value: results.write(folder, {"schema": results.SCHEMA, "value": value}),
        lambda folder: results.read(folder)["value"],
    ),
    "predictions.safetensors": (
        lambda folder, value: write_predictions(folder, predictions(value), torch.zeros(300)),
        lambda folder: read_predictions(folder)[0].probabilities.mean().item(),
    ),
    "report.html": (  # what the report and the comparison are written by
        lambda folder, value: write_whole(folder / "report.html", str(value).encode() * 9000),
        lambda folder: {b"0" * 9000: 0, b"1" * 9000: 1}[(folder / "report.html").read_bytes()],
    ),
    SWEEP: (
        lambda folder, value: sweep(folder, str(value)).write(),
        lambda folder: int(next(iter(read_sweep(folder).jobs))),  # type: ignore[union-attr]
    ),
    FAILURE: (
        lambda folder, value: write_failure(folder, str(value)),
        lambda folder: int(read_failure(folder) or "-1"),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_old_or_the_new_one(name: str, tmp_path: Path, tally: Tally) -> None:
    write, read = FILES[name]
    write(tmp_path, 0)

    def after(number: int, killed: bool) -> None:
        value = read(tmp_path)
        assert value == (0 if killed else 1) or (killed and value in (0, 1))
        tally[f"{name}, killed", "the old one" if value == 0 else "the new one"] += killed
        if value == 1:
            write(tmp_path, 0)

    # Before and in the middle of the write, fsync, rename; of some also their folder.
    assert points.kill_at_each(lambda: write(tmp_path, 1), after) >= 4
    assert len(list(tmp_path.iterdir())) > 1
    record.clear(tmp_path)
    if name in ("results.json", "predictions.safetensors", "report.html"):
        assert list(tmp_path.iterdir()) == []
    else:  # of a sweep's own files several processes may be at work: those of this moment stay
        for left in tmp_path.glob(f".{name}.*"):
            os.utime(left, (0, 0))
        write(tmp_path, 1)
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_store_entry_is_whole_or_not_there(tmp_path: Path, tally: Tally) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    store.publish(OTHER, {"kind": "base", "inputs": {}}, OLD)

    def after(number: int, killed: bool) -> None:
        entry = Store(store.root).get(KEY)
        there = entry is not None
        assert there or killed
        if entry is not None:
            assert torch.equal(entry.tensors()["weight"], NEW["weight"]) and entry.record["seconds"] == 1.5
        other = Store(store.root).get(OTHER)
        assert other is not None and torch.equal(other.tensors()["weight"], OLD["weight"])
        assert set(store.present()) == {OTHER} | ({KEY} if there else set())
        tally["store entry, killed", "whole" if there else "not there"] += killed
        Store(store.root).prepare()  # the next start, and the dead process's lock is free
        assert list((store.root / ".unfinished").iterdir()) == []
        if there:
            assert store.remove(store.root / KEY)

    count = points.kill_at_each(lambda: publish(store.root, KEY), after)
    assert count >= 12  # lock, folder, two files of open, two writes and fsync each, rename


def publish(root: Path, key: str) -> None:
    Store(root).publish(key, {"kind": "base", "inputs": {}, "seconds": 1.5}, NEW)


def test_a_second_entry_of_a_key_leaves_the_first(tmp_path: Path, tally: Tally) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    store.publish(KEY, {"kind": "base", "inputs": {}}, OLD)
    before = {path.name: path.read_bytes() for path in (store.root / KEY).iterdir()}

    def after(number: int, killed: bool) -> None:
        assert {path.name: path.read_bytes() for path in (store.root / KEY).iterdir()} == before
        tally["store entry that is there already, killed", "the first one, byte for byte"] += killed

    points.kill_at_each(lambda: publish(store.root, KEY), after)


@pytest.mark.parametrize("what", ["mend", "remove"])
def test_an_entry_put_aside_or_removed_is_in_one_place_or_gone(what: str, tmp_path: Path, tally: Tally) -> None:
    store = Store(tmp_path / "store")
    store.prepare()

    def begin() -> None:
        publish(store.root, KEY)
        if what == "mend":
            (store.root / KEY / "entry.json").write_bytes(b"{}")

    def after(number: int, killed: bool) -> None:
        there, aside = (store.root / KEY).is_dir(), len(store.damaged())
        if what == "mend":
            assert there + aside == 1  # nothing is lost
        Store(store.root).prepare()
        assert list((store.root / ".unfinished").iterdir()) == []
        tally[f"store entry, {what}, killed", "in its place" if there else "out of it, whole"] += killed
        for path in (*store.damaged(), store.root / KEY):
            store.remove(path)
        begin()

    begin()
    act = {"mend": lambda: Store(store.root).mend(KEY), "remove": lambda: store.remove(store.root / KEY)}[what]
    points.kill_at_each(lambda: act() and None, after)


def test_the_start_of_a_store_can_be_killed_too(tmp_path: Path, tally: Tally) -> None:
    root = tmp_path / "store"

    def after(number: int, killed: bool) -> None:
        Store(root).prepare()
        assert list((root / ".unfinished").iterdir()) == []
        tally["the store's own start, killed", "the next start sweeps"] += killed
        (root / ".unfinished").rmdir()

    points.kill_at_each(lambda: Store(root).prepare(), after)


def test_a_cache_of_images_is_whole_or_none(tmp_path: Path, tally: Tally) -> None:
    images = torch.zeros(9, 1, 8, 8, dtype=torch.uint8)
    parts = (images, torch.arange(9), images[:2].clone(), torch.arange(2))
    path = tmp_path / "cache.safetensors"

    def after(number: int, killed: bool) -> None:
        kept = read_cache(path)
        assert kept is None or all(map(torch.equal, kept, parts))
        assert kept is not None or killed
        tally["cache of decoded images, killed", "none" if kept is None else "whole"] += killed
        path.unlink(missing_ok=True)

    points.kill_at_each(lambda: write_cache(parts, path), after)


def test_json_is_what_was_meant(tmp_path: Path) -> None:
    """The file that the readers above read is the one that other tools read."""
    results.write(tmp_path, {"schema": results.SCHEMA, "value": 1})
    assert json.loads((tmp_path / "results.json").read_text()) == {"schema": 1, "value": 1}
