"""A network that was trained anew may have other weights under its key: what read the old ones is made anew, too."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import moe
from moe.data import sources
from moe.errors import StoreError
from moe.modules.checkpoint import Checkpoints, VerifiedCheckpointIO
from moe.store import Store
from moe.store.__main__ import _doomed
from moe.training import put_aside_outdated
from tests.stored import KEY, publish, train_anew
from tests.train.command import copy_of, results, train

OWN = ("logger=none", "report=false")


@pytest.mark.parametrize(
    ("overrides", "read"),
    [
        ((), ["gates"]),  # whose specialists began from scratch
        (("expert.init=base", "expert.trunk=shared", "router=base"), ["curved", "straight", "gates"]),
    ],
)
def test_what_read_a_network_that_was_trained_anew_is_trained_anew(
    trained: Path, tmp_path: Path, overrides: tuple[str, ...], read: list[str]
) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, *OWN, *overrides)
    assert code == 0
    before, store = results(run), Store(tmp_path / "store")
    base = store.get(before["stages"]["base"]["key"])
    assert base is not None
    train_anew(base)
    shutil.rmtree(run)
    assert train(tmp_path, *OWN, *overrides, "plan=true") == (0, run)
    planned = [line.split()[-3:-1] for line in next(run.glob("*.log")).read_text().splitlines() if "  " in line]
    assert [name for name, what in planned if what == "train"] == read
    assert store.damaged() == []
    assert train(tmp_path, *OWN, *overrides) == (0, run)
    found, said = results(run), next(run.glob("*.log")).read_text()
    assert {name for name, stage in found["seconds"].items() if not stage["reused"]} == set(read)
    assert said.count(
        "learnt from networks that were trained anew since: it is made anew; the old one is kept as"
    ) == len(read)
    assert {path.name.rpartition("-")[0] for path in store.damaged()} == {
        before["stages"][name]["key"] for name in read
    }
    # What is recorded is of the networks that are there.
    ensemble = moe.load(run)
    test = sources.load(ensemble.config.data, tmp_path / "data").test
    recorded = load_file(run / "predictions.safetensors")["probabilities"]
    torch.testing.assert_close(ensemble.predict(test.images).probabilities, recorded, rtol=0, atol=1e-5)
    shutil.rmtree(run)
    assert train(tmp_path, *OWN, *overrides) == (0, run)
    assert all(stage["reused"] for stage in results(run)["seconds"].values())


def test_a_run_whose_gates_learnt_from_weights_that_are_gone_is_not_opened(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, *OWN)
    assert code == 0
    other = Path(shutil.copytree(run, tmp_path / "other"))
    store = Store(tmp_path / "store")
    base, gates = (store.get(results(run)["stages"][name]["key"]) for name in ("base", "gates"))
    assert base is not None and gates is not None
    before = {entry.key for entry in store.entries() if entry.record["inputs"].get("network") == base.key}
    train_anew(base)
    with pytest.raises(StoreError, match=rf"^{gates.path} learnt from weights that are gone; train {other} again$"):
        moe.load(other)
    # What the old weights said is nobody's any more.
    said = {path.name for path, why in _doomed(store, None, None).items() if "not of the weights that it has" in why}
    assert said == before and len(before) == 3


def test_of_a_network_that_starts_as_another_the_plan_says_what_is_trained(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    own = (*OWN, "expert.init=member", "router=base")
    code, run = train(tmp_path, *own)
    assert code == 0
    start = Store(tmp_path / "store").get(results(run)["stages"]["base-2"]["key"])
    assert start is not None
    train_anew(start)
    shutil.rmtree(run)
    assert train(tmp_path, *own, "plan=true") == (0, run)
    planned = [line.split()[-3:-1] for line in next(run.glob("*.log")).read_text().splitlines() if "  " in line]
    # The gates do not read base-2, but specialists that do.
    assert [name for name, what in planned if what == "train"] == ["curved", "straight", "gates"]


def test_a_checkpoint_of_what_started_as_other_weights_is_left_out(tmp_path: Path) -> None:
    first, second = (Checkpoints(tmp_path, "expert-0123456789abcdef", 0.0, learns) for learns in ("aa", "bb"))
    writer = VerifiedCheckpointIO()
    writer.save_checkpoint({"epoch": 1}, first.path(1))
    assert first.newest() == first.path(1) and second.newest() is None
    for epoch in (2, 3):
        writer.save_checkpoint({"epoch": epoch}, second.path(epoch))
    second.drop(1)
    assert second.newest() == second.path(3) and first.newest() == first.path(1)
    second.drop()  # when it is trained
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_holds_weights_that_are_gone_puts_nothing_aside(tmp_path: Path) -> None:
    store, expert = Store(tmp_path), "expert-0123456789abcdef"
    publish(store, KEY)
    old = store.get(KEY)
    assert old is not None
    train_anew(old)
    new = store.get(KEY)
    assert new is not None and new.record["sha256"] != old.record["sha256"]
    job: Any = SimpleNamespace(store=store)
    stage: Any = SimpleNamespace(key=expert)
    publish(store, expert, "expert", learnt_from={KEY: new.record["sha256"]})
    with pytest.raises(StoreError, match=rf"{KEY} was trained anew while this ran; give the command again$"):
        put_aside_outdated(job, stage, {"base": old})
    put_aside_outdated(job, stage, {"base": new})
    assert store.present() == [KEY, expert] and store.damaged() == []
    shutil.rmtree(store.root / expert)
    publish(store, expert, "expert", learnt_from={KEY: old.record["sha256"]})
    put_aside_outdated(job, stage, {"base": new})
    assert store.present() == [KEY] and len(store.damaged()) == 1
