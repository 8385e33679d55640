"""The table and the plot of the studies of gates."""

import runpy
from pathlib import Path

import pytest

from moe.comparison import collect, rows
from tests.comparison.conftest import Make, make

__all__ = ["make"]
STUDIES = Path(__file__).parents[1] / "experiments"
TABLE = runpy.run_path(str(STUDIES / "gate_table.py"))
KINDS = {"MLP": 512, "Conv": 32, "Confidence": 64, "Linear": None}


@pytest.mark.parametrize("study", ["gate_widths", "gate_architectures", "gate_rates"])
def test_the_table_is_that_of_the_results_files(study: str) -> None:
    if not (STUDIES / study / "results").is_dir():
        pytest.skip("the study has not run yet")
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
