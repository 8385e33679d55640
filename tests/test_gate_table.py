"""The table and the plot of the studies of gates."""

import runpy
from pathlib import Path

import pytest

from moe.comparison import Row, collect, rows
from moe.comparison.estimate import Estimate
from tests.comparison.conftest import Make, make

__all__ = ["make"]
STUDIES = Path(__file__).parents[1] / "experiments"
TABLE = runpy.run_path(str(STUDIES / "gate_table.py"))
KINDS = {"MLP": 512, "Conv": 32, "Confidence": 64, "Linear": None}


@pytest.mark.parametrize("study", ["gate_widths", "gate_architectures", "gate_rates", "gate_images"])
def test_the_table_is_that_of_the_results_files(study: str) -> None:
    begin, end = TABLE["MARKS"]
    shown = (STUDIES / study / "README.md").read_text().partition(begin)[2].partition(end)[0]
    runs, faults = collect([STUDIES / study / "results"])
    assert faults == [] and shown.strip() == TABLE["table"](rows(runs)).strip()


def test_only_gates_of_one_kind_are_shown_by_their_width(make: Make) -> None:
    def gate(kind: str, width: int | None, weights: str = "joint") -> dict[str, object]:
        wide = {} if width is None else {"gate__width": width}
        return (
            {"name": f"{kind}{width}{weights}", "gate___target_": f"moe.nets.gates.{kind}Gate"}
            | wide
            | {
                "gate__weights": weights,
                "gate__recipe__optimizer__lr": 0.001,
                "gate__fit_on": "gate",
            }
        )

    widths = rows([make(**gate("MLP", width)) for width in (16, 32, 64)])
    assert TABLE["by_width"](widths) and "gate.width" in TABLE["plot"](widths)
    # Four kinds of three widths and none.
    kinds = rows([make(**gate(kind, width)) for kind, width in KINDS.items()])
    assert not TABLE["by_width"](kinds) and "gate.width" not in TABLE["plot"](kinds)
    assert not TABLE["by_width"](widths[:2])
    weights = rows([make(**gate("MLP", 2**i, weights)) for i, weights in enumerate(("joint", "per_class", "a", "b"))])
    assert not TABLE["by_width"](weights)


def gates(make: Make, accuracies: dict[tuple[str, float, int, str], list[float]]) -> list[Row]:
    """A row for each kind, rate, width and weights, with its accuracy of each seed."""
    return rows(
        [
            make(
                seed,
                name=f"{kind}{rate}{width}{weights}",
                test=accuracy,
                gate___target_=f"moe.nets.gates.{kind}Gate",
                gate__width=width,
                gate__weights=weights,
                gate__recipe__optimizer__lr=rate,
                gate__fit_on="gate",
            )
            for (kind, rate, width, weights), each in accuracies.items()
            for seed, accuracy in enumerate(each)
        ]
    )


def held_beside(made: list[Row]) -> dict[tuple[object, ...], Estimate | None]:
    keys = ("gate.recipe.optimizer.lr", "gate.width", "gate.weights")
    return {
        tuple(row.first.config[key] for key in keys): TABLE["apart"](row, TABLE["beside"](row, made)) for row in made
    }


def test_a_width_is_held_beside_the_narrowest_at_its_rate(make: Make) -> None:
    made = gates(
        make,
        {
            ("MLP", 0.1, 16, "joint"): [0.50, 0.60],
            ("MLP", 0.1, 32, "joint"): [0.51, 0.63],
            ("MLP", 0.1, 64, "joint"): [0.49, 0.59],
            ("MLP", 0.2, 16, "joint"): [0.90, 0.90],
        },
    )
    found = held_beside(made)
    assert found[0.1, 16, "joint"] is None and found[0.2, 16, "joint"] is None
    # 1 and 3 points: 2, give or take 12.706 times their standard error, which is 1.
    wider = found[0.1, 32, "joint"]
    assert wider is not None and wider.mean == pytest.approx(0.02)
    assert wider.ci95 == pytest.approx((0.02 - 0.12706, 0.02 + 0.12706), abs=1e-5)
    assert found[0.1, 64, "joint"].mean == pytest.approx(-0.01)  # type: ignore[union-attr]


def test_weights_are_held_beside_joint_of_the_same_kind_in_the_seeds_of_both(make: Make) -> None:
    made = gates(
        make,
        {
            ("Conv", 0.1, 16, "joint"): [0.50, 0.60, 0.99],
            ("Conv", 0.1, 16, "per_class"): [0.51, 0.61],
            ("MLP", 0.1, 16, "per_class"): [0.90, 0.90],
        },
    )
    apart = [TABLE["apart"](row, TABLE["beside"](row, made)) for row in made]
    assert [None if one is None else round(one.mean, 6) for one in apart] == [None, 0.01, None]


def test_images_are_held_beside_those_held_out_by_the_same_kind_and_rate(make: Make) -> None:
    accuracies = {("gate", "MLP"): 0.5, ("folds", "MLP"): 0.53, ("train", "MLP"): 0.48, ("folds", "Conv"): 0.9}
    made = rows(
        [
            make(
                seed,
                name=f"{images}{kind}",
                test=accuracy + 0.01 * seed,
                gate___target_=f"moe.nets.gates.{kind}Gate",
                gate__weights="joint",
                gate__fit_on=images,
                gate__recipe__optimizer__lr=0.1,
            )
            for (images, kind), accuracy in accuracies.items()
            for seed in (0, 1)
        ]
    )
    found = {(row.first.config["gate.fit_on"], TABLE["kind"](row)): row for row in made}
    apart = {key: TABLE["apart"](row, TABLE["beside"](row, made)) for key, row in found.items()}
    assert apart["gate", "mlp"] is None and apart["folds", "conv"] is None
    assert [round(apart[images, "mlp"].mean, 6) for images in ("folds", "train")] == [0.03, -0.02]


def test_what_the_intervals_are_of_goes_by_n(make: Make) -> None:
    one = [make(0, name="one", gate__width=16)]
    two = [make(seed, name="two", gate__width=32) for seed in (1, 2)]
    assert TABLE["intervals"](rows(two)) == (
        "Test accuracy in %, mean and half of the 95% interval (Student's t) over the seeds 1, 2; "
        "differences are paired within each seed"
    )
    images = "differences with the paired 95% interval of one run over its test images, not over seeds"
    assert TABLE["intervals"](rows(one)) == f"Test accuracy in % of seed 0; {images}"
    both = TABLE["intervals"](rows([*one, *two]))
    assert "where n is above 1 mean and half of the 95% interval (Student's t)" in both
    assert both.endswith(f"where n is 1 that of one run, {images}")
