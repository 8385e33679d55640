"""What is said below a comparison's table, and which keys have a column in it."""

from typing import Any

from moe.comparison import Run, differing, rows
from moe.comparison.columns import columns, notes
from moe.comparison.names import shown_keys
from tests.comparison.conftest import Make

TOLD = ("gate.width", "gate.weights", "mixture.cascade")
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


def test_one_tree_by_two_names_is_one_row(make: Make) -> None:
    runs = [make(0, taxonomy__name="mine"), make(1, taxonomy__name="cifar10")]
    assert [row.n for row in rows(runs)] == [2] and differing(runs) == []
    runs.append(make(0, taxonomy__name="mine", taxonomy__branches={"a": [0], "b": [1]}))
    assert sorted(row.n for row in rows(runs)) == [1, 2]


def test_a_row_for_each_run_lacks_no_seed(make: Make) -> None:
    made = [rows([make(seed, name="a")])[0] for seed in (0, 1)]
    assert not any("seed lost" in note for note in notes(made, []))


def test_the_gates_keys_have_columns_before_those_of_what_trains_and_of_the_data(make: Make) -> None:
    def one(name: str, **other: Any) -> Run:
        alike: dict[str, Any] = {f"base__recipe__{key}": 0 for key in "abcdefgh"}
        given = {"data__source": "digits", **alike, "gate__width": 16, "gate__weights": "joint", "mixture__cascade": 1}
        return make(name=name, **{**given, **other})

    # Four rows: the first two differ in the weights, the last two in the source, and both pairs in all else.
    together = {f"base__recipe__{key}": 1 for key in "abcdefgh"} | {"gate__width": 32, "mixture__cascade": 2}
    runs = [one(f"a{weights}", gate__weights=weights) for weights in ("joint", "per_class")]
    runs += [one(f"b{source}", **together, data__source=source) for source in ("digits", "folder")]
    made, differences = rows(runs), differing(runs)
    # Of twelve keys width, weights and source tell the rows apart; of the rest cascade and the first four fit in.
    assert differences == ["data.source", *(f"base.recipe.{key}" for key in "abcdefgh"), *TOLD]
    assert shown_keys(made, differences) == ["data.source", *(f"base.recipe.{key}" for key in "abcd"), *TOLD]
    titles = [column.title for column in columns(made, differences)]
    assert titles[4:12] == ["source", "a", "b", "c", "d", "width", "weights", "cascade"]
    left = "The runs also differ in base.recipe.e, base.recipe.f, base.recipe.g, base.recipe.h, which --csv"
    assert any(note.startswith(left) for note in notes(made, differences))


def test_of_many_keys_without_a_column_twelve_are_named(make: Make) -> None:
    runs = [make(name=str(i), **{f"base__recipe__k{key:02}": i for key in range(30)}) for i in range(2)]
    # Eight have columns, twelve are named, ten are left.
    named = ", ".join(f"base.recipe.k{key:02}" for key in range(8, 20))
    said = f"The runs also differ in {named} and 10 more, which --csv and --json show."
    assert said in list(notes(rows(runs), differing(runs)))


def test_what_the_data_already_says_has_no_column(make: Make) -> None:
    images = {"digits": {"data": "digits"}, "cifar10": {"data": "cifar10", "fingerprint": "beef"}}
    of_data = {name: {"data__classes": [name], "taxonomy__branches": {name: [0]}} for name in images}
    runs = [make(name=name, data__splits__gate=9, **images[name], **of_data[name]) for name in images]
    # Another split of the same images is no matter of which images they are.
    runs.append(make(name="split", data__splits__gate=8, **images["digits"], **of_data["digits"]))
    assert differing(runs) == ["data.splits.gate", "data.classes", "taxonomy.branches"]
    assert shown_keys(rows(runs), differing(runs)) == ["data.splits.gate"]
    # Of one data set nothing else says it.
    trees = [make(name=str(i), taxonomy__branches={"a": [i]}) for i in range(2)]
    assert shown_keys(rows(trees), differing(trees)) == ["taxonomy.branches"]


def test_runs_by_different_revisions_of_the_code_are_told(make: Make) -> None:
    old, new = f"6e740c0{'5' * 33}", f"c39f087{'a' * 33}-dirty"
    runs = [make(seed, revision=old) for seed in (0, 1)] + [make(2, revision=new), make(3, revision=None)]
    changes = "c39f087 from a working tree with changes that were not committed"
    said = f"The runs are by different revisions of the code: 6e740c0 (2), {changes} (1), an unknown one (1)."
    assert said in list(notes(rows(runs), []))
    # One alone is told where it had changes.
    alone = [make(seed, revision=new) for seed in (0, 1)]
    assert f"The runs are by revision {changes}." in list(notes(rows(alone), []))
    alike = [make(seed, revision=old) for seed in (0, 1)]
    assert not any("revision" in note for note in notes(rows(alike), []))
    # What trained the networks may be another one than what asked them.
    own = make(0, revision=old, trained_by=frozenset({old}))
    later = make(1, revision=old, trained_by=frozenset({old, new}))
    assert not any("revision" in note for note in notes(rows([own]), []))
    assert f"Networks of theirs were trained by other revisions: {changes} (1)." in list(notes(rows([own, later]), []))
