"""What a run says of itself, and what the next one reuses: the real command on digits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import moe
from moe.store import Store
from moe.train import _images
from moe.training import peak_memory
from tests.train import command
from tests.train.command import NETWORKS, copy_of, results, train


def test_results_hold_what_the_predictions_say(trained: Path) -> None:
    found = results(trained / "run")
    told = load_file(trained / "run" / "predictions.safetensors")
    right = told["probabilities"].argmax(dim=1) == told["labels"]
    assert found["test"]["accuracy"] == pytest.approx(right.double().mean().item(), abs=1e-9)
    curved = torch.isin(told["labels"], torch.tensor([0, 3, 6, 8, 9]))
    assert found["test"]["branch"]["curved"]["count"] == int(curved.sum())
    assert found["test"]["branch"]["curved"]["accuracy"] == pytest.approx(right[curved].double().mean().item())
    assert found["test"]["router"]["accuracy"] == pytest.approx(
        (told["route"] == (~curved).long()).double().mean().item()
    )
    assert torch.allclose(told["probabilities"].sum(dim=1), torch.ones(len(right)), atol=1e-5)


def test_results_name_everything_that_decides_them(trained: Path) -> None:
    found = results(trained / "run")
    # 1,797 digits, a fifth of each class for testing: 1,438 and 359; 200 each held out for gates and choices.
    assert found["data"]["sizes"] == {"train": 1038, "gate": 200, "val": 200, "test": 359}
    assert found["data"]["protocol"] == "held_out"
    assert set(found["stages"]) == {*NETWORKS, "gates"}
    assert found["config"]["gate"]["width"] == 512
    assert {"python", "torch", "pytorch-lightning", "hydra-core"} <= set(found["versions"])
    # Torch alone takes more than 100 MB; that of this process, in which the run was, only grows.
    assert 1e8 < found["peak_memory_bytes"] <= (peak_memory() or 0)
    assert (found["peak_gpu_memory_bytes"] is None) is found["machine"].startswith("CPU")
    assert all(not stage["reused"] for stage in found["seconds"].values())
    assert all(stage["git"] == found["git"] for stage in found["seconds"].values())


def test_second_run_trains_nothing_and_says_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(trained, tmp_path)
    monkeypatch.setattr("moe.record.git_revision", lambda: "a later one")
    code, run = train(tmp_path, "logger=none", "report=false")
    assert code == 0
    again, first = results(run), results(trained / "run")
    assert all(stage["reused"] for stage in again["seconds"].values())
    # It is the first that trained them.
    assert again["git"] == "a later one"
    assert {stage["git"] for stage in again["seconds"].values()} == {first["git"]}
    for section in ("test", "val", "baselines", "verdict", "cost", "key"):
        assert again[section] == first[section]


def test_another_gate_width_trains_only_the_gates(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false", "gate.width=16")
    assert code == 0
    assert {name for name, stage in results(run)["seconds"].items() if not stage["reused"]} == {"gates"}


def test_same_seed_gives_the_same_weights_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    code, _ = train(tmp_path, "logger=none", "report=false")
    assert code == 0
    first, second = Store(trained / "store"), Store(tmp_path / "store")
    keys = [entry.key for entry in first.entries() if entry.record["kind"] != "outputs"]
    assert len(keys) == 5
    for key in keys:
        one, two = first.get(key), second.get(key)
        assert one is not None and two is not None
        assert one.record["sha256"] == two.record["sha256"]


def test_reuse_never_changes_a_later_stage(trained: Path, tmp_path: Path) -> None:
    """The router is trained alone here, and after three other networks there."""
    code, _ = train(tmp_path, "logger=none", "report=false", "target=router")
    assert code == 0
    (router,) = (entry for entry in Store(tmp_path / "store").entries() if entry.record["kind"] == "router")
    there = Store(trained / "store").get(router.key)
    assert there is not None and there.record["sha256"] == router.record["sha256"]


def test_plan_says_what_would_be_trained_and_trains_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, run = train(tmp_path, "logger=none", "plan=true")
    assert code == 0
    assert not (run / "results.json").exists()
    assert not Store(tmp_path / "store").entries()
    own = {entry.record["name"]: entry.key for entry in Store(trained / "store").entries() if "name" in entry.record}
    planned = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert planned == [[name, "train", own[name]] for name in (*NETWORKS, "gates")]
    copy_of(trained, tmp_path / "there")
    assert train(tmp_path / "there", "logger=none", "plan=true", "gate.recipe.epochs=3")[0] == 0
    *networks, gates = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert networks == [[name, "reuse", own[name]] for name in NETWORKS]
    assert gates[:2] == ["gates", "train"] and gates[2] != own["gates"]


def test_a_presets_launcher_is_no_matter_to_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # So each job of its sweep is begun.
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    preset = "# @package _global_\ndefaults:\n  - override /hydra/launcher: processes\n"
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(preset)
    asked = ("sweep=mine", f"--config-dir={tmp_path / 'conf'}")
    assert train(tmp_path, "logger=none", "plan=true", *asked)[0] == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["gates", "train"]


def test_plan_says_that_a_routers_network_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [override for override in command.QUICK if not override.startswith("router.recipe")]
    monkeypatch.setattr(command, "QUICK", silent)
    said = "router.net and router.recipe are not used: the base routes, unless router=network"
    assert train(tmp_path, "logger=none", "plan=true", "net@router.net=simple_vgg", "router=base")[0] == 0
    assert said in capsys.readouterr().out.splitlines()
    assert train(tmp_path, "logger=none", "plan=true", "router.recipe.epochs=3", "router=base")[0] == 0
    assert said in capsys.readouterr().out.splitlines()
    assert train(tmp_path, "logger=none", "plan=true", "router=base")[0] == 0
    assert said not in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("target", ["base", "router", "experts"])
def test_other_targets_train_only_what_they_need(trained: Path, tmp_path: Path, target: str) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", f"target={target}")
    assert code == 0
    found = results(run)
    needed = {"base": {"base"}, "router": {"router"}, "experts": {"base", "curved", "straight"}}[target]
    assert set(found["stages"]) == needed
    assert all(stage["reused"] for stage in found["seconds"].values())
    assert found["verdict"] is None
    assert (run / "report.html").exists()


def test_the_jobs_of_a_process_read_their_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("moe.data.sources.load", lambda data, root: read.append(data.splits.seed) or object())
    monkeypatch.setattr("moe.train._kept", {})
    config, other = moe.compose("experiment=demo"), moe.compose("experiment=demo", "data.splits.seed=7")
    first = _images(config, kept=True)
    assert _images(config, kept=True) is first and read == [0]
    assert _images(other, kept=True) is not first and read == [0, 7]
    assert _images(config, kept=True) is not first and read == [0, 7, 0]  # only the newest is kept
    # A run by itself reads them whatever was kept, and keeps none.
    assert _images(config, kept=False) is not _images(config, kept=False)
    assert read == [0, 7, 0, 0, 0]
