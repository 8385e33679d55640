"""What is said below a comparison's table, and which keys have a column in it."""

from moe.comparison import differing, rows
from moe.comparison.columns import notes
from tests.comparison.conftest import Make

LACKING = "Not every row has every seed: {}. A seed lost to a failure can lift a row's mean."


def test_rows_that_lack_seeds_of_others_are_named(make: Make) -> None:
    # The best on val first: "a" is row 1, "h" row 8.
    seeds = {"a": (0, 1), "b": (0, 1, 2), "c": (1,), "d": (0, 1), "e": (0, 1), "f": (0, 1), "g": (0, 1, 2), "h": (2,)}
    runs = [
        make(seed, val=0.9 - 0.1 * i, name=name, gate__width=i)
        for i, (name, own) in enumerate(seeds.items())
        for seed in own
    ]
    said = "rows 1, 4-6 lack seed 2; row 3 lacks seeds 0, 2; row 8 lacks seeds 0, 1"
    assert LACKING.format(said) in list(notes(rows(runs), differing(runs)))


def test_other_data_and_other_protocols_have_seeds_of_their_own(make: Make) -> None:
    runs = [make(seed, name="a") for seed in (0, 1)]
    runs += [make(seed, name="b", fingerprint="beef") for seed in (0, 1, 2)]
    runs += [make(seed, name="c", protocol="notebook") for seed in (3, 4)]
    assert not any("seed lost" in note for note in notes(rows(runs), differing(runs)))


def test_a_row_for_each_run_lacks_no_seed(make: Make) -> None:
    made = [rows([make(seed, name="a")])[0] for seed in (0, 1)]
    assert not any("seed lost" in note for note in notes(made, []))
