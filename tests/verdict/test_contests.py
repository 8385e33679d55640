"""Rivals made up of a few numbers, and what is made of them."""

from dataclasses import replace

import numpy as np
import pytest

from moe.comparison import Run
from moe.errors import StoreError
from moe.schema import CONDITIONAL
from moe.verdict import contests, headline, notes, rivals
from moe.verdict.contests import CHEAP, KINDS, RIVALS, WITHIN, same
from moe.verdict.significance import crossed, holm
from tests.verdict.contested import bits, run

T1 = 12.706205  # Student's t of one degree of freedom, 97.5 %


def test_pairs_are_of_one_seed_and_the_interval_is_over_the_seeds() -> None:
    mixture = [run("hard", 0, 8), run("hard", 1, 9), run("hard", 7, 0)]
    base = [run("base", 0, 7, routed=1e6, training_flops=1e12), run("base", 1, 6, routed=1e6, training_flops=1e12)]
    one, *free = contests(rivals([*mixture, *base]))
    # Beside its own routed uniform average, of all three seeds: 0.3, 0.4, -0.5.
    assert [(other.one, other.other, other.seeds) for other in free] == [("hard", "routed uniform", (0, 1, 7))]
    assert free[0].difference.mean == pytest.approx(0.2 / 3)
    # 0.1 and 0.3: mean 0.2, half the interval t |a - b| / 2. Seed 7 has no partner.
    assert (one.one, one.other, one.seeds) == ("hard", "base", (0, 1))
    assert one.difference.mean == pytest.approx(0.2)
    assert one.difference.ci95 == pytest.approx((0.2 - T1 * 0.1, 0.2 + T1 * 0.1))
    # t = 2, one degree of freedom: p = 1 - 2 atan(2) / pi; twice that as the lesser of two.
    assert one.p == pytest.approx(0.2951672) and one.corrected == 2 * one.p
    assert (one.inference, one.training) == (2.0, 4.0)
    assert one.against_cheaper and not one.at_equal_cost


def test_networks_of_mixed_kernels_are_mixtures_however_they_were_chosen() -> None:
    kernels = {"base.net._target_": CONDITIONAL}
    runs = [run("hard", 0, 8), run("wider", 0, 7), run("base", 0, 7, config=kernels)]
    asked = {one.other: one.question for one in contests(rivals(runs)) if one.one == "hard"}
    assert asked == {"wider": RIVALS, "base": KINDS, "routed uniform": KINDS}


def test_a_single_seed_is_not_judged_where_others_have_several() -> None:
    mixture = [run("hard", seed, right) for seed, right in enumerate((8, 9, 10))]
    others = [run("base", seed, right) for seed, right in enumerate((2, 2, 3))]
    held = {one.other: one for one in contests(rivals([*mixture, *others, run("longer", 0, 1)]))}
    # By McNemar's seven images it would have p = 2 / 2^7, the least of all.
    assert held["longer"].p is None and held["longer"].sign == 0 and held["longer"].difference.ci95 is not None
    # 6, 7 and 7 tenths: t = 20 / 3 / (1 / sqrt(3) / sqrt(3)) = 20. Of two degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    assert held["base"].p == pytest.approx(1 - 20 / 402**0.5)
    # Twice that: the other p is the routed uniform average's, of 3, 4 and 5 tenths, t = 4 sqrt(3).
    assert held["routed uniform"].p == pytest.approx(1 - (48 / 50) ** 0.5)
    assert held["base"].corrected == pytest.approx(2 * (1 - 20 / 402**0.5))
    said = headline(list(held.values()))
    assert "ahead of base (+66.67)" in said and "not judged beside longer (+70.00, 1 seed)" in said


def test_rivals_of_the_same_networks_are_one() -> None:
    ensemble, long = (run(name, 0, 7, key="run-1") for name in ("ensemble", "long_ensemble"))
    cascade = run("cascade", 0, 7, key="run-1", routed=1e6)
    found = rivals([run("hard", 0, 8, key="run-0"), ensemble, long, cascade])
    assert same(found) == [["cascade"], ["ensemble", "long_ensemble"], ["hard"]]
    held = contests(found)
    assert [one.other for one in held if one.question == RIVALS] == ["cascade", "ensemble"]
    assert "The very same networks, and so one rival: ensemble, long_ensemble." in list(notes(found, held, None))


def test_of_the_same_networks_that_with_the_most_seeds_stands_for_the_others() -> None:
    mixture = [run("hard", seed, 8, key=f"run-h{seed}") for seed in (0, 1, 2)]
    ensemble = [run("ensemble", seed, 7, key=f"run-{seed}") for seed in (0, 1, 2)]
    # One seed of the very same, by which it comes first on val.
    long = run("long_ensemble", 0, 7, key="run-0")
    ensemble[1:] = [replace(one, val=0.4) for one in ensemble[1:]]
    found = rivals([*mixture, *ensemble, long])
    assert list(found) == ["hard", "long_ensemble", "ensemble"]
    assert same(found) == [["hard"], ["ensemble", "long_ensemble"]]
    assert [(one.other, one.seeds) for one in contests(found) if one.question == RIVALS] == [("ensemble", (0, 1, 2))]


def test_missing_rivals_and_seeds_are_said() -> None:
    found = rivals([run("hard", 0, 8), run("hard", 1, 8), run("base", 1, 8)])
    said = list(notes(found, contests(found), None))
    assert "Not every rival has every seed: base lacks 0." in said
    (absent,) = (note for note in said if note.startswith("Not among these"))
    assert "ensemble" in absent and "wider" in absent and "hard" not in absent and "base" not in absent


def test_settings_that_make_no_rival_and_yet_differ_are_said() -> None:
    def settled(rival: str, **given: object) -> Run:
        own = {"mixture.routing": "hard", "expert.recipe.epochs": 5, "data.splits.seed": 0, "expert.net.size": "s"}
        return run(rival, 0, 8, config={**own, **{key.replace("__", "."): value for key, value in given.items()}})

    def said(*runs: Run) -> list[str]:
        found = rivals(runs)
        return [note for note in notes(found, contests(found), None) if note.startswith("The rivals differ")]

    # conf/rival sets the soft mixture's routing, and all of how the specialists of `scratch` learn, and their network.
    soft = settled("soft", mixture__routing="soft")
    scratch = settled("scratch", expert__recipe__epochs=10, expert__net__size="m")
    assert said(settled("hard"), soft, scratch) == []
    assert said(settled("hard"), settled("base", data__splits__seed=3), soft) == [
        "The rivals differ in data.splits.seed, which makes none of them (0: hard, soft; 3: base): "
        "what tells them apart may be that."
    ]
    # What a rival without a file here is meant to differ in nobody knows.
    assert said(settled("hard"), settled("mine", gate__width=3), soft) == []
    # The soft mixture's specialists are by no file of its to learn for longer.
    assert said(settled("hard"), settled("soft", mixture__routing="soft", expert__recipe__epochs=6)) == [
        "The rivals differ in expert.recipe.epochs, which makes none of them (5: hard; 6: soft): "
        "what tells them apart may be that."
    ]


def test_of_one_seed_it_is_mcnemars_over_the_images() -> None:
    one, *_ = contests(rivals([run("hard", 0, 9), run("base", 0, 2)]))
    # Seven images that the mixture alone got right: p = 2 / 2^7. Differences of mean 0.7, variance 0.21 * 10 / 9.
    assert one.p == pytest.approx(2 / 128)
    half = 1.959964 * (0.21 / 9) ** 0.5
    assert one.difference.ci95 == pytest.approx((0.7 - half, 0.7 + half))
    assert one.corrected == pytest.approx(4 / 128) and one.sign == 1


def test_without_the_images_there_is_no_p_and_the_correction_leaves_it_out() -> None:
    found = rivals([run("hard", 0, 9), run("base", 0, 3), run("wider", 0, 3, right={})])
    by_name = {one.other: one for one in contests(found) if one.question == RIVALS}
    assert by_name["wider"].p is None and by_name["wider"].corrected is None and by_name["wider"].sign == 0
    # Twice as much: beside it the routed uniform average has one, of the four images that the mixture alone got right.
    assert by_name["base"].p == pytest.approx(2 / 64) and by_name["base"].corrected == pytest.approx(4 / 64)
    assert "Holm p is corrected for all 2 comparisons." in " ".join(notes(found, contests(found), None))


def test_a_flat_mixture_is_also_held_against_the_base_and_routed_uniform() -> None:
    held = contests(rivals([run("hard", 0, 8), run("flat", 0, 9), run("base", 0, 7)]))
    assert [(one.question, one.one, one.other) for one in held] == [
        (RIVALS, "hard", "base"),
        (KINDS, "hard", "flat"),
        (KINDS, "hard", "routed uniform"),
        (KINDS, "flat", "base"),
        (KINDS, "flat", "routed uniform"),
    ]
    # The flat one's base is right on 4 of 10; the hard mixture's uniform average on 5.
    assert [one.difference.mean for one in held[2:]] == pytest.approx([0.3, 0.5, 0.4])
    # 3, 5 and 4 images that one alone got right: p = 2 / 2^3, 2 / 2^5 and 2 / 2^4. Of the others one image each.
    assert [one.p for one in held] == pytest.approx([1.0, 1.0, 2 / 8, 2 / 32, 2 / 16])
    # For all five together, whatever is asked: the least five times, the next four times, the next three times.
    assert [one.corrected for one in held] == pytest.approx([1.0, 1.0, 3 * 2 / 8, 5 * 2 / 32, 4 * 2 / 16])


def test_the_mixture_is_held_against_its_own_specialists() -> None:
    baselines = {"base": 0.4, "uniform": 0.5, "specialists": 0.9}
    right = {"test": bits(8), "base": bits(4), "uniform": bits(5), "specialists": bits(9)}
    held = contests(rivals([run("hard", 0, 8, baselines=baselines, right=right)]))
    assert [(one.other, round(one.difference.mean, 6)) for one in held] == [
        ("routed specialists", -0.1),
        ("routed uniform", 0.3),
    ]


def test_the_cascaded_mixture_is_held_against_bases_as_cheap() -> None:
    made = [run("cascaded", seed, 8) for seed in (0, 1)]
    made += [run("hard", seed, 8) for seed in (0, 1)]
    for rival, right in (("cascade", (5, 6)), ("tuned_cascade", (7, 7)), ("longer", (8, 6)), ("wider", (9, 9))):
        made += [run(rival, seed, correct) for seed, correct in enumerate(right)]
    held = [one for one in contests(rivals(made)) if one.question == CHEAP]
    assert {one.other: round(one.difference.mean, 6) for one in held} == {
        "cascade": 0.25,
        "tuned_cascade": 0.1,
        "longer": 0.1,
    }
    assert all(one.one == "cascaded" for one in held)
    # Of t = 5 and 1 with one degree of freedom, and 1 without scatter.
    assert {one.other: one.p for one in held} == pytest.approx(
        {"cascade": 0.125666, "tuned_cascade": 1.0, "longer": 0.5}, abs=1e-5
    )


def test_the_cascaded_mixture_is_held_against_a_base_for_which_its_twin_stands() -> None:
    made = [run(rival, seed, right) for rival, right in (("hard", 8), ("cascaded", 7)) for seed in (0, 1, 2)]
    made += [run("tuned", seed, 6, key=f"run-{seed}") for seed in (0, 1, 2)]
    made += [run("base", seed, 6, key=f"run-{seed}") for seed in (0, 1)]
    found = rivals(made)
    assert ["tuned", "base"] in same(found)
    held = [(one.one, one.other, one.seeds) for one in contests(found) if one.question == CHEAP]
    assert held == [("cascaded", "base", (0, 1))]


def test_the_mixture_of_kernels_is_held_against_what_is_no_mixture() -> None:
    kernels = [run("kernels", seed, right, config={"base.match": "kernels"}) for seed, right in enumerate((8, 9))]
    made = [*kernels, *(run("hard", seed, 8) for seed in (0, 1))]
    made += [run(rival, seed, 7) for rival in ("base", "wider") for seed in (0, 1)]
    held = contests(rivals(made))
    within = [one for one in held if one.question == WITHIN]
    assert [(one.one, one.other, round(one.difference.mean, 6)) for one in within] == [
        ("kernels", "base", 0.15),
        ("kernels", "wider", 0.15),
    ]
    # 0.1 and 0.2: t = 3, p = 1 - 2 atan(3) / pi.
    assert [one.p for one in within] == pytest.approx([0.204833] * 2, abs=1e-5)
    # Beside the other mixture it is one more.
    assert ("hard", "kernels") in [(one.one, one.other) for one in held if one.question == KINDS]
    assert "kernels" not in [one.other for one in held if one.question == RIVALS]


def test_the_correction_is_over_all_that_is_asked() -> None:
    rights = {"hard": (8, 9, 9), "cascaded": (8, 8, 9), "longer": (6, 7, 6), "wider": (5, 4, 4), "soft": (7, 9, 8)}
    made = [run(rival, seed, right) for rival, all_ in rights.items() for seed, right in enumerate(all_)]
    made += [run("kernels", seed, right, config={"base.match": "kernels"}) for seed, right in enumerate((9, 10, 10))]
    held = contests(rivals(made))
    assert {one.question for one in held} == {RIVALS, KINDS, CHEAP, WITHIN}
    ps = [one.p for one in held if one.p is not None]
    assert len(ps) == len(held) and [one.corrected for one in held] == pytest.approx(holm(ps))
    # The least p is multiplied by how many there are, of all four questions together.
    assert min(one.corrected or 0 for one in held) == pytest.approx(len(held) * min(ps))


def test_two_configs_of_one_rival_are_refused_by_what_differs() -> None:
    with pytest.raises(StoreError, match=r"hard-0 and hard-1 are both of rival=hard and differ in gate.width"):
        rivals([run("hard", 0, 8, config={"gate.width": 1}), run("hard", 1, 8, config={"gate.width": 2})])
    for what, value in (("fingerprint", "beef"), ("protocol", "notebook")):
        with pytest.raises(StoreError, match=rf"of different data \(data\.{what}\)"):
            rivals([run("hard", 0, 8), run("base", 0, 8, **{what: value})])


def test_the_same_networks_that_say_other_things_are_two() -> None:
    first, second = run("tuned", 0, 7, key="run-1"), run("ensemble", 0, 6, key="run-1")
    assert sorted(same(rivals([first, second]))) == [["ensemble"], ["tuned"]]


def test_over_seeds_and_images_where_it_is_known_which_were_right() -> None:
    mixture = [run("hard", 0, 8), run("hard", 1, 9)]
    base = [run("base", 0, 7), run("base", 1, 6)]
    by_name = {one.other: one for one in contests(rivals([*mixture, *base]))}
    # Of ten images the mixture alone is right on one in the first seed, and in the second on that and two others.
    apart = np.zeros((2, 10))
    apart[0, 7], apart[1, 6:9] = 1.0, 1.0
    assert by_name["base"].over_both == crossed(apart)
    assert contests(rivals([mixture[0], base[0]]))[0].over_both is None  # one seed
    lacking = [base[0], replace(base[1], right={})]
    assert contests(rivals([*mixture, *lacking]))[0].over_both is None


def test_choices_made_on_the_test_set_are_said() -> None:
    said = "* data.splits.protocol=notebook: choices were made on the test set; these numbers are too good."
    for protocol, there in (("notebook", True), ("held_out", False)):
        found = rivals([run("hard", 0, 8, protocol=protocol), run("base", 0, 7, protocol=protocol)])
        assert (said in list(notes(found, contests(found), None))) == there


def test_runs_of_no_rival_are_left_out() -> None:
    assert list(rivals([run(None, 0, 8), run("base", 0, 8)])) == ["base"]
