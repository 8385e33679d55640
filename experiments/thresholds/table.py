"""The table and the plot of this study, from the results files beside this script.

python experiments/thresholds/table.py            prints the table
python experiments/thresholds/table.py --write    puts it into the README.md here, and the plot beside it
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe.comparison import Row, collect, machines, revisions, rows
from moe.comparison.columns import percent, told
from moe.comparison.estimate import estimate
from moe.report.figure import INK, PALETTE, WIDTH, standalone, style, svg
from moe.report.layout import BELOW, add_legend, headroom, new_axes
from moe.report.marked import markdown, put
from moe.report.tradeoffs import LEFT, MARKERS, dots
from moe.store import write_whole
from moe.verdict import rivals
from moe.verdict.significance import corrected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
MARKS = ("<!-- table: experiments/thresholds/table.py -->", "<!-- end of table -->")
PLOT = "plot.svg"
TITLE = "Test accuracy against MFLOP an image"
MIXTURE, OTHERS = "cascaded", ("tuned_cascade", "cascade")
CASCADES = (MIXTURE, *OTHERS)
# What is no cascade, for the plot, of the same networks: the base, and those whose second one is asked of all images.
SINGLE = ("base", "hard", "tuned", "ensemble")
TALL = 2.9  # inches
Curve = dict[float, Row]


def read(results: Path) -> dict[str, Curve]:
    """Each cascade's rows by threshold, the least first. Exits where one has runs that differ in more than the seed."""
    curves = {}
    for name in CASCADES:
        curve = {}
        for folder in results.glob(f"{name}-*"):
            runs, faults = collect([folder])
            if faults or len(made := rows(runs)) > 1:
                sys.exit("\n".join(faults) or f"{folder} holds runs of several configs")
            curve[float(folder.name.removeprefix(f"{name}-"))] = made[0]
        curves[name] = dict(sorted(curve.items()))
    return curves


def compared(curves: Mapping[str, Curve]) -> dict[tuple[float, str], list[float]]:
    """What the cascaded mixture is ahead of each other cascade by, of the same threshold, in each seed of both."""
    mixture = curves[MIXTURE]
    return {
        (threshold, name): row.less(curves[name][threshold])
        for threshold, row in mixture.items()
        for name in OTHERS
        if threshold in curves[name]
    }


def table(curves: Mapping[str, Curve]) -> str:
    """A row for each threshold as Markdown, with what it is made from."""
    apart = compared(curves)
    known = corrected(apart)
    head = ["threshold", "n", "MFLOP an image"]
    for name in CASCADES:
        head += [f"`{name}`, val", "test"]
    head += [f"`{MIXTURE}` less `{name}`, points" for name in OTHERS]
    lines = []
    for threshold, row in curves[MIXTURE].items():
        each = [curves[name].get(threshold) for name in CASCADES]
        cells = [f"{threshold:g}", str(row.n), f"{(row.mean('routed') or 0) / 1e6:.1f}"]
        for one in each:
            few = f" (n={one.n})" if one and one.n != row.n else ""
            cells += [percent(one.val), percent(one.test) + few] if one else ["", ""]
        for name in OTHERS:
            paired, p = apart.get((threshold, name), []), known.get((threshold, name))
            few = f" (n={len(paired)})" if paired and len(paired) < row.n else ""
            cells.append(told(estimate(paired), p and p[1]) + few)
        lines.append(cells)
    every = [row for curve in curves.values() for row in curve.values()]
    said = (
        "Mean over n seeds with half of its 95% interval by Student's t; differences are of the same seed, with "
        f"theirs, in bold where p, the paired t-test's, is below 0.05 by Holm's correction over all {len(known)}. "
        f"MFLOP: of `{MIXTURE}`, the mean over the test images, views included; those of the others are within "
        f"{100 * unlike(curves):.1f} % of it. On {'; '.join(machines(run for row in every for run in row.runs))}."
    )
    return "\n\n".join([markdown(head, lines), " ".join(filter(None, [said, revisions(every)])), f"![{TITLE}]({PLOT})"])


def unlike(curves: Mapping[str, Curve]) -> float:
    """The most by which an image costs another cascade more or less than the mixture's, of the same threshold."""
    costs = [
        abs((curves[name][threshold].mean("routed") or 0) / (row.mean("routed") or 1) - 1)
        for threshold, row in curves[MIXTURE].items()
        for name in OTHERS
        if threshold in curves[name]
    ]
    return max(costs, default=0.0)


def costs_of(rows: Mapping[Any, Row]) -> list[float]:
    """What an image costs each row, in MFLOP."""
    return [(row.mean("routed") or 0) / 1e6 for row in rows.values()]


def draw(curves: Mapping[str, Curve], single: Mapping[str, Row]) -> "Figure":
    """Test accuracy against cost: a line for each cascade through its thresholds, a mark for what is none."""
    figure, axes = new_axes(LEFT, BELOW, WIDTH - LEFT - 0.15, TALL, headroom(CASCADES))
    for i, name in enumerate(CASCADES):
        costs = costs_of(curves[name])
        found = [row.test for row in curves[name].values()]
        axes.plot(costs, [100 * one.mean if one else float("nan") for one in found], color=PALETTE[i], linewidth=1.3)
        dots(axes, costs, found, PALETTE[i], MARKERS[i], name)
    for (name, row), place in zip(single.items(), costs_of(single), strict=True):
        dots(axes, [place], [row.test], INK, "x")
        if row.test:
            # The cheapest has its name on the right, or the axis would cross it.
            side, ha = (6, "left") if place == min(costs_of(single)) else (-6, "right")
            axes.annotate(
                name, (place, 100 * row.test.mean), xytext=(side, 0), textcoords="offset points", ha=ha, va="center"
            )
    axes.margins(x=0.12)
    axes.grid(axis="both")
    axes.set_axisbelow(True)
    axes.set_xlabel("MFLOP an image")
    axes.set_ylabel("test accuracy in %")
    add_legend(figure, axes)
    return figure


def plot(curves: Mapping[str, Curve], results: Path) -> str:
    """What `draw` draws, with what of `results` is no cascade, as SVG."""
    runs, faults = collect([results / name for name in SINGLE])
    if faults:
        sys.exit("\n".join(faults))
    single = {name: row for name, row in rivals(runs).items() if name in SINGLE}
    with style():
        return svg(draw(curves, single), TITLE)


def main() -> None:
    curves = read(HERE / "results")
    if not curves[MIXTURE]:
        sys.exit("nothing has run yet")
    text = table(curves)
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    put(HERE / "README.md", MARKS, text)
    write_whole(HERE / PLOT, standalone(plot(curves, HERE / "results")))


if __name__ == "__main__":
    main()
