"""The verdict's page: who is ahead of whom, in tables that sort, and accuracy against each cost."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from moe import verdict
from moe.comparison import Row
from moe.comparison.columns import Column
from moe.comparison.estimate import pareto
from moe.errors import printable
from moe.report import page, sortable
from moe.report.figure import MUTED, PALETTE, WIDTH, style, svg
from moe.report.layout import BELOW, add_legend, headroom, name_dots, new_axes
from moe.report.tradeoffs import LEFT, MARKERS, by_row, decades, dots, zero
from moe.store import write_whole
from moe.verdict import Contest, Latency, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "verdict.html"
KINDS = ("no mixture", "mixture")
TALL = 3.2  # inches: room for the rivals' names beside their dots
FRONT = "The line is the Pareto front: no other rival costs less and is as accurate, nor costs the same and is more so."
BARS = " What is measured in ms has bars from the least repeat to the greatest and no such line: chance would draw it."


def write(file: Path, title: str, found: Mapping[str, Row], held: Sequence[Contest], latency: Latency | None) -> None:
    """Write the page of at least one rival; it is there whole or not at all. Raises StoreError where it cannot be."""
    said = list(verdict.notes(found, held, latency))
    with style():
        parts = [
            page.heading(f"The verdict of {printable(title)}"),
            page.paragraph(verdict.headline(held)),
            *(page.paragraph(note, "warning" if note.startswith("*") else "soft") for note in said),
            page.section("Rivals", _table("Rivals", verdict.rival_columns(found, latency), "val")),
            page.section("Who is ahead", *_contests(held)),
            page.section("Accuracy against cost", *_costs(found, latency)),
            page.section("Where the mixtures' errors come from", *_regret(found)),
            page.section("Every run", _runs(found, file.parent)),
            sortable.script(),
        ]
    write_whole(file, page.document(printable(title), parts).encode())


def against_cost(found: Mapping[str, Row], costs: "Mapping[str, float | Spread]", axis: str) -> "Figure":
    """Each rival's test accuracy in %, with its interval, against what it costs; the Pareto front as steps.

    A cost that was measured has its median's place, a bar from the least to the greatest, and no front. Mixtures have
    one colour and all else another; of rivals that are the very same networks only the first is shown.
    """
    bars = {name: cost for name, cost in costs.items() if isinstance(cost, Spread)}
    middle = {name: cost.median if isinstance(cost, Spread) else cost for name, cost in costs.items()}
    first = [names[0] for names in verdict.same(found)]
    known = {name: one for name in first if name in costs and (one := found[name].tested) is not None}
    # Intervals of one seed and of several are not of the same thing.
    several = len({row.n for row in found.values()}) > 1
    figure, axes = new_axes(LEFT, BELOW, WIDTH - LEFT - 0.15, TALL, headroom(list(KINDS)))
    decades(axes, [*(middle[name] for name in known), *(end for name in known if name in bars for end in bars[name])])
    for kind, colour, marker in zip(KINDS, PALETTE, MARKERS, strict=False):
        of_kind = [name for name in known if verdict.is_mixture(found[name]) == (kind == KINDS[1])]
        dots(axes, [middle[name] for name in of_kind], [known[name] for name in of_kind], colour, marker, kind)
        for name in of_kind:
            if name in bars:
                ends = bars[name].least, bars[name].greatest
                axes.hlines(100 * known[name].mean, *ends, color=colour, linewidth=1.1, alpha=0.4, zorder=2)
    points = [(middle[name], 100 * one.mean) for name, one in known.items()]
    steps: list[tuple[float, float]] = []
    if not bars:
        front = [points[i] for i in pareto(points)]
        steps = [*front, (max(cost for cost, _ in points), front[-1][1])]  # more cost buys nothing beyond the last
        axes.step(*zip(*steps, strict=True), where="post", color=MUTED, linewidth=1.2, zorder=1)
    axes.grid(axis="both")
    axes.set_axisbelow(True)
    axes.set_xlabel(axis)
    axes.set_ylabel("test accuracy in %")
    name_dots(axes, points, [f"{name}, n={found[name].n}" if several else name for name in known], steps)
    add_legend(figure, axes)
    return figure


def figures(found: Mapping[str, Row], latency: Latency | None) -> "dict[str, Figure]":
    """Accuracy against each cost that is known, by caption."""
    priced: dict[str, dict[str, float | Spread]] = {
        "MFLOP an image, as routed": {name: (row.mean("routed") or 0) / 1e6 for name, row in found.items()},
        "TFLOP to train": {name: (row.mean("training_flops") or 0) / 1e12 for name, row in found.items()},
    }
    for batch in latency.batches if latency else []:
        assert latency is not None
        priced[f"ms an image at a batch of {batch}"] = dict(latency.spreads(found, batch))
    drawn = {}
    for caption, each in priced.items():
        costs = {name: cost for name, cost in each.items() if cost and found[name].test}
        if len(set(costs.values())) > 1:
            drawn[caption] = against_cost(found, costs, caption)
    return drawn


def _costs(found: Mapping[str, Row], latency: Latency | None) -> Iterator[str]:
    drawings = {
        f"Test accuracy against {caption}": svg(figure, f"test accuracy against {caption}")
        for caption, figure in figures(found, latency).items()
    }
    if drawings:
        yield page.paragraph(FRONT + BARS * (latency is not None), "soft")
        yield page.figures(drawings)


def _contests(held: Sequence[Contest]) -> Iterator[str]:
    if held:
        yield _table("Who is ahead", verdict.contest_columns(held))
        caption = "Test accuracy of the first less that of the second"
        names = [f"{one.one} - {one.other}" for one in held]
        figure = zero(by_row(names, {caption: [one.difference for one in held]}, "points, with 95% interval"))
        yield page.figures({caption: svg(figure, caption)})


def _regret(found: Mapping[str, Row]) -> Iterator[str]:
    columns = verdict.regret_columns(found)
    if columns:
        yield _table("Where the mixtures' errors come from", columns)
        yield page.paragraph(
            "In points, of each mixture's test images. Router astray: its first choice was another branch. Outvoted: "
            "an expert on the way was right. Base alone: a cascade let it speak alone.",
            "soft",
        )


def _table(label: str, columns: Sequence[Column], sorted_by: str = "") -> str:
    return sortable.table(label, [column for column in columns if any(column.cells)], sorted_by)


def _runs(found: Mapping[str, Row], folder: Path) -> str:
    runs = [(name, run) for name, row in found.items() for run in (*row.runs, *row.copies)]
    paths = [printable(run.path) for _, run in runs]
    shown = [
        Column("rival", [name for name, _ in runs], [name for name, _ in runs], left=True),
        Column("seed", [str(run.seed) for _, run in runs], [run.seed for _, run in runs]),
        Column("folder", paths, paths, left=True),
    ]
    links = {printable(run.path): quote(os.fsencode(os.path.relpath(run.path, folder))) for _, run in runs}
    return page.details(f"{len(runs)} runs with folders", sortable.table("Every run", shown, "", links))
