"""The rivals of a verdict as configs, and what a base without a mixture may be."""

from typing import Any

import pytest
import yaml

from moe import checks
from moe.package import CONF
from moe.schema import Plain
from tests.configs import changed, composed, refusal, sentence

RIVALS = {
    "hard": ("gates", "hard", "own", None, "none"),
    "soft": ("gates", "soft", "own", None, "none"),
    "flat": ("gates", "none", "own", None, "none"),
    "trunk": ("gates", "hard", "shared", None, "none"),
    "member": ("gates", "hard", "own", None, "none"),
    "base": ("base", "hard", "own", None, "none"),
    "longer": ("base", "hard", "own", None, "epochs"),
    "wider": ("base", "hard", "own", None, "width"),
    "kernels": ("base", "hard", "own", None, "kernels"),
    "tuned": ("base", "hard", "own", None, "members"),
    "ensemble": ("base", "hard", "own", None, "members"),
    "long_ensemble": ("base", "hard", "own", None, "members_epochs"),
    "cascade": ("base", "hard", "own", 0.9, "members"),
    "cascaded": ("gates", "hard", "own", None, "none"),
    "tuned_cascade": ("base", "hard", "own", 0.9, "members"),
    "router": ("gates", "hard", "own", None, "none"),
    "rest": ("gates", "hard", "own", None, "none"),
    "scratch": ("gates", "hard", "own", None, "none"),
    "pairs": ("gates", "hard", "own", None, "none"),
}
VARIANTS = {"router", "rest", "scratch", "pairs", "kernels"}  # other mixtures, which train networks of their own


def test_a_verdict_runs_every_shipped_rival_but_the_variants_with_three_seeds() -> None:
    params = yaml.safe_load((CONF / "experiment" / "verdict.yaml").read_text())["hydra"]["sweeper"]["params"]
    assert set(RIVALS) == {path.stem for path in (CONF / "rival").glob("*.yaml")}
    assert params["seed"] == "0,1,2" and set(params["rival"].split(",")) == set(RIVALS) - VARIANTS


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_composes_to_what_it_says_over_any_experiment(name: str) -> None:
    for experiment in ("verdict", "demo"):
        config = composed(f"experiment={experiment}", f"rival={name}")
        base = config.base
        found = (config.target, config.mixture.routing, config.expert.trunk, base.cascade, base.match)
        assert found == RIVALS[name]
        assert config.rival == name and config.experiment == experiment
        assert (config.expert.init == "member") == (name == "member")
        assert (base.init == "base") == (name in ("tuned", "tuned_cascade"))
        assert (config.mixture.cascade == 0.9) == (name == "cascaded")
        routed = name == "router" or (experiment == "demo" and name != "cascaded")
        assert (config.router.source == "network") == routed
        assert (config.expert.outputs == "rest") == (name == "rest")
        assert config.expert.net == base.net


def members(**changes: Any) -> Plain:
    """Plain values of a base alone with some of its keys set."""
    values = changed("target", "base")
    values["base"].update(changes)
    return values


def test_members_are_for_a_base_without_a_mixture() -> None:
    for key, value in (("members", 2), ("match", "width"), ("cascade", 0.5), ("init", "base")):
        expected = f"base.{key} is for a base that speaks without a mixture; set target=base"
        assert refusal(changed(f"base.{key}", value)) == expected
    alone = "base.cascade asks one member after another; set base.members above 1, or base.match=members"
    assert refusal(members(cascade=0.5)) == refusal(members(cascade=0.5, match="width")) == alone
    checks.check(members(cascade=0.5, members=2))
    for match in ("members", "members_epochs"):
        assert refusal(members(members=2, match=match)).endswith("leave base.members at 1")
        checks.check(members(cascade=0.5, match=match))
    assert sentence("target=base", "base.members=0") == "base.members must be a whole number from 1 to 100, not 0"
    assert refusal(members(match="depth")).startswith("base.match must be one of none, width, kernels, members")


def test_members_that_are_the_base_taught_on_learn_by_the_specialists_recipe() -> None:
    said = "base.init=base is for further members, which learn as long as specialists do"
    for wrong in ({}, {"match": "members_epochs"}, {"match": "epochs", "members": 2}, {"match": "width"}):
        assert refusal(members(init="base", **wrong)).startswith(said)
    for right in ({"match": "members"}, {"members": 2}):
        checks.check(members(init="base", **right))


def test_pairs_have_a_taxonomy_of_their_own() -> None:
    said = "rival=pairs has a taxonomy of its own, of two classes a branch; leave taxonomy= out"
    assert sentence("experiment=verdict", "rival=pairs", "taxonomy=cifar10") == said
    pairs = "taxonomy.branches={a:[airplane,ship],b:[automobile,truck],c:[bird,frog],d:[cat,dog],e:[deer,horse]}"
    assert composed("experiment=verdict", "rival=pairs", pairs).rival == "pairs"
    # What is no mapping at all is refused where the tree is made.
    assert sentence("experiment=verdict", "rival=pairs", "taxonomy.branches=[a,b]") == said
    assert composed("experiment=verdict", "taxonomy.branches=[a,b]").taxonomy.branches == ["a", "b"]
