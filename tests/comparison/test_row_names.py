"""Rows are named by what tells them apart."""

from moe.comparison import differing, rows
from moe.comparison.names import row_names, said
from tests.comparison.conftest import Make

MLP, CONV, CONSTANT = (f"moe.nets.gates.{kind}Gate" for kind in ("MLP", "Conv", "Constant"))


def test_what_follows_from_the_kind_of_gate_is_not_said(make: Make) -> None:
    runs = [
        make(val=0.9, name="a", gate___target_=MLP, gate__width=512, gate__weights="joint"),
        make(val=0.8, name="b", gate___target_=CONV, gate__width=32, gate__weights="joint"),
        make(val=0.7, name="c", gate___target_=CONSTANT, gate__weights="joint"),
        make(val=0.6, name="d", gate___target_=CONSTANT, gate__weights="per_class"),
    ]
    assert row_names(rows(runs), differing(runs)) == [
        "MLP, joint",
        "Conv, joint",
        "Constant, joint",
        "Constant, per_class",
    ]
    # With a second width of the same kind it is.
    runs.append(make(val=0.5, name="e", gate___target_=MLP, gate__width=16, gate__weights="joint"))
    assert row_names(rows(runs), differing(runs))[0] == "MLP, width 512, joint"
    assert row_names(rows(runs), differing(runs))[4] == "MLP, width 16, joint"


def test_rows_alike_in_everything_are_called_by_their_experiment(make: Make) -> None:
    made = rows([make(seed=0), make(seed=1)])
    assert row_names(made, []) == ["demo"]
    assert row_names(rows([make(protocol="notebook")]), []) == ["demo*"]


def test_values_in_few_letters() -> None:
    assert said("torchvision.models.resnet18") == "resnet18" and said("a.b") == "a.b"
    assert said([[8], [16]]) == "[[8],[16]]" and said({"a": ["x"]}) == "{a:[x]}" and said(None) == "null"


def test_a_rival_is_named_by_itself_where_that_tells_all_apart(make: Make) -> None:
    made = rows(
        [
            make(name="a", val=0.9, rival="hard", base__match="none", gate__width=8),
            make(name="b", val=0.8, rival="longer", base__match="epochs", gate__width=16),
        ]
    )
    runs = [row.first for row in made]
    assert row_names(made, differing(runs)) == ["hard", "longer"]
    twice = rows([make(name="a", val=0.9, rival="hard", gate__width=8), make(val=0.8, rival="hard", gate__width=16)])
    assert row_names(twice, differing([row.first for row in twice])) == ["width 8", "width 16"]
