"""The verdict's study of other mixtures and of narrower networks: its README says what its results files say."""

import pytest

from moe import verdict
from tests.verdict_said import README, TABLE, between, clocked, compared, points

SAID = " ".join(README.read_text().split())


def test_what_was_tried_on_one_seed() -> None:
    runs = TABLE["read"](TABLE["TRIED"])
    beside = [run for run in TABLE["read"](TABLE["RESULTS"]) if run.seed == 10 and run.config["rival"] == "hard"]
    held = {one.other: one for one in verdict.contests(verdict.rivals([*runs, *beside])) if one.one == "hard"}
    assert all(held[name].seeds == (10,) for name in ("router", "scratch", "rest", "pairs"))
    for sentence in (
        f"a router network of its own is worth {points(held['router'], 1)} (one seed, not distinguishable from zero) "
        "for a quarter more to run and half as much again to train",
        f"beginning from nothing {points(held['scratch'], 1)} (one seed), seeing the others' classes, too, "
        f"{points(held['rest'], 1)} (one seed, not distinguishable from zero)",
        f"these lose {points(held['pairs'], 1)} (one seed)",
    ):
        assert sentence in SAID, sentence
    assert [held[name].difference.mean > 0 for name in ("router", "scratch", "rest", "pairs")] == [False, *[True] * 3]
    assert [held[name].sign for name in ("router", "scratch", "rest", "pairs")] == [0, 1, 0, 1]
    inference, training = held["router"].inference, held["router"].training
    assert inference == pytest.approx(1 / 1.25, rel=0.01) and training == pytest.approx(1 / 1.5, rel=0.02)


def test_what_narrower_networks_say() -> None:
    held, found = compared(TABLE["NARROW"]), verdict.rivals(TABLE["read"](TABLE["NARROW"]))
    wider = held["kernels", "wider"]
    alone, among = clocked("narrow")
    kernels, other = (found[name].first.parameters for name in ("kernels", "wider"))
    assert wider.on_val is not None and kernels is not None and other is not None
    for sentence in (
        f"of `wider` by {points(wider)} points {between(wider.difference)}, on `val` by "
        f"{100 * wider.on_val.mean:.2f} {between(wider.on_val)}, and of `ensemble` by "
        f"{points(held['kernels', 'ensemble'], 1)}, each beyond Holm's correction.",
        f"it is {points(held['kernels', 'tuned'], 1)} and {points(held['kernels', 'longer'], 1)} ahead.",
        f"an image takes it {alone} times as long as `wider`, {among} times among 1,024, and alone less than it takes "
        f"`hard`; it has {kernels / other:.1f} times the parameters.",
        f"gains more on its base here, {points(held['hard', 'base'], 1)} points, and is ahead of `longer`, too, by "
        f"{points(held['hard', 'longer'])} {between(held['hard', 'longer'].difference)}; but `wider` is "
        f"{points(held['hard', 'wider'])} ahead of it. Its gates are {points(held['hard', 'routed uniform'])} ahead of "
        f"the plain average of base and specialist, and {points(held['hard', 'routed specialists'])} behind the routed "
        "specialists, not beyond Holm's correction.",
    ):
        assert sentence in SAID, sentence
    ahead = [held["kernels", name] for name in ("wider", "ensemble", "tuned", "longer")]
    assert {one.sign for one in (*ahead, held["hard", "base"], held["hard", "longer"])} == {1}
    assert held["hard", "wider"].sign == -1 and held["hard", "routed specialists"].difference.mean < 0
    assert [held["hard", name].sign for name in ("routed uniform", "routed specialists")] == [1, 0]
    assert {len(one.seeds) for one in held.values()} == {8}
    assert [held["kernels", name].at_equal_cost for name in ("wider", "ensemble", "tuned")] == [True, True, False]
