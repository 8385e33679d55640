"""The page of a comparison: what it says, and how it does in a browser."""

import re
import shutil
import subprocess
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from moe.comparison import Row, Run, differing, rows
from moe.comparison.estimate import Estimate
from moe.report import comparison, tradeoffs
from moe.report.tradeoffs import Line
from moe.sweep.record import Failure
from tests.comparison.conftest import Make, make
from tests.pages import Tables

__all__ = ["make"]
NASTY = '<b id="x">&$a$</b><script>'


def twelve(make: Make) -> list[Run]:
    """Two kinds of weights at three widths, two seeds each; the widest joint is best on val, worst on test."""
    made = []
    for i, weights in enumerate(("joint", NASTY)):
        for j, width in enumerate((16, 32, 64)):
            for seed in range(2):
                made.append(
                    make(
                        seed,
                        0.80 + 0.02 * j - 0.01 * i + 0.01 * seed,
                        f"{i}{width}",
                        gate__width=width,
                        gate__weights=weights,
                        test=0.75 - 0.02 * j + 0.001 * seed,
                        verdict={"uniform": {"difference": 0.01 * (j - 1) + 0.0001 * seed, "ci95": [0, 1]}},
                        gate_parameters=50 * width,
                        routed=1e6 + 1e3 * width,
                    )
                )
    return made


def written(folder: Path, runs: list[Run], failed: list[Failure] | None = None) -> Tables:
    comparison.write(folder / "compare.html", "A sweep", rows(runs), differing(runs), failed or [])
    assert [path.name for path in folder.iterdir()] == ["compare.html"]
    found = Tables((folder / "compare.html").read_text())
    assert found.open == [] and len(found.ids) == len(set(found.ids)) and "x" not in found.ids
    return found


def test_what_the_page_says(tmp_path: Path, make: Make) -> None:
    failure = Failure("mlp/width--3", ["gate.width=-3"], Path("sweep/mlp/width--3"), "gate.width must be above 0 <i>")
    page = written(tmp_path, twelve(make), [failure])
    assert page.titles == [
        "Runs by val accuracy",
        "Jobs without results",
        "Against the uniform average and the base",
        "Accuracy against gate width",
        "Accuracy against cost",
        "Accuracy by branch",
        "Every run",
    ]
    table, failed, runs = page.tables
    # joint at 64: val .84, .85; t of one degree of freedom is 12.7062: 12.7062 * .00707107 / sqrt(2) = .0635.
    assert table[0][:6] == ["#", "n", "val", "test", "width", "weights"]
    assert table[1][:6] == ["1", "2", "84.50 ±6.35", "71.05 ±0.64", "64", "joint"]
    assert [row[2].split()[0] for row in table[1:]] == ["84.50", "83.50", "82.50", "81.50", "80.50", "79.50"]
    assert table[2][5] == NASTY[:19] + "~"
    assert failed[1] == ["mlp/width--3", "gate.width must be above 0 <i>"]
    assert "mlp/width--3\n  gate.width=-3" in page.text
    assert len(runs) == 13 and runs[1] == ["1", "0", "84.00", "71.00", "064-0"]
    # Differences of -.01, 0, .01 and half the interval 12.7062 * .0000707107 / sqrt(2) = .000635, for both weights.
    assert "12 runs of demo in 6 rows. The best on val is width 64, joint: right on 84.50 ±6.35% of val" in page.text
    assert (
        "Of 6 rows whose gates do not merely average, 2 beat the uniform average beyond their interval; 2 are worse "
        "beyond it. By chance alone it would be about 0.2 on either side."
    ) in " ".join(page.text.split())
    # On the front of parameters: the more of them the better on val, joint always before.
    front = re.findall(r"\d width (\d+), joint: ([\d,]+), val", page.text.replace("\n", " "))
    assert front[-3:] == [("16", "800"), ("32", "1,600"), ("64", "3,200")]


def test_a_page_of_single_runs_tells_them_apart_by_seed(tmp_path: Path, make: Make) -> None:
    said = {"uniform": {"difference": 0.01, "ci95": [-0.01, 0.03], "mcnemar_p": 0.5}}
    runs = [replace(run, verdict=said) for run in twelve(make)]
    each = [Row((run,)) for run in sorted(runs, key=lambda run: -(run.val or 0))]
    comparison.write(tmp_path / "each.html", "Each", each, differing(runs), by_run=True)
    page = Tables((tmp_path / "each.html").read_text())
    place = page.tables[0][0].index("seed")
    assert [line[place] for line in page.tables[0][1:3]] == ["1", "0"] and "n" not in page.tables[0][0]
    assert ", seed 1: right on 85.00% of val" in page.text and "By chance alone" not in page.text


def test_what_there_is_nothing_of_is_left_out(tmp_path: Path, make: Make) -> None:
    nothing: dict[str, Any] = {"verdict": {}, "baselines": {}, "branches": {}, "test": None, "router": None}
    page = written(
        tmp_path, [make(val=None, parameters=None, gate_parameters=None, routed=None, dense=None, **nothing)]
    )
    assert page.titles == ["Runs by val accuracy", "Every run"]
    assert "1 run of demo in 1 row." in page.text


def test_selection_on_the_test_set_is_said_and_is_never_the_best(tmp_path: Path, make: Make) -> None:
    runs = [make(val=0.9, name="a", protocol="notebook", data__splits__protocol="notebook")]
    runs.append(make(val=0.8, name="b", data__splits__protocol="held_out"))
    page = written(tmp_path, runs)
    assert "The best on val is held_out: right on 80.00%" in page.text
    assert "* data.splits.protocol=notebook: val is the test set" in page.text


def test_no_row_is_on_the_front_whose_val_is_the_test_set_nor_of_other_images(tmp_path: Path, make: Make) -> None:
    def front(*runs: Run) -> list[str]:
        comparison.write(tmp_path / "compare.html", "", rows(runs), differing(runs), [])
        text = Tables((tmp_path / "compare.html").read_text()).text.replace("\n", " ")
        return re.findall(r"parameters of the gates alone.*?(\d) width (\d+)[^:]*: ([\d,]+), val", text)

    def widths(**given: Any) -> list[Run]:
        return [
            make(val=0.5 + width / 1000, name=f"{width}", gate__width=width, gate_parameters=width)
            for width in (16, 32)
        ]

    honest = widths()
    cheat = make(val=0.9, name="n", gate__width=8, gate_parameters=8, protocol="notebook")
    alone = front(*honest)
    assert alone and front(*honest, cheat)[0][1:] == alone[0][1:]
    other = make(val=0.9, name="o", gate__width=8, gate_parameters=8, fingerprint="beef")
    assert front(*honest, other) == []


def test_a_network_without_gates_has_no_place_among_widths(make: Make) -> None:
    gates = [make(val=0.5, name=f"{width}", gate__width=width) for width in (16, 32)]
    base = make(val=0.6, name="base", gate__width=64, target="base", test=0.9, baselines={})
    drawn = "".join(comparison._width(rows([*gates, base]), ["gate.width", "target"]))
    # Of the base, whose width is a default, the axis has no tick, and the baselines of the gates keep their lines.
    assert ">16<" in drawn and ">32<" in drawn and ">64<" not in drawn
    assert "has no line" not in drawn and "uniform average" in drawn


def test_uniform_gates_are_not_counted_among_those_that_try(make: Make) -> None:
    def row(name: str, *differences: float, **given: Any) -> list[Run]:
        told = [{"uniform": {"difference": one, "ci95": [one - 0.01, one + 0.01]}} for one in differences]
        return [make(name=name, seed=s, verdict=said, gate__width=name, **given) for s, said in enumerate(told)]

    same = {"uniform": {"difference": 0.0, "ci95": [0.0, 0.0]}}  # one run of uniform gates: image by image alike
    made = [
        *row("better", 0.02),
        *row("agreeing", 0.001, 0.001),  # each seed better by as much: no interval, and yet gates that weigh
        *row("uniform", 0.0, 0.0),
        make(name="single", verdict=same, gate__width="single"),
        make(name="untold", verdict={"uniform": {"difference": 0.1, "ci95": None}}, gate__width="untold"),
    ]
    found = rows(made)
    said = comparison.headline(found, [row.first.path.name for row in found])
    assert "Of 2 rows whose gates do not merely average, 1 beats the uniform average beyond its interval; 0" in said


def test_the_width_plot_holds_means_intervals_and_levels() -> None:
    found = [Estimate(0.5, (0.4, 0.6)), Estimate(0.7, (0.65, 0.75))]
    lines = [Line("joint", [(16, found[0]), (64, found[1])]), Line("per_class", [(16, found[1])])]
    axes = tradeoffs.against_width(lines, {"uniform average": Estimate(0.45, (0.44, 0.46))}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["16", "64"]
    drawn = {str(line.get_label()): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn["joint"] == pytest.approx([50, 70]) and drawn["uniform average"] == pytest.approx([45, 45])
    bars = [segment[:, 1].tolist() for bar in axes.collections for segment in bar.get_segments()]  # type: ignore[attr-defined]
    assert bars == [pytest.approx([40, 60]), pytest.approx([65, 75]), pytest.approx([65, 75])]


def test_the_cost_plot_joins_the_front_and_names_it() -> None:
    # Of these the third costs more than the second and is worse; the first and the last are alike.
    found = [Estimate(0.6), Estimate(0.7), Estimate(0.65), Estimate(0.6)]
    axes = tradeoffs.against_cost([0, 100, 1000, 0], found, [1, 2, 3, 4], "parameters").axes[0]
    assert {text.get_text(): text.xy for text in axes.texts} == {  # type: ignore[attr-defined]
        "1, 4": (0, pytest.approx(60)),
        "2": (100, pytest.approx(70)),
    }
    (steps,) = (line for line in axes.get_lines() if line.get_drawstyle() == "steps-post")
    assert list(steps.get_xdata()) == [0, 0, 100, 1000]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "50", "100", "200", "500", "1k", "2k"]


PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), heads = [...table.tHead.rows[0].cells];
  const column = heads.findIndex((head) => head.textContent.startsWith("gate parameters"));
  const said = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(" ");
  const out = [innerWidth, document.documentElement.scrollWidth, heads[2].getAttribute("aria-sort"), said()];
  const button = heads[column].querySelector("button");
  for (let click = 0; click < 2; click++) {
    button.click();
    out.push(heads[column].getAttribute("aria-sort"), said());
  }
  out.push(String(heads[2].getAttribute("aria-sort")));
  const box = document.createElement("pre");
  box.id = "probe";
  box.textContent = out.join("|");
  parent.document.body.append(box);
});
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_the_table_sorts_and_nothing_is_wider_than_the_window(
    tmp_path: Path, make: Make, width: int
) -> None:
    runs = twelve(make)
    (tmp_path / "page").mkdir()
    written(tmp_path / "page", runs)
    page = (tmp_path / "page" / "compare.html").read_text().replace("</body>", PROBE + "</body>")
    # Chromium's own windows are at least 500 wide; a frame is as a phone's.
    file = tmp_path / "frame.html"
    file.write_text(f'<iframe style="width: {width}px; height: 844px; border: 0" srcdoc="{escape(page)}"></iframe>')
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --dump-dom"
    done = subprocess.run(
        [
            "chromium",
            *flags.split(),
            f"--user-data-dir={tmp_path / 'chromium'}",
            f"--window-size={width},844",
            str(file),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    probe = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout)
    assert probe, done.stderr
    inner, scroll, before, order, first, falling, second, rising, after = probe[1].split("|")
    assert int(inner) == width and int(scroll) <= int(inner)
    assert (before, order) == ("descending", "1 2 3 4 5 6")
    # By val: two rows of 64, two of 32, two of 16: of 3,200, 1,600 and 800 parameters, where as text 800 would be the
    # largest. Equals stay in their order.
    assert (first, falling) == ("descending", "1 2 3 4 5 6")
    assert (second, rising) == ("ascending", "5 6 3 4 1 2")
    assert after == "null"
