"""The real command on small real data: scikit-learn's digits and, where MOE_CIFAR10 names it, CIFAR-10."""

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import moe
from moe.data import sources
from moe.errors import StoreError
from moe.store import Store

QUICK = (
    "experiment=demo",
    "base.recipe.epochs=2",
    "expert.recipe.epochs=2",
    "router.recipe.epochs=2",
    "gate.recipe.epochs=2",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
)
NETWORKS = ("base", "curved", "straight", "router")


def train(folder: Path, *overrides: str) -> tuple[int, Path]:
    """Exit code and run folder of `python -m moe.train` in this process, its store beside the run."""
    from moe.train import main

    before, root = sys.argv, logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    run = folder / "run"
    sys.argv = ["moe.train", *QUICK, f"hydra.run.dir={run}", f"paths.store={folder / 'store'}"]
    sys.argv += [f"paths.data={folder / 'data'}", *overrides]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
        root.setLevel(level)  # Hydra's logging is the command's
        root.handlers[:] = handlers
    return int(ended.value.code or 0), run


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert train(folder, "logger=none", "report=false") == (0, folder / "run")
    return folder


def copy_of(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained / "store", folder / "store")
    return folder


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
    assert all(not stage["reused"] for stage in found["seconds"].values())


def test_second_run_trains_nothing_and_says_the_same(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false")
    assert code == 0
    again, first = results(run), results(trained / "run")
    assert all(stage["reused"] for stage in again["seconds"].values())
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


def test_plan_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, run = train(tmp_path, "logger=none", "plan=true")
    assert code == 0
    assert not (run / "results.json").exists()
    assert not Store(tmp_path / "store").entries()


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


@pytest.mark.parametrize(
    "overrides",
    [
        ("mixture.routing=soft",),
        ("mixture.routing=none",),
        ("gate=uniform",),
        ("gate=confidence", "gate.weights=per_class"),
        ("gate.frozen=live",),
        ("gate.frozen=live_dropout", "gate.fit_on=train", "gate.recipe.epochs=1"),
        ("gate.recipe.augment.shift=1", "gate.frozen=live"),
        ("router.source=base", "base.views=flip", "expert.views=flip_shift"),
        ("router.source=base", "mixture.cascade=0.9", "gate.calibrate=false"),
        ("router.source=base", "mixture.cascade=0.3", "gate.recipe.batch_size=2"),  # the base alone for whole batches
        ("router.source=base", "mixture.routing=soft", "gate.frozen=live", "base.views=flip"),
    ],
)
def test_kinds_of_mixture(trained: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false", *overrides)
    assert code == 0
    found = results(run)
    assert {name for name, stage in found["seconds"].items() if not stage["reused"]} == {"gates"}
    if overrides == ("gate=uniform",):
        # What it is measured against is the same average.
        assert found["verdict"]["uniform"]["difference"] == 0.0
    if "router.source=base" in overrides:
        assert found["test"]["router"] and "router" not in found["stages"]
        # The stored outputs of the views at their temperatures are what the networks say live.
        ensemble = moe.load(run)
        test = sources.load(ensemble.config.data, tmp_path / "data").test
        said = ensemble.predict(test.images).probabilities
        recorded = load_file(run / "predictions.safetensors")["probabilities"]
        torch.testing.assert_close(said, recorded, rtol=0, atol=1e-5)
        calibrated = "gate.calibrate=false" not in overrides
        assert any(expert.temperature != 1 for expert in ensemble.mixture.experts) == calibrated
        seen = found["stages"]["base"]["test"]
        assert seen["accuracy"] == found["baselines"]["base"]["accuracy"]
        assert ("one_view" in seen) == ("base.views=flip" in overrides)
    if overrides == ("mixture.routing=none",):
        assert found["test"]["router"] is None and "router" not in found["stages"]


@pytest.mark.parametrize(
    "overrides", [("expert.init=base", "expert.trunk=shared"), ("expert.outputs=rest",), ("expert.init=base",)]
)
def test_kinds_of_specialists(trained: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false", "gate.frozen=live", *overrides)
    assert code == 0
    found = results(run)
    trained_now = {name for name, stage in found["seconds"].items() if not stage["reused"]}
    assert trained_now == {"curved", "straight", "gates"}
    ensemble = moe.load(run)
    test = sources.load(ensemble.config.data, tmp_path / "data").test
    recorded = load_file(run / "predictions.safetensors")["probabilities"]
    torch.testing.assert_close(ensemble.predict(test.images).probabilities, recorded, rtol=0, atol=1e-5)
    base, *specialists = (expert.net for expert in ensemble.mixture.experts)
    if "expert.trunk=shared" in overrides:
        assert all(net.features[0].weight is base.features[0].weight for net in specialists)
        assert all(not torch.equal(net.features[-4].weight, base.features[-4].weight) for net in specialists)
        whole = found["cost"]["flops_per_image"]
        # Dense: base, router and gates as in the run that shares nothing, and less for each specialist.
        assert whole["dense"] < results(trained / "run")["cost"]["flops_per_image"]["dense"]
    outputs = {net.head[-1].out_features for net in specialists}
    assert outputs == ({6} if "expert.outputs=rest" in overrides else {5})


def test_gates_learn_from_what_is_said_out_of_fold(tmp_path: Path) -> None:
    overrides = ("gate.fit_on=folds", "gate.folds=2", "data.splits.gate=0", "gate.calibrate=true", "report=true")
    code, run = train(tmp_path, "logger=none", *overrides)
    assert code == 0
    found = results(run)
    folds = {f"{name}/{number}" for name in NETWORKS for number in range(2)}
    assert set(found["stages"]) == {*NETWORKS, "gates", *folds}
    assert all(found["stages"][name]["test"] is None for name in folds)
    # The gates learnt from the whole train split, whose every image a network of the other fold has spoken of.
    sizes = found["data"]["sizes"]
    outputs = [e for e in Store(tmp_path / "store").entries() if e.record["kind"] == "outputs"]
    of_base = {found["stages"][f"base/{number}"]["key"]: number for number in range(2)}
    counted = {
        of_base[said["network"]]: said["images"]
        for said in (entry.record["inputs"] for entry in outputs)
        if said["network"] in of_base
    }
    assert sizes["gate"] == 0 and sum(counted.values()) == sizes["train"] and set(counted) == {0, 1}
    assert abs(counted[0] - counted[1]) <= 10  # one image a class
    ensemble = moe.load(run)
    test = sources.load(ensemble.config.data, tmp_path / "data").test
    recorded = load_file(run / "predictions.safetensors")["probabilities"]
    torch.testing.assert_close(ensemble.predict(test.images).probabilities, recorded, rtol=0, atol=1e-5)


def test_other_taxonomy_with_nested_branches_and_one_class(tmp_path: Path) -> None:
    branches = "taxonomy.branches={round:{eight:[8],rest:[0,6,9]},other:[1,2,3,4,5,7]}"
    code, run = train(tmp_path, "logger=none", branches)
    assert code == 0
    found = results(run)
    assert set(found["stages"]) == {"base", "round", "rest", "other", "router", "router-round", "gates"}
    assert set(found["test"]["branch"]) == {"eight", "rest", "other"}
    assert (run / "report.html").exists()


def test_torchvision_network_as_base(tmp_path: Path) -> None:
    """Class folders of RGB images, the network by its `_target_` alone."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 12), ("test", 4)):
        for name, bright in (("dark", 0), ("light", 128), ("mid", 64)):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(bright, bright + 64, (32, 32, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    overrides = (
        "data=folder",
        f"data.root={tmp_path / 'images'}",
        "data.splits.gate=3",
        "data.splits.val=3",
        "net@base.net=torchvision",
        "base.net._target_=torchvision.models.squeezenet1_1",
        "taxonomy.branches={a:[dark],b:[light,mid]}",
        "target=base",
        "base.recipe.epochs=1",
        "base.recipe.batch_size=9",
    )
    code, run = train(tmp_path, "logger=none", "report=false", *overrides)
    assert code == 0
    # torchvision's documentation: 1,235,496 parameters with 1,000 outputs, whose layer has 512 weights and a
    # bias for each; here there are 3.
    entry = Store(tmp_path / "store").get(results(run)["stages"]["base"]["key"])
    assert entry is not None
    assert sum(tensor.numel() for tensor in entry.tensors().values()) == 1_235_496 - 1000 * 513 + 3 * 513


def wandb_inspect(path: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *flags, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def wandb_runs(run: Path) -> dict[str, Path]:
    """The offline W&B file of each stage below a run folder."""
    found = {}
    for path in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        record = next(json.loads(line) for line in wandb_inspect(path).splitlines() if '"type":"run"' in line)["run"]
        assert record["run_group"] == f"{run.parent.name}/{run.name}"
        assert record["job_type"] == record["config"]["update"]["key"].split("-")[0]
        found[record["config"]["update"]["stage"]] = path
    return found


def test_wandb_offline_has_one_run_a_stage_and_the_numbers_of_results(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc, so no key
    copy_of(trained, tmp_path)
    router = next((tmp_path / "store").glob("router-*"))
    shutil.rmtree(router)
    code, run = train(tmp_path, "logger=wandb", "report=false", "gate.width=8")
    assert code == 0
    assert "WANDB_MODE" not in os.environ
    files = wandb_runs(run)
    assert set(files) == {"router", "gates"}
    test = results(run)["test"]
    ended = json.loads(wandb_inspect(files["gates"], "--summary"))
    assert ended["exit_code"] == 0
    assert ended["summary"]["test/accuracy"] == test["accuracy"]
    for leaf in ("curved", "straight"):
        assert ended["summary"][f"test/branch/{leaf}/accuracy"] == test["branch"][leaf]["accuracy"]
    # Every epoch has the accuracy of each branch: 2 epochs.
    history = [line for line in wandb_inspect(files["gates"]).splitlines() if '"type":"history"' in line]
    curves = [json.loads(line)["history"]["item"] for line in history]
    for leaf in ("curved", "straight"):
        assert sum(f"val/branch/{leaf}/accuracy" in item for item in curves) == 2


def test_a_crash_marks_its_stages_wandb_run_failed_and_leaves_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    specialist = ("expert.recipe.optimizer.lr=1e30", "expert.recipe.epochs=5")
    code, run = train(tmp_path, "logger=wandb", "base.recipe.epochs=1", *specialist)
    assert code == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("moe: curved: the loss or a gradient was NaN")]) == 1
    assert not (run / "results.json").exists()
    codes = {name: json.loads(wandb_inspect(file, "--summary"))["exit_code"] for name, file in wandb_runs(run).items()}
    assert codes == {"base": 0, "curved": 1}


def test_csv_logger_writes_every_epoch(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=csv", "report=false", "gate.width=4")
    assert code == 0
    rows = list(csv.DictReader((run / "metrics" / "gates" / "metrics.csv").open()))
    accuracies = [float(row["val/accuracy"]) for row in rows if row["val/accuracy"]]
    (gates,) = (entry for entry in Store(tmp_path / "store").entries() if entry.key == stage_key(run, "gates"))
    assert accuracies == pytest.approx([epoch["val/accuracy"] for epoch in gates.record["curves"]], abs=1e-6)


def stage_key(run: Path, stage: str) -> str:
    key: str = results(run)["stages"][stage]["key"]
    return key


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
    "+base.net.sise=3": (2, "unexpected keyword argument 'sise'"),
    "data.root=/nowhere": (2, "data.root: scikit-learn's digits come from that package"),
    "data.mean=[0,0]": (2, "data.mean must have one number or one for each of the 1 channels"),
    "gate.frozen=live gate.recipe.augment.shift=8": (2, "gate.recipe.augment.shift must be below the images' 8"),
    "trainer.devices=2": (2, "trainer.devices must be 1"),
    "base.recipe.optimizer.betas=[0.9,0.99]": (2, "+KEY=VALUE"),
    "trainer.max_epochs=3": (2, "base.recipe.epochs"),
    "+trainer.foo=3": (2, "unexpected keyword argument 'foo'"),
    "+gate.foo=3": (2, "gate: moe.nets.gates.MLPGate cannot be built"),
    "+router.recipe.optimizer.foo=3": (2, "torch.optim.Adam cannot be built"),
    "net@expert.net=fat_vgg expert.net.blocks=[[1],[1],[1],[1]]": (2, "too small for 4 blocks"),
    "data.splits.gate=1500": (2, "data.splits.gate"),
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


def test_output_folder_that_cannot_be_written_is_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    code, _ = train(tmp_path, "logger=none", f"hydra.run.dir={tmp_path / 'file' / 'run'}")
    assert code == 1
    assert "Not a directory" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_failed_run_leaves_no_older_results_in_its_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    copy_of(trained, tmp_path)
    assert train(tmp_path, "logger=none")[0] == 0
    monkeypatch.setattr("moe.record.record", full)
    code, run = train(tmp_path, "logger=none")
    assert code == 1
    assert not {"results.json", "predictions.safetensors", "report.html"} & {path.name for path in run.iterdir()}


@pytest.mark.fault("resuming with a changed config")
def test_a_folder_with_another_configs_results_is_refused_by_the_keys_that_differ(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    code, run = train(tmp_path, "logger=none", "report=false", "gate.weights=per_class", "seed=1")
    assert code == 2
    assert capsys.readouterr().err == (
        f'moe: {run} holds a finished run that differs in seed (0, not 1), gate.weights ("joint", not "per_class"); '
        "set hydra.run.dir to another folder, or remove that run\n"
    )
    assert (run / "results.json").read_bytes() == before
    assert not (tmp_path / "store").exists()
    # What decides no weights may change, and what is planned takes nobody's place.
    copy_of(trained, tmp_path)
    assert train(tmp_path, "logger=none", "report=false", "plan=true", "seed=1")[0] == 0
    assert (run / "results.json").read_bytes() == before
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


@pytest.mark.skipif("MOE_CIFAR10" not in os.environ, reason="MOE_CIFAR10 names no unpacked CIFAR-10")
def test_two_thousand_images_of_cifar10(tmp_path: Path) -> None:
    source = Path(os.environ["MOE_CIFAR10"])
    for split, count in (("train", 160), ("test", 40)):
        for folder in sorted((source / split).iterdir()):
            (tmp_path / "images" / split / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:count]:
                (tmp_path / "images" / split / folder.name / image.name).symlink_to(image)
    networks = [f"net@{name}.net={net}" for name, net in (("base", "simple_vgg"), ("router", "simple_vgg"))]
    overrides = ("data=cifar10", "taxonomy=cifar10", f"data.root={tmp_path / 'images'}", "data.fingerprint=null")
    sizes = ("data.splits.gate=200", "data.splits.val=200", "base.recipe.epochs=4", "router.recipe.epochs=4")
    code, run = train(tmp_path, "logger=none", "report=false", *overrides, *sizes, *networks)
    assert code == 0
    found = results(run)
    assert found["data"]["sizes"] == {"train": 1200, "gate": 200, "val": 200, "test": 400}
    # Far from chance (0.1 and 0.5) after a few epochs on 1,200 images, so labels and images belong together.
    assert found["stages"]["base"]["test"]["accuracy"] > 0.2
    assert found["test"]["router"]["accuracy"] > 0.6
    images = moe.load(str(run)).predict(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert images.probabilities.shape == (1, 10)
