"""What must be said below the tables of a verdict."""

from moe.comparison import Run
from moe.verdict import contests, notes, rivals
from tests.verdict.contested import run


def said(*runs: Run) -> str:
    found = rivals(runs)
    return " ".join(notes(found, contests(found), None))


def test_what_teaches_mixtures_alone_and_what_is_not_counted_is_said() -> None:
    mixed = run("hard", 0, 8, config={"gate.fit_on": "gate"}, optimizer_flops=1.0)
    plain = run("base", 0, 7, optimizer_flops=1.0)

    teach = "The images held out for gates teach mixtures of experts alone"
    assert teach in said(mixed, plain)
    assert teach not in said(plain) and teach not in said(mixed)
    assert teach not in said(run("hard", 0, 8, config={"gate.fit_on": "train"}), plain)
    before = "since these runs are from before they were counted: Muon's products, of"
    assert before not in said(mixed, plain)
    muon = {"base.recipe.muon.lr": 0.1}
    older, without = run("base", 0, 7, config=muon), run("base", 0, 7, config={"base.recipe.muon": None})
    assert f"{before} base." in said(mixed, older) and f"{before} all." in said(older)
    assert before not in said(mixed, run("base", 0, 7, config=muon, optimizer_flops=1.0)) + said(without)


def test_an_interval_of_one_seed_is_said_to_be_of_its_images() -> None:
    # Without a contest, too, and of one row among those of several seeds.
    assert "Wilson's" in said(run("base", 0, 7), run("wider", 0, 7))
    several = [run("hard", seed, right) for seed, right in enumerate((8, 9, 10))]
    assert "Wilson's" not in said(*several) and "Wilson's" in said(*several, run("wider", 7, 7))


def test_a_cascade_that_is_not_calibrated_is_told_beside_those_that_are() -> None:
    raw = run("cascaded", 0, 8, config={"gate.calibrate": False, "base.cascade": None})
    fitted = run("cascaded", 0, 8, config={"gate.calibrate": True, "base.cascade": None})
    bases, alone = run("cascade", 0, 7, config={"base.cascade": 0.9}), run("base", 0, 7, config={"base.cascade": None})
    told = "Of cascaded the base says how sure it is as it stands (gate.calibrate=false), of cascade calibrated: "
    assert told in said(raw, bases, alone)
    assert told not in said(fitted, bases, alone) and "as it stands" not in said(raw, alone)


def test_rivals_of_one_config_on_two_bases_are_named() -> None:
    hard = [run("hard", seed, 8, base=f"base-{seed}") for seed in (0, 1)]
    flat = [run("flat", 0, 8, base="base-0"), run("flat", 1, 8, base="base-1")]
    member, wider = (
        run("member", 1, 8, base="base-x"),
        run("wider", 1, 8, base="base-w", config={"base.match": "width"}),
    )
    # Other configs have other bases, and so have other splits.
    other = run("trunk", 1, 8, base="base-y", config={"base.net.size": "m"})
    split = run("soft", 1, 8, base="base-z", config={"data.splits.gate": 0})
    several = run("ensemble", 1, 8, base="base-1", config={"base.match": "members"})
    assert " another base than " not in said(*hard, *flat, wider, other, split, several)
    assert (
        "Of seed 1 member has another base than flat, hard, though their configs ask for the same one: what parts them "
        "may be that."
    ) in said(*hard, *flat, member, wider, other)
    several = run("ensemble", 1, 8, base="base-x", config={"base.match": "members"})
    assert "Of seed 1 ensemble has another base than flat, hard, " in said(*hard, *flat, several)
