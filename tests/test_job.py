"""How many images each stage of a run learns from, and what follows of that; what is refused before training."""

import pytest

from moe import job as jobs
from moe.errors import ConfigError
from moe.job import planned
from moe.training import remedy, warn_of_few_steps
from moe.trial import check
from tests.jobs import job


def test_each_stage_learns_from_the_images_of_its_labels() -> None:
    rest = job("data.splits.gate=0", "gate.fit_on=folds", "gate.folds=4", "expert.outputs=rest", "expert.rest=0.5")
    counts = {stage.name: jobs.count_images(rest, stage) for stage in planned(rest)}
    # Nine of each class are left: four classes of them and half as many of the others; six classes likewise.
    own = {name: counts[name] for name in ("base", "artificial", "natural", "gates")}
    assert own == {"base": 90, "artificial": 36 + 18, "natural": 54 + 27, "gates": 90}
    # Of nine, the first fold has three and the others two: six or seven are learnt from.
    assert [counts[f"artificial/{number}"] for number in range(4)] == [24 + 12, 28 + 14, 28 + 14, 28 + 14]


def test_even_batches_are_in_the_key_of_whom_they_concern() -> None:
    found = job("base.recipe.batch_size=40", "expert.recipe.batch_size=16")
    uneven = {stage.name for stage in planned(found) if stage.inputs["recipe"].get("even_batches")}
    assert uneven == set()  # 80 by 40, 32 and 48 by 16
    found = job("base.recipe.batch_size=30", "expert.recipe.batch_size=24")
    uneven = {stage.name for stage in planned(found) if stage.inputs["recipe"].get("even_batches")}
    assert uneven == {"base", "artificial"}  # 80 by 30, 32 by 24; 48 by 24 divides
    # One batch of all, or a last one that lacks an image, is what it would be without.
    found = job("base.recipe.batch_size=1000", "expert.recipe.batch_size=33")
    uneven = {stage.name for stage in planned(found) if stage.inputs["recipe"].get("even_batches")}
    assert uneven == {"natural"}  # 32 is one batch, 48 by 33 is two
    found = job("base.recipe.batch_size=27", "expert.recipe.batch_size=24")
    assert "even_batches" not in planned(found)[0].inputs["recipe"]  # 80 by 27: 27, 27 and 26


def test_few_images_by_large_batches_are_told(caplog: pytest.LogCaptureFixture) -> None:
    few = job("base.recipe.epochs=10", "expert.recipe.epochs=40", "expert.recipe.batch_size=16")
    warn_of_few_steps(few, planned(few))
    # The specialists take 80 and 120 steps by batches of 16: only the first is told.
    assert caplog.messages == [
        "base takes 10 steps only: 80 images, 1000 a batch, 10 epochs; base.recipe.epochs=100 makes them more",
        "artificial takes 80 steps only: 32 images, 16 a batch, 40 epochs; expert.recipe.epochs=50 makes them more",
    ]


def test_muon_is_for_networks_that_take_a_kernels_size_out_again() -> None:
    muon = "base.recipe.muon={lr:0.1,momentum:0.6}"
    fast, plain = job(muon), job(muon, "net@base.net=simple_vgg")
    assert check(fast, planned(fast)) == 1
    with pytest.raises(ConfigError, match=r"^base\.recipe\.muon must be null for a network without a normalisation"):
        check(plain, planned(plain))


# Down to a pixel before its last normalisations, so that of one image there is nothing to normalise by.
RESNET = ("net@base.net=torchvision", "base.net._target_=torchvision.models.resnet18", "recipe@base.recipe=adam")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        # 80 images by 79 leave one, and are 40 and 40 where batches are even.
        (
            ("base.recipe.batch_size=79",),
            "base has 80 to learn from, of which 79 a batch leave one alone: set base.recipe.even_batches=true",
        ),
        (
            ("base.recipe.batch_size=1",),
            "base has 80 to learn from, of which 1 a batch leave one alone: set another base.recipe.batch_size",
        ),
    ],
)
def test_a_network_is_tried_on_one_image_where_a_batch_has_no_more(overrides: tuple[str, ...], expected: str) -> None:
    one = job("target=base", *RESNET, *overrides)
    with pytest.raises(ConfigError) as raised:
        check(one, planned(one))
    said = str(raised.value)
    assert said.startswith(
        "base.net: the network cannot take a single image of 3x32x32: Expected more than 1 value per "
    )
    assert said.endswith(expected)
    # The same batches do for a network that has more than one pixel of each to normalise, or normalises nothing.
    for other in ((), ("net@base.net=simple_vgg", "recipe@base.recipe=adam")):
        fine = job("target=base", *other, *overrides)
        assert check(fine, planned(fine)) == 1


@pytest.mark.parametrize(
    "size", ["base.recipe.batch_size=78", "base.recipe.batch_size=79 base.recipe.even_batches=true"]
)
def test_a_network_that_needs_two_images_learns_where_every_batch_has_them(size: str) -> None:
    two = job("target=base", *RESNET, *size.split())
    assert check(two, planned(two)) == 1


def test_a_network_that_a_fold_leaves_without_an_image_is_refused() -> None:
    # One image of each class is left beside val, and all are of the first fold.
    folds = job("data.splits.gate=0", "gate.fit_on=folds", "gate.folds=2", "base.views=none", counts=[2] * 10)
    said = r"^base/0 has no image to learn from; more images of its classes, or other gate\.folds, leave it some$"
    assert {stage.name: jobs.count_images(folds, stage) for stage in planned(folds)}["base"] == 10
    with pytest.raises(ConfigError, match=said):
        check(folds, planned(folds))


def test_folds_that_hold_no_image_are_refused() -> None:
    # Three images of each class are left beside val, one in each of the first three folds.
    folds = job("data.splits.gate=0", "gate.fit_on=folds", "gate.folds=5", "base.views=none", counts=[4] * 10)
    with pytest.raises(
        ConfigError, match=r"^gate\.folds=5 leaves folds without an image; 3 have some: set that or fewer$"
    ):
        check(folds, planned(folds))
    fine = job("data.splits.gate=0", "gate.fit_on=folds", "gate.folds=3", "base.views=none", counts=[4] * 10)
    assert check(fine, planned(fine)) == 1


def test_an_optimiser_that_can_take_no_step_is_refused_before_anything_is_trained() -> None:
    gates = job("+gate.recipe.optimizer.differentiable=true")
    said = r"^gate\.recipe\.optimizer: torch\.optim\.Adam so given can take no step: a leaf Variable "
    with pytest.raises(ConfigError, match=said):
        check(gates, planned(gates))


def test_of_two_processes_each_needs_two_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # 80 by 77 leave three, of which the second process has one.
    ddp = job("target=base", *RESNET, "base.recipe.batch_size=77", "trainer=ddp", "trainer.devices=2")
    monkeypatch.setattr("moe.ddp.world_size", lambda trainer: 2)
    for together in (True, False):  # PyTorch normalises over both on a GPU alone
        monkeypatch.setattr("moe.trial.synchronised", lambda trainer, together=together: together)
        if together:
            assert check(ddp, planned(ddp)) == 2
        else:
            with pytest.raises(ConfigError, match=r"set base\.recipe\.even_batches=true$"):
                check(ddp, planned(ddp))


def test_what_may_help_against_nan_is_what_the_stage_learns_by() -> None:
    # By default kernels learn by Muon, specialists by a recipe of their own, gates by Adam.
    every = {stage.name: stage for stage in planned(job())}
    assert remedy(every["base"]) == (
        "A smaller learning rate (base.recipe.muon.lr for kernels, base.recipe.optimizer.lr for all else) may help"
    )
    assert "(expert.recipe.muon.lr for kernels, expert.recipe.optimizer.lr " in remedy(every["natural"])
    assert remedy(every["gates"]) == (
        "A smaller learning rate (gate.recipe.optimizer.lr) or gate.recipe.clip=1.0 may help"
    )
