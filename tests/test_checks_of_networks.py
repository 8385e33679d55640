"""What is asked of networks that a run trains, and of no others."""

from moe.config import compose
from tests.configs import sentence


def test_specialists_from_scratch_by_the_recipe_for_fine_tuning_are_refused() -> None:
    said = sentence("expert.init=scratch")
    assert said == (
        "expert.recipe.early_epochs=0 would never train the whitening's bias of a network that starts from scratch; "
        "set recipe@expert.recipe=fast"
    )
    assert compose("expert.init=scratch", "recipe@expert.recipe=fast").expert.recipe.early_epochs == 3


def test_so_are_bases_and_routers() -> None:
    for name, target in (("base", ()), ("router", ("router=network", "target=router"))):
        said = sentence(f"recipe@{name}.recipe=finetune", *target)
        assert said.startswith(f"{name}.recipe.early_epochs=0 would never train the whitening's bias")
        assert said.endswith(f"set recipe@{name}.recipe=fast")
    # Without whitening it has no such bias.
    assert not compose("recipe@base.recipe=finetune", "base.net.whitening=false", "target=base").base.net["whitening"]
    # Of a router that is not trained, and a base that is not.
    assert compose("recipe@router.recipe=finetune").router.recipe.early_epochs == 0
    flat = compose("recipe@router.recipe=finetune", "router=network", "mixture.routing=none")
    assert flat.router.recipe.early_epochs == 0
    none = compose("recipe@base.recipe=finetune", "target=router", "router=network")
    assert none.base.recipe.early_epochs == 0


def test_settings_of_specialists_are_for_runs_that_have_any() -> None:
    others = ("expert.init=scratch", "net@expert.net=simple_vgg", "expert.views=flip")
    assert compose("target=base", *others).expert.init == "scratch"
    assert compose("target=router", "router=network", *others).expert.init == "scratch"
    # Further members that start as the base learn by the specialists' recipe, and from no scratch.
    taught = compose("target=base", "base.members=2", "base.init=base", "expert.init=scratch")
    assert taught.expert.recipe.early_epochs == 0
    for wants in ("base.match=epochs", "base.match=width"):
        assert "expert.net to be base.net" in sentence("target=base", "net@expert.net=simple_vgg", wants)


def test_rules_for_arguments_are_of_the_networks_that_are_shipped() -> None:
    own = ("net@base.net=vgg11_bn", "base.net.dropout=null", "+base.net.width=0.5", "+base.net.blocks=[2,2]")
    assert compose(*own).base.net == {
        "_target_": "torchvision.models.vgg11_bn",
        "dropout": None,
        "width": 0.5,
        "blocks": [2, 2],
    }
    assert sentence("net@base.net=simple_vgg", "base.net.dropout=null").startswith("base.net.dropout must be a number")
    assert sentence("gate=conv", "gate.depth=0") == "gate.depth must be a whole number from 1 to 100, not 0"
    cond = ("net@base.net=cond_vgg", "base.net.kernels=100000")
    assert sentence(*cond) == "base.net.kernels must be a whole number from 1 to 100, not 100000"
