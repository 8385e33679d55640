"""Which stages a target needs, and in which order."""

import pytest

from moe.schema import Plain
from moe.stages import section
from tests.stages.planned import ALL, NESTED, NETWORKS, changed, default, differing, keys, stages


@pytest.mark.parametrize(
    ("target", "routing", "expected"),
    [
        ("base", "hard", ["base"]),
        ("router", "hard", ["router"]),
        ("experts", "hard", ["base", "artificial", "natural"]),
        ("gates", "hard", ["base", "artificial", "natural", "router", "gates"]),
        ("gates", "soft", ["base", "artificial", "natural", "router", "gates"]),
        ("gates", "none", ["base", "artificial", "natural", "gates"]),
    ],
)
def test_a_target_needs_just_its_stages(target: str, routing: str, expected: list[str]) -> None:
    found = stages(changed(**{"target": target, "mixture.routing": routing}))
    assert list(found) == expected
    whole = keys(default())
    assert all(found[name].key == whole[name] for name in expected if name != "gates")


def test_stages_come_after_what_they_read() -> None:
    for routing in ("hard", "none"):
        found = list(stages(changed(**{"taxonomy.branches": NESTED, "mixture.routing": routing})).values())
        for place, stage in enumerate(found):
            assert set(stage.inputs.get("needs", ())) <= {earlier.key for earlier in found[:place]}
        assert found[-1].inputs["needs"] == [stage.key for stage in found[:-1]]
        assert all("needs" not in stage.inputs for stage in found[:-1])


def test_a_nested_tree_has_a_router_for_each_inner_node_and_no_stage_for_a_node_of_one_class() -> None:
    found = stages(changed(**{"taxonomy.branches": NESTED}))
    # air and sea hold one class each.
    assert {name: (stage.kind, stage.node.name) for name, stage in found.items()} == {
        "base": ("base", "base"),
        "machines": ("expert", "machines"),
        "road": ("expert", "road"),
        "animals": ("expert", "animals"),
        "pets": ("expert", "pets"),
        "wild": ("expert", "wild"),
        "router": ("router", "base"),
        "router-machines": ("router", "machines"),
        "router-animals": ("router", "animals"),
        "gates": ("gates", "base"),
    }
    assert found["router-machines"].inputs["learns"] == [[0], [1, 9], [8]]
    assert found["gates"].inputs["learns"] == [[[0], [1, 9], [8]], [[3, 5], [2, 4, 6, 7]]]


@pytest.mark.parametrize(
    ("outputs", "expected"), [("subset", [2, 3, 4, 5, 6, 7]), ("all", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]
)
def test_specialists_learn_their_classes_and_speak_over_their_outputs(outputs: str, expected: list[int]) -> None:
    found = stages(changed(**{"expert.outputs": outputs}))
    assert (found["natural"].inputs["learns"], found["natural"].inputs["outputs"]) == ([2, 3, 4, 5, 6, 7], expected)
    assert found["base"].inputs["outputs"] == list(range(10))


def test_each_stage_learns_by_its_own_net_and_recipe() -> None:
    config = changed(**{f"{name}.recipe.epochs": 11 + place for place, name in enumerate(NETWORKS)})
    inputs: dict[str, Plain] = {name: stage.inputs for name, stage in stages(config).items()}
    assert {name: each["recipe"]["epochs"] for name, each in inputs.items()} == {
        "base": 11,
        "artificial": 12,
        "natural": 12,
        "router": 13,
        "gates": 14,
    }
    assert inputs["natural"]["net"] == config.expert.net and inputs["gates"]["net"] == config.gate.net


def test_every_frozen_network_is_trained_again_for_each_fold() -> None:
    plain = stages(changed(**{"gate.fit_on": "folds", "gate.folds": 2}))
    networks = ALL - {"gates"}
    assert list(plain)[-1] == "gates"
    assert set(plain) == ALL | {f"{name}/{number}" for name in networks for number in range(2)}
    assert {name: plain[name].key for name in networks} == {name: keys(default())[name] for name in networks}
    assert plain["base/1"].inputs["fold"] == [1, 2, 0]
    assert len({stage.key for stage in plain.values()}) == len(plain)
    assert set(plain["gates"].inputs["needs"]) == {stage.key for stage in plain.values() if stage.kind != "gates"}
    # The images are dealt to folds by the splits' seed, whatever the run's.
    dealt = stages(changed(**{"gate.fit_on": "folds", "gate.folds": 2, "seed": 3, "data.splits.seed": 5}))
    assert dealt["base/1"].inputs["fold"] == [1, 2, 5]
    # What starts as the base starts, for a fold, as the base that has not seen the fold.
    from_base = stages(changed(**{"gate.fit_on": "folds", "expert.init": "base"}))
    assert from_base["natural/3"].inputs["needs"] == [from_base["base/3"].key]
    assert from_base["natural"].inputs["needs"] == [from_base["base"].key]
    # What starts as a second base starts as that fold's second base.
    from_member = stages(changed(**{"gate.fit_on": "folds", "expert.init": "member"}))
    assert from_member["natural/3"].inputs["needs"] == [from_member["base-2/3"].key]
    assert from_member["base-2/3"].inputs["fold"] == [3, 5, 0]


def test_specialists_that_start_as_a_second_base_need_it_and_the_mixture_does_not() -> None:
    found = stages(changed(**{"expert.init": "member"}))
    assert list(found) == ["base", "base-2", "artificial", "natural", "router", "gates"]
    # It is the second one of an ensemble.
    members = stages(changed(**{"target": "base", "base.members": 2}))
    assert found["base-2"] == members["base-2"]
    assert found["artificial"].inputs["needs"] == found["natural"].inputs["needs"] == [found["base-2"].key]
    assert found["gates"].inputs["needs"] == [
        stage.key for name, stage in found.items() if name not in ("base-2", "gates")
    ]
    assert list(stages(changed(**{"expert.init": "member", "target": "experts"})))[:3] == [
        "base",
        "base-2",
        "artificial",
    ]


def test_where_no_specialist_learns_none_needs_a_second_base() -> None:
    single = {f"only_{label}": [label] for label in range(10)}
    found = stages(changed(**{"expert.init": "member", "taxonomy.branches": single, "mixture.routing": "none"}))
    assert list(found) == ["base", "gates"]


def test_members_are_the_base_of_the_seed_and_others_that_draw_like_no_stage_of_any_seed() -> None:
    members = {seed: stages(changed(**{"target": "base", "base.members": 3, "seed": seed})) for seed in (0, 1, 2, 3)}
    assert list(members[0]) == ["base", "base-2", "base-3"]
    # The first is the base that a mixture has.
    assert members[0]["base"].inputs == stages(default())["base"].inputs
    every = [stage for own in members.values() for stage in own.values()]
    every += [stage for seed in (0, 1, 2, 3) for stage in list(stages(changed(seed=seed)).values())[1:]]
    assert len({stage.seed for stage in every}) == len({stage.key for stage in every}) == 4 * (3 + 4)
    # A further member never changes those before it.
    assert stages(changed(**{"target": "base", "base.members": 2}))["base-2"] == members[0]["base-2"]


def test_members_that_are_the_base_taught_on_learn_as_specialists_do_from_all_images() -> None:
    on = {"target": "base", "base.members": 3, "base.init": "base", "expert.recipe.epochs": 7}
    found = stages(changed(**on))
    assert list(found) == ["base", "base-2", "base-3"] and len({stage.seed for stage in found.values()}) == 3
    assert found["base"] == stages(default())["base"]
    for further in (found["base-2"], found["base-3"]):
        assert further.inputs["needs"] == [found["base"].key] and further.inputs["trunk"] == "own"
        assert further.inputs["net"] == found["base"].inputs["net"]
        assert further.inputs["learns"] == list(range(10))
        assert further.inputs["recipe"] == stages(changed(**{"expert.recipe.epochs": 7}))["natural"].inputs["recipe"]
        assert section(further) == "expert"
    assert {section(stage) for stage in stages(default()).values()} == {"base", "expert", "router", "gate"}
    # Another draw than the base's, for other members of its own.
    scratch = stages(changed(**{"target": "base", "base.members": 3}))
    assert found["base-2"].key != scratch["base-2"].key


def test_where_the_base_routes_no_router_is_trained() -> None:
    routed = keys(changed(**{"router.source": "base"}))
    assert set(routed) == ALL - {"router"}
    assert differing(routed, {name: key for name, key in keys(default()).items() if name in routed}) == {"gates"}
