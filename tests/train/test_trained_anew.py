"""A network that was trained anew may have other weights under its key: what read the old ones is made anew, too."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import moe
from moe.data import sources
from moe.store import Store
from tests.stored import train_anew
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
