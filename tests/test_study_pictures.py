"""The pictures of studies are what their scripts draw from the results files, with the packages of constraints.txt.

Another matplotlib may draw the same otherwise.
"""

import re
import runpy
from importlib.metadata import version
from pathlib import Path

import pytest

from moe.comparison import collect, rows
from moe.report.figure import standalone

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "experiments"
INSTALLED = re.search(r"^matplotlib==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(
    INSTALLED is None or version("matplotlib") != INSTALLED[1], reason="drawn by another matplotlib"
)


@pytest.mark.parametrize("name", ["gate_architectures", "gate_images", "gate_rates", "gate_widths"])
def test_of_gates(name: str) -> None:
    runs, faults = collect([STUDIES / name / "results"])
    assert not faults
    drawn = runpy.run_path(str(STUDIES / "gate_table.py"))["plot"](rows(runs))
    assert (STUDIES / name / "plot.svg").read_bytes() == standalone(drawn)


@pytest.mark.parametrize("name", ["kernels", "thresholds"])
def test_of_kernels_and_thresholds(name: str) -> None:
    table, results = runpy.run_path(str(STUDIES / name / "table.py")), STUDIES / name / "results"
    found = table["read"](results)
    drawn = table["plot"](found, results) if name == "thresholds" else table["plot"](found)
    assert (STUDIES / name / "plot.svg").read_bytes() == standalone(drawn)


@pytest.mark.parametrize("name", ["results", "narrow", "s"])
def test_of_the_verdict(name: str, tmp_path: Path) -> None:
    table = runpy.run_path(str(STUDIES / "verdict" / "table.py"))
    folder = STUDIES / "verdict" / name
    files = set(table["pictures"](folder).values())
    assert files and table["draw"](folder, tmp_path) is None
    for file in files:
        assert (STUDIES / "verdict" / file).read_bytes() == (tmp_path / file).read_bytes(), file
