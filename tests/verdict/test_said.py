"""What is said of rivals: the headline, and the columns in their units."""

import pytest

from moe.verdict import contest_columns, contests, headline, regret_columns, rival_columns, rivals, text
from tests.verdict.contested import REGRET, run

T1 = 12.706205  # Student's t of one degree of freedom, 97.5 %


def test_the_headline_says_who_is_told_apart() -> None:
    mixture = [run("hard", seed, right) for seed, right in enumerate((80, 81, 82))]
    others = [run("base", seed, right) for seed, right in enumerate((10, 10, 12))]
    ahead = [run("wider", seed, right) for seed, right in enumerate((180, 180, 182))]
    equal = [run("ensemble", seed, right) for seed, right in enumerate((80, 90, 71))]
    said = headline(contests(rivals([*mixture, *others, *ahead, *equal])))
    assert said == (
        "The mixture is ahead of base (+703.33), routed uniform (+760.00); behind wider (-996.67); not told apart from "
        "ensemble (+6.67): points of test accuracy over 3 seeds, at a Holm-corrected p below 0.05. Of what costs the "
        "same to run and to train, within a tenth (base, ensemble, wider), it is ahead of 1 in 3; the least difference "
        "is -996.67 (wider)."
    )
    # Half as dear to run and not behind, for all that is known: that is said. Beside what it is ahead of it is not.
    half = {"routed": 1e6}
    equal = [run("ensemble", seed, right, **half) for seed, right in enumerate((80, 90, 71))]
    others = [run("base", seed, right, **half) for seed, right in enumerate((10, 10, 12))]
    assert headline(contests(rivals([*mixture, *equal, *others]))).endswith(
        "below 0.05. Cheaper to run, no dearer to train, and not shown to be behind it: ensemble (2.0 times cheaper)."
    )
    # A rival of one seed is not judged, and no count is of it.
    said = headline(contests(rivals([*mixture, *others, ahead[0]])))
    assert "not judged beside wider (-1000.00, 1 seed)" in said and "wider)." not in said
    assert headline([]).startswith("There is no run of rival=hard")


def test_the_headline_says_of_the_mixture_of_kernels_what_it_says_of_the_other() -> None:
    kernels = [run("kernels", seed, right, config={"base.match": "kernels"}) for seed, right in enumerate((80, 81, 82))]
    wider = [run("wider", seed, right) for seed, right in enumerate((10, 10, 12))]
    # 7, 7.1 and 7 in parts of one.
    assert headline(contests(rivals([*kernels, *wider]))) == (
        "There is no run of rival=hard that shares a seed with another rival: nothing to judge. The mixture of kernels "
        "is ahead of wider (+703.33): points of test accuracy over 3 seeds, at a Holm-corrected p below 0.05. Of what "
        "costs the same to run and to train, within a tenth (wider), it is ahead of 1 in 1; the least difference is "
        "+703.33 (wider)."
    )


def test_a_base_says_what_it_became_to_cost_what_the_mixture_does() -> None:
    said = {"base.members": 1, "base.recipe.epochs": 8, "base.net.widths": [16, 64, 64]}
    became = {
        "wider": {"members": 1, "epochs": 8, "net": {"widths": [24, 96, 96]}},
        "kernels": {"members": 1, "epochs": 8, "net": {"widths": [22, 88, 88], "kernels": 8}},
        "ensemble": {"members": 2, "epochs": 8, "net": {"widths": [16, 64, 64]}},
        "longer": {"members": 1, "epochs": 16, "net": {"widths": [16, 64, 64]}},
    }
    found = rivals([run(name, 0, 8, matched=matched, config=said) for name, matched in became.items()])
    cells = {column.title: dict(zip(found, column.cells, strict=True)) for column in rival_columns(found, None)}
    assert cells["as matched"] == {
        "wider": "channels [24,96,96]",
        "kernels": "8 kernels, channels [22,88,88]",
        "ensemble": "2 members",
        "longer": "16 epochs",
    }


def test_columns_say_cost_and_regret_in_their_units() -> None:
    found = rivals([run("hard", 0, 8, regret=REGRET), run("base", 0, 7)])
    cells = {column.title: dict(zip(found, column.cells, strict=True)) for column in rival_columns(found, None)}
    # Of 10 images 8: Wilson's interval is 0.8 + 3.8415 / 20 -+ 1.96 sqrt(0.016 + 3.8415 / 400), all over 1.38415.
    assert cells["test"]["hard"] == "80.00 [49.02, 94.33]" and cells["MFLOP routed"]["hard"] == "2.00"
    assert cells["TFLOP to train"]["base"] == "4" and cells["n"]["base"] == "1"
    regret = {column.title: column.cells for column in regret_columns(found)}
    assert regret == {
        "points of error": ["hard"],
        "all": ["20.00"],
        "base alone": ["0.00"],
        "router astray": ["10.00"],
        "all experts wrong": ["5.00"],
        "outvoted": ["5.00"],
    }
    two = rivals([run("hard", seed, 8, regret={**REGRET, "router": router}) for seed, router in ((0, 0.1), (1, 0.3))])
    assert {column.title: column.cells for column in regret_columns(two)}["router astray"] == ["20.00"]
    held = contests(found)
    assert [column.cells[0] for column in contest_columns(held)] == [
        *("hard - base", "1", "+10.00 [-9.60, +29.60]", "1", "1", "+0.00", "1.00", "1.00")
    ]
    whole = text(found, held, None, 80)
    assert max(map(len, whole.splitlines())) <= 80 and "McNemar's exact" in " ".join(whole.split())


def test_the_difference_on_val_is_of_the_same_seeds() -> None:
    mixture = [run("hard", seed, 8, val=val) for seed, val in ((0, 0.7), (1, 0.9), (7, 0.1))]
    base = [run("base", 0, 7, val=0.6), run("base", 1, 6, val=0.6)]
    one, free = contests(rivals([*mixture, *base]))
    # 0.1 and 0.3; nothing says what the average of experts is on val.
    assert one.on_val is not None and one.on_val.mean == pytest.approx(0.2)
    assert one.on_val.ci95 == pytest.approx((0.2 - T1 * 0.1, 0.2 + T1 * 0.1))
    assert free.on_val is None
    *_, shown, _, _ = contest_columns([one, free])
    assert (shown.title, shown.cells[1]) == ("on val [95%]", "") and shown.cells[0].startswith("+20.00 [-107.06, ")
    # Where val is the test set it says nothing more, and of runs without it nothing.
    for given in ({"protocol": "notebook"}, {"val": None}):
        made = [run("hard", 0, 8, **given), run("base", 0, 7, **given)]
        assert contests(rivals(made))[0].on_val is None
