"""What `auto` becomes: by the device, before any key is made, and only where nothing was said."""

import logging
from typing import Any

import pytest
import torch

import moe
from moe import inference, stages
from moe.errors import ConfigError
from moe.sizes import anywhere, resolved
from moe.taxonomy import parse
from tests.configs import composed

FAST = ("experiment=held_out", "net@base.net=fast_vgg", "recipe@base.recipe=fast")
# What a base has by its device.
CHOSEN = {"cpu": ("s", 14), "cuda": ("m", 16)}
SCRATCH = ("expert.init=scratch", "recipe@expert.recipe=fast")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(inference, "best_device", lambda accelerator: torch.device(request.param))
    return str(request.param)


def test_size_and_epochs_follow_the_device_and_it_says_so(device: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="moe"):
        found = resolved(composed(*FAST))
    size, epochs = CHOSEN[device]
    assert (found.base.net["size"], found.base.recipe.epochs) == (size, epochs)
    said = {"cpu": "a CPU", "cuda": "a GPU"}[device]
    assert caplog.messages == [f"chosen for {said}: base.net.size={size}, base.recipe.epochs={epochs}"]
    # Of specialists that are not trained nothing is said.
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="moe"):
        resolved(composed(*FAST, "experiment=base", "recipe@expert.recipe=finetune"))
    assert not any("expert" in message for message in caplog.messages)
    # Nothing else is touched.
    assert found.expert == composed(*FAST).expert and found.gate == composed(*FAST).gate


@pytest.mark.parametrize(
    ("overrides", "size", "epochs"),
    [
        (["base.net.size=l"], "l", 40),
        (["base.net.size=s"], "s", 14),
        (["base.net.size=l", "base.recipe.epochs=3"], "l", 3),
    ],
)
@pytest.mark.usefixtures("device")
def test_what_is_said_wins(overrides: list[str], size: str, epochs: int) -> None:
    found = resolved(composed(*FAST, *overrides))
    assert (found.base.net["size"], found.base.recipe.epochs) == (size, epochs)


@pytest.mark.parametrize(
    ("overrides", "shift", "cutout"),
    [
        (["base.net.size=s"], 2, 0),
        (["base.net.size=m"], 2, 0),
        (["base.net.size=l"], 4, 12),
        (["net@base.net=cond_vgg", "base.net.size=l"], 4, 12),
        (["base.net.size=l", "base.recipe.augment.shift=1"], 1, 12),
        (["base.net.size=s", "base.recipe.augment.cutout=3"], 2, 3),
        ([], 2, 0),
    ],
)
@pytest.mark.usefixtures("device")
def test_shifts_and_what_is_cut_out_follow_the_size(overrides: list[str], shift: int, cutout: int) -> None:
    for found in (resolved(composed(*FAST, *overrides)), *anywhere(composed(*FAST, *overrides))):
        augment = found.base.recipe.augment
        assert (augment.flip, augment.shift, augment.cutout) == ("alternating", shift, cutout)


@pytest.mark.usefixtures("device")
def test_a_specialist_sees_what_its_size_has_and_not_what_the_base_was_told() -> None:
    told = resolved(composed("base.net.size=l", "base.recipe.augment.shift=1")).expert.recipe.augment
    assert (told.shift, told.cutout) == (4, 12)
    own = resolved(composed("base.net.size=l", "expert.recipe.augment.shift=1")).expert.recipe.augment
    assert (own.shift, own.cutout) == (1, 12)


def test_a_size_that_is_none_is_refused_by_the_network() -> None:
    assert resolved(composed(*FAST, "base.net.size=xl")).base.recipe.augment.shift == 2
    assert resolved(composed(*FAST, "base.net.size=[s,m]")).base.recipe.epochs == 14


def test_a_key_is_of_what_auto_came_to() -> None:
    for size, shift, cutout in (("s", 2, 0), ("m", 2, 0), ("l", 4, 12)):
        said = (f"base.recipe.augment.shift={shift}", f"base.recipe.augment.cutout={cutout}")
        assert key(f"base.net.size={size}") == key(f"base.net.size={size}", *said)


@pytest.mark.usefixtures("device")
def test_a_network_without_sizes_learns_for_as_many_epochs_as_the_smallest() -> None:
    found = resolved(composed("experiment=held_out", "recipe@base.recipe=fast"))
    assert found.base.recipe.epochs == 14 and "size" not in found.base.net
    assert (found.base.recipe.augment.shift, found.base.recipe.augment.cutout) == (2, 0)


@pytest.mark.parametrize(
    ("overrides", "size", "epochs"),
    [
        ([], "auto", 5),
        (["base.net.size=l"], "l", 13),  # 40 over 3
        ([*SCRATCH], "auto", {"cpu": 14, "cuda": 16}),
        ([*SCRATCH, "net@expert.net=fast_vgg", "base.net.size=l"], "auto", {"cpu": 14, "cuda": 16}),
        (["base.net.size=l", "expert.recipe.epochs=3"], "l", 3),
    ],
)
def test_a_specialist_that_starts_as_the_base_has_its_size_and_a_third_of_its_epochs(
    overrides: list[str], size: str, epochs: int | dict[str, int], device: str
) -> None:
    found = resolved(composed(*overrides)).expert
    size = CHOSEN[device][0] if size == "auto" else size
    epochs = epochs if isinstance(epochs, int) else epochs[device]
    assert (found.net["size"], found.recipe.epochs) == (size, epochs)


@pytest.mark.usefixtures("device")
def test_a_job_elsewhere_may_find_a_gpu_or_none() -> None:
    found = anywhere(composed(*FAST))
    assert [(one.base.net["size"], one.base.recipe.epochs) for one in found] == [("m", 16), ("s", 14)]
    augment = ("base.recipe.augment.shift=4", "base.recipe.augment.cutout=0")
    said = composed(*FAST, "base.net.size=l", "base.recipe.epochs=3", "base.recipe.muon.bf16=false", *augment)
    assert anywhere(said) == (said, said)


def test_muon_multiplies_in_bf16_on_a_gpu_and_where_that_is_said(device: str) -> None:
    muon = [resolved(composed(*FAST, *said)).base.recipe.muon for said in ([], ["base.recipe.muon.bf16=true"])]
    assert [one and one.bf16 for one in muon] == [device == "cuda", True]
    by = {
        said: key("base.net.size=s", *([said] if said else []))
        for said in ("", *(f"base.recipe.muon.bf16={s}" for s in ("true", "false")))
    }
    assert (
        by[""] == by[f"base.recipe.muon.bf16={'true' if device == 'cuda' else 'false'}"] and len(set(by.values())) == 2
    )


def key(*overrides: str) -> str:
    config = resolved(composed(*FAST, "target=base", *overrides))
    tree = parse(config.taxonomy.branches, config.data.classes or [])
    return stages.plan(config, tree, "data", (3, 32, 32), "32-true", lambda stage: 0)[0].key


def test_a_key_holds_what_was_chosen(device: str) -> None:
    size, epochs = CHOSEN[device]
    assert key() == key(f"base.net.size={size}", f"base.recipe.epochs={epochs}")
    assert key() != key("base.net.size=l")


def test_new_keys_of_a_recipe_change_a_stages_key_only_where_they_are_set() -> None:
    without = ("trainer=cpu", "base.recipe.muon=null")
    config = resolved(composed(*FAST, *without))
    tree = parse(config.taxonomy.branches, config.data.classes or [])
    inputs: Any = stages.plan(config, tree, "d", (3, 32, 32), "x", lambda stage: 0)
    assert all(not {"lookahead", "muon"} & set(stage.inputs["recipe"]) for stage in inputs)
    changed = {
        key(*without, f"base.recipe.{new}") for new in ("lookahead={every:5,step:0.5}", "muon={lr:0.1,momentum:0.6}")
    }
    assert len(changed | {key(*without)}) == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("base.recipe.epochs=long", "base.recipe.epochs must be a whole number above 0, or auto, not 'long'"),
        ("base.recipe.lookahead={every:0,step:0.5}", "base.recipe.lookahead.every must be a whole number above 0"),
        ("base.recipe.lookahead={every:5,step:2}", "base.recipe.lookahead.step must be a number above 0, up to 1"),
        ("base.recipe.lookahead={every:5}", "base.recipe.lookahead.step"),
        ("base.recipe.muon={lr:0.1,momentum:1}", "base.recipe.muon.momentum must be a number from 0 to below 1"),
        ("base.recipe.muon.bf16=2", "base.recipe.muon.bf16 must be true or false, or auto, not 2"),
        ("gate.recipe.muon={lr:0.1,momentum:0.5}", "gate.recipe.muon must be null"),
    ],
)
def test_what_is_wrong_is_named(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        moe.compose(*FAST, override)
    assert said in str(raised.value) and "\n" not in str(raised.value)
