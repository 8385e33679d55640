"""A base that costs what the mixture does, with the operations worked out by hand."""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moe.config import compose
from moe.data import sources, splits
from moe.data.canonical import DataSet
from moe.errors import ConfigError
from moe.job import Job, recipe
from moe.matching import conditional, matched, wider
from moe.schema import Config, Plain
from moe.stages import plan
from moe.store import Store
from moe.taxonomy import parse


@functools.cache
def digits() -> tuple[DataSet, splits.SplitIndices]:
    config = compose("experiment=demo")
    dataset = sources.load(config.data, Path())
    return dataset, splits.split(dataset, config.data.splits)


def job(*overrides: str) -> Job:
    """The demo, its base alone, on 8x8 images."""
    config = compose("experiment=demo", "target=base", *overrides)
    tree = parse(config.taxonomy.branches, digits()[0].classes)
    return Job(config, tree, *digits(), Store(Path("nowhere")), Path(), lambda stage: None)


def base(*overrides: str) -> Config:
    """The demo's config with its base matched to its mixture."""
    return matched(job(*overrides))


def test_as_many_members_or_as_wide_as_the_mixture_costs() -> None:
    # tiny_vgg: convolutions 2*9*16*64 + 2*9*16*32*16, then 2*128*64 + 2*64*10: 183,552. The mixture: that, a router
    # with 2 outputs 182,528, a specialist with 5 182,912, a gate 2*64*512 + 2*512*20 = 86,016: 635,008, 3.46 bases.
    assert base("base.match=members").base.members == 3
    # With n and m channels it is 1,152 n + 288 nm + 512 m + 1,280: 622,272 for 31 and 62, 651,008 for 32 and 63.
    assert base("base.match=width").base.net["blocks"] == [[31], [62]]
    # Two of it, each of half that: 2 * 300,992 for 21 and 42, 2 * 321,088 for 22 and 43, 2 * 327,936 for 22 and 44.
    assert base("base.match=width", "base.members=2").base.net["blocks"] == [[22], [43]]


def test_views_and_soft_routing_count() -> None:
    # With two views the base costs 367,104 and the mixture as much more, 818,560: 2.23 bases.
    assert base("base.match=members", "base.views=flip").base.members == 2
    # Soft: both specialists and both gates, 635,008 + 182,912 + 86,016 = 903,936: 4.92 bases.
    assert base("base.match=members", "mixture.routing=soft").base.members == 5


def test_what_an_image_costs_is_the_mean_over_classes_and_not_over_branches() -> None:
    # No gate costs. Base 183,552, a router with 4 outputs 182,784; three branches have one class and so no network, and
    # in the fourth, of seven, a specialist costs 183,168: 3 of 366,336 and 7 of 549,504, mean 494,554, 2.69 bases. Over
    # the branches it would be 2.25.
    tree = "taxonomy.branches={a:[0],b:[1],c:[2],d:[3,4,5,6,7,8,9]}"
    assert base("base.match=members", "gate=uniform", tree).base.members == 3


def test_a_class_counts_by_its_images() -> None:
    # As above, but nine of ten images are of a class without a network: 0.9 * 366,336 + 0.1 * 549,504 = 384,653 is 2.10
    # bases.
    whole = job("base.match=members", "gate=uniform", "taxonomy.branches={a:[0],b:[1],c:[2],d:[3,4,5,6,7,8,9]}")
    labels, train = whole.images("train").labels, whole.indices.train
    few = torch.cat([train[labels == 0][:90], train[labels == 5][:10]])
    assert matched(replace(whole, indices=replace(whole.indices, train=few))).base.members == 2


def test_a_specialist_on_the_bases_trunk_costs_its_branch_alone() -> None:
    # Its last block and head for 5 classes: 2*9*16*32*16 + 2*128*64 + 2*64*5 = 164,480; with the base as router no
    # network beside: 183,552 + 164,480 + 86,016 = 434,048, 2.36 bases. For 25 and 50 channels 415,680, for 26 and 51
    # 439,232.
    shared = ("expert.init=base", "expert.trunk=shared", "router=base")
    assert base("base.match=members", *shared).base.members == 2
    assert base("base.match=width", *shared).base.net["blocks"] == [[26], [51]]


def test_as_long_as_all_the_mixtures_networks_learn() -> None:
    # A pass forward and back is three times the one forward, less the way back to the images, 18,432: with 10 outputs
    # 532,224, with 5 530,304, with 2 529,152. Specialists see half of the images each, or near it, the router all:
    # 4 + 3 * 530,304 / 532,224 + 3 * 529,152 / 532,224 = 9.97 epochs. Then all of them, 183,552 + 2 * 182,912 +
    # 182,528 = 731,904, speak once of the 200 images for gates, where an epoch has 1,038: 0.26 more.
    epochs = ("base.recipe.epochs=4", "expert.recipe.epochs=3", "router.recipe.epochs=3")
    found = base("base.match=epochs", *epochs)
    assert found.base.recipe.epochs == 10
    assert found.base.members == 1 and found.base.net == compose("experiment=demo").base.net
    # Of the images to learn from themselves they speak for 731,904 / 532,224 = 1.38 epochs.
    assert base("base.match=epochs", "gate.fit_on=train", *epochs).base.recipe.epochs == 11
    # On the base's trunk a specialist's pass is 182,912 forward, 164,480 back to its branch's weights and
    # 16,384 + 640 within it: 4 + 8 * 364,416 / 532,224 = 9.48; to speak, each by itself, is 183,552 + 2 * 182,912, or
    # 0.20 epochs of 200 images.
    shared = ("expert.init=base", "expert.trunk=shared", "router=base", "expert.recipe.epochs=8")
    assert base("base.match=epochs", "base.recipe.epochs=4", *shared).base.recipe.epochs == 10


def test_as_many_members_that_learn_as_long_together() -> None:
    # Three members, as above, and the mixture's training is 10.24 epochs of one: 3.41 of three.
    epochs = ("base.recipe.epochs=4", "expert.recipe.epochs=3", "router.recipe.epochs=3")
    found = base("base.match=members_epochs", *epochs)
    assert (found.base.members, found.base.recipe.epochs) == (3, 3)
    # Specialists that start as a second base: that one's 4 epochs count, too. 14.24 / 3 = 4.75.
    found = base("base.match=members_epochs", "expert.init=member", *epochs)
    assert (found.base.members, found.base.recipe.epochs) == (3, 5)


def test_a_base_as_long_is_another_network_and_learns_so_long() -> None:
    long = job("base.match=epochs", "base.recipe.epochs=1", "expert.recipe.epochs=1", "router.recipe.epochs=1")
    data = digits()[0]
    (plain,), (stage,) = (
        plan(c, long.tree, data.fingerprint, data.train.shape, "", lambda stage: 0)
        for c in (long.config, matched(long))
    )
    assert stage.key != plain.key and stage.seed == plain.seed
    assert recipe(long, stage).epochs == 3
    assert recipe(long, plain).epochs == 1


@pytest.mark.parametrize("match", ["members", "width", "epochs"])
def test_what_cannot_learn_is_said_before_it_is_reckoned(match: str) -> None:
    vgg = ("net@base.net=vgg11_bn", "net@expert.net=base", "net@router.net=base")
    with pytest.raises(ConfigError, match=r"^base\.net: the network cannot take images of 1x8x8: "):
        base(f"base.match={match}", *vgg)
    resnet = ("net@base.net=torchvision", "base.net._target_=torchvision.models.resnet18", "net@expert.net=base")
    with pytest.raises(ConfigError, match=r"^base\.net: the network cannot take images of 1x8x8: "):
        base(f"base.match={match}", *resnet, "expert.init=base", "expert.trunk=shared")
    vit = ("net@base.net=torchvision", "base.net._target_=torchvision.models.vit_b_16", "net@expert.net=tiny_vgg")
    with pytest.raises(ConfigError, match=r"^base\.net: the network cannot take images of 1x8x8: "):
        base(f"base.match={match}", *vit)
    own = ("net@expert.net=torchvision", "expert.net._target_=torchvision.models.resnet18")
    with pytest.raises(ConfigError, match=r"^expert\.net: the network cannot take images of 1x8x8: "):
        base(f"base.match={match}", *own)


def test_a_trunk_to_share_is_asked_for_before_it_is_reckoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.trial._refusal", lambda *arguments: None)  # as of images in colour
    resnet = ("net@base.net=torchvision", "base.net._target_=torchvision.models.resnet18", "net@expert.net=base")
    shared = ("expert.init=base", "expert.trunk=shared", "router=base")
    with pytest.raises(ConfigError, match=r"^expert\.trunk=shared needs a network that says its trunk"):
        base("base.match=members", *resnet, *shared)


def test_a_base_of_mixed_kernels_is_as_wide_as_the_mixture_costs() -> None:
    # FastVGG with n, m and m channels, of an image twice as high and wide as the digits: whitening 2*4*8*225; in the
    # groups 2*9*8*n*225 + 2*9*n^2*49, 2*9*nm*49 + 2*9*m^2*9, 2*9*m^2*9 + 2*9*m^2; the head 2*m*10:
    # 14,400 + 32,400 n + 20 m + 882 (n^2 + nm) + 342 m^2. For 2 and 4 95,336, of 5 outputs 95,296: the mixture costs
    # 190,632.
    digits_job = job(
        "net@base.net=fast_vgg",
        "base.net.size=s",
        "base.net.widths=[2,4,4]",
        "net@expert.net=base",
        "router=base",
        "gate=uniform",
    )
    train = digits_job.dataset.train
    larger = replace(train, images=train.images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    whole = replace(digits_job, dataset=replace(digits_job.dataset, train=larger))

    def as_dear(match: str) -> Plain:
        asked = replace(whole.config, base=replace(whole.config.base, match=match))
        return dict(matched(replace(whole, config=asked)).base.net)

    # 147,846 for 3 and 6, 199,706 for 4 and 7.
    assert as_dear("width")["widths"] == [4, 7, 7]
    # Of 8 kernels gates cost 2*8 (n + 3m), mixing 2*8*9 (nm + 3m^2): 166,326 for 3 and 6, 225,306 for 4 and 7.
    found = as_dear("kernels")
    assert found["widths"] == [3, 6, 6] and found["kernels"] == 8
    assert found["_target_"] == "moe.nets.cond_vgg.CondVGG"


def test_kernels_are_mixed_of_a_fast_vgg_alone() -> None:
    with pytest.raises(ConfigError, match=r"^base\.match=kernels needs net@base\.net=fast_vgg, not moe\.nets\.vgg\."):
        base("base.match=kernels")
    own = {"_target_": "moe.nets.cond_vgg.CondVGG", "size": "s", "kernels": 4}
    assert conditional(own) == own


def test_none_is_the_config_itself() -> None:
    given = job()
    assert matched(given) is given.config


def test_widths_keep_their_proportions() -> None:
    fast = {"_target_": "moe.nets.fast_vgg.FastVGG", "size": "s", "widths": None}
    assert wider(fast, 384)["widths"] == [96, 384, 384]
    assert wider({"_target_": "moe.nets.cond_vgg.CondVGG"}, 384)["widths"] == [96, 384, 384]  # as it is of itself
    assert wider({"_target_": "x", "size": "s", "widths": [10, 15, 25]}, 28)["widths"] == [11, 17, 28]
    assert wider({"_target_": "x", "blocks": [[32, 32], [64]]}, 66)["blocks"] == [[33, 33], [66]]


def test_a_network_of_unknown_channels_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"base.match=width needs a network with blocks .* not torchvision\.models\.x"
    ):
        wider({"_target_": "torchvision.models.x"}, 3)
