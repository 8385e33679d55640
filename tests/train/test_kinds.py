"""Every kind of mixture, specialist, taxonomy and network through the real command, and 2,000 real images."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import moe
from moe.calibration import fit_temperature
from moe.data import sources, splits
from moe.data.module import split_images
from moe.data.subset import among, by_position, filter_labels
from moe.inference import logits
from moe.metrics import accuracy
from moe.nets.class_expert import ClassExpert
from moe.store import Store
from tests.train.command import NETWORKS, copy_of, results, train


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
        ("router=base", "base.views=flip", "expert.views=flip_shift"),
        ("router=base", "mixture.cascade=0.9", "gate.calibrate=false"),
        ("router=base", "mixture.cascade=0.3", "gate.recipe.batch_size=2"),  # the base alone for whole batches
        ("router=base", "mixture.routing=soft", "gate.frozen=live", "base.views=flip"),
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
        said = next(run.glob("*.log")).read_text()
        assert "gates: there was nothing to learn" in said and "kept epoch" not in said
    # The stored outputs, of the views and at the temperatures that there are, are what the networks say live.
    ensemble = moe.load(run)
    test = sources.load(ensemble.config.data, tmp_path / "data").test
    said = ensemble.predict(test.images).probabilities
    recorded = load_file(run / "predictions.safetensors")["probabilities"]
    torch.testing.assert_close(said, recorded, rtol=0, atol=1e-5)
    right = (recorded.argmax(1) == test.labels).double().mean().item()
    assert found["test"]["accuracy"] == pytest.approx(right, abs=1e-12) and right > 0.5
    if "router=base" in overrides:
        assert found["test"]["router"] and "router" not in found["stages"]
        calibrated = "gate.calibrate=false" not in overrides
        # Temperatures are those of images that no expert has learnt from, of each expert's own classes.
        dataset = sources.load(ensemble.config.data, tmp_path / "data")
        held = split_images(dataset, splits.split(dataset, ensemble.config.data.splits), "gate")
        for node, expert in zip(ensemble.tree.experts, ensemble.mixture.experts, strict=True):
            assert isinstance(expert, ClassExpert) and expert.net is not None
            index, targets = filter_labels(held.labels, by_position(node.labels))
            raw = logits(expert.net, held.images, ensemble.pixels)
            expected = fit_temperature(raw[index], targets) if calibrated else 1.0
            assert expert.temperature == pytest.approx(expected, rel=1e-3)
            assert (expert.temperature == 1.0) == (not calibrated)
        seen = found["stages"]["base"]["test"]
        assert seen["accuracy"] == found["baselines"]["base"]["accuracy"]
        assert ("one_view" in seen) == ("base.views=flip" in overrides)
        if "one_view" in seen:
            bare = logits(ensemble.mixture.experts[0].net.net, test.images, ensemble.pixels)
            assert seen["one_view"]["accuracy"] == accuracy(bare, test.labels)
    if overrides == ("mixture.routing=none",):
        assert found["test"]["router"] is None and "router" not in found["stages"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("expert.init=base", "expert.trunk=shared"),
        ("expert.outputs=rest",),
        ("expert.outputs=all", "gate.calibrate=true"),
        ("expert.init=base",),
        ("expert.init=member",),
    ],
)
def test_kinds_of_specialists(trained: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    copy_of(trained, tmp_path)
    code, run = train(tmp_path, "logger=none", "report=false", "gate.frozen=live", *overrides)
    assert code == 0
    found = results(run)
    trained_now = {name for name, stage in found["seconds"].items() if not stage["reused"]}
    started = {"base-2"} if "expert.init=member" in overrides else set()
    assert trained_now == {"curved", "straight", "gates"} | started
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
    speaks_of_all = "expert.outputs=all" in overrides
    assert outputs == ({6} if "expert.outputs=rest" in overrides else {10} if speaks_of_all else {5})
    dataset = sources.load(ensemble.config.data, tmp_path / "data")
    held = split_images(dataset, splits.split(dataset, ensemble.config.data.splits), "gate")
    for node, expert in list(zip(ensemble.tree.experts, ensemble.mixture.experts, strict=True))[1:]:
        assert isinstance(expert, ClassExpert) and expert.net is not None
        said = range(10) if speaks_of_all else node.labels
        assert expert.labels.tolist() == list(said)
        # Of its own classes' images, and of its own classes, whatever else it speaks of.
        index, targets = filter_labels(test.labels, among(said, node.labels))
        right = accuracy(logits(expert.net, test.images, ensemble.pixels)[index, : len(said)], targets)
        assert found["stages"][node.name]["test"]["accuracy"] == right > 0.5
        if speaks_of_all:
            index, targets = filter_labels(held.labels, among(said, node.labels))
            fitted = fit_temperature(logits(expert.net, held.images, ensemble.pixels)[index], targets)
            assert expert.temperature == pytest.approx(fitted, rel=1e-3) != 1.0


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
    for name in folds:  # nobody asks them again
        shutil.rmtree(tmp_path / "store" / found["stages"][name]["key"])
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


def test_a_member_that_the_base_is_taught_on_to_begins_as_it(trained: Path, tmp_path: Path) -> None:
    copy_of(trained, tmp_path)
    taught = ("target=base", "base.members=2", "base.init=base", "logger=none", "report=false")
    # At so small a rate both say the same, and so does their average.
    code, run = train(tmp_path, *taught, "expert.recipe.optimizer.lr=1e-30", "expert.recipe.epochs=1")
    assert code == 0
    found = results(run)
    base, further = (Store(tmp_path / "store").get(found["stages"][name]["key"]) for name in ("base", "base-2"))
    assert base is not None and further is not None
    torch.testing.assert_close(further.tensors(), base.tensors(), rtol=0, atol=1e-20)
    assert found["seconds"]["base"]["reused"] and not found["seconds"]["base-2"]["reused"]
    assert found["test"]["accuracy"] == found["stages"]["base"]["test"]["accuracy"]
    # One epoch of as many images, after the base's two.
    flops = found["cost"]["training_flops"]["stages"]
    assert flops["base"] == 2 * flops["base-2"]


@pytest.mark.skipif(
    not Path(os.environ.get("MOE_CIFAR10", "/nonexistent"), "train").is_dir(),
    reason="MOE_CIFAR10 names no class folders",
)
def test_two_thousand_images_of_cifar10(tmp_path: Path) -> None:
    source = Path(os.environ["MOE_CIFAR10"])
    for split, count in (("train", 160), ("test", 40)):
        for folder in sorted((source / split).iterdir()):
            (tmp_path / "images" / split / folder.name).mkdir(parents=True)
            for image in sorted(folder.iterdir())[:count]:
                (tmp_path / "images" / split / folder.name / image.name).symlink_to(image)
    overrides = ("data=cifar10", "taxonomy=cifar10", f"data.root={tmp_path / 'images'}", "data.fingerprint=null")
    sizes = ("data.splits.gate=200", "data.splits.val=200", "base.recipe.epochs=4")
    code, run = train(tmp_path, "logger=none", "report=false", *overrides, *sizes, "router=base")
    assert code == 0
    found = results(run)
    assert found["data"]["sizes"] == {"train": 1200, "gate": 200, "val": 200, "test": 400}
    # Far from chance (0.1, and 0.6 if all were natural) after a few epochs on 1,200 images, so labels and images belong
    # together.
    assert found["stages"]["base"]["test"]["accuracy"] > 0.2
    assert found["test"]["router"]["accuracy"] > 0.65
    images = moe.load(str(run)).predict(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert images.probabilities.shape == (1, 10)
