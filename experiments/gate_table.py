"""The table and the plot of a study of gates, from its results files.

python experiments/gate_table.py gate_widths            prints the table
python experiments/gate_table.py gate_widths --write    puts it into the study's README.md, and the plot beside it
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from moe.comparison import Row, collect, machines, revisions, rows
from moe.comparison.columns import difference, percent
from moe.comparison.estimate import Estimate, estimate
from moe.loggers import gate_kind
from moe.report.comparison import level
from moe.report.figure import standalone, style, svg
from moe.report.marked import markdown, put
from moe.report.tradeoffs import Line, against_width, by_row, zero
from moe.results import read
from moe.store import write_whole

MARKS = ("<!-- table: experiments/gate_table.py -->", "<!-- end of table -->")
PLOT = "plot.svg"
# What the plot shows: whether it is against the gate's width.
TITLES = {True: "Test accuracy against the gate's width", False: "Each gate's difference to the uniform average"}
# What gates learn from, by `gate.fit_on`.
LEARNS = {"gate": "held out", "train": "experts' own", "folds": "out of fold"}


def kind(row: Row) -> str:
    return gate_kind({"gate": {"_target_": row.first.config["gate._target_"]}})


def width(row: Row) -> float | None:
    found = row.first.config.get("gate.width")
    return None if found is None else float(found)


def weights(row: Row) -> str:
    return str(row.first.config["gate.weights"])


def rate(row: Row) -> str:
    """The learning rate of a row's gates."""
    return f"{row.first.config['gate.recipe.optimizer.lr']:g}"


def learns(row: Row) -> str:
    """The images that a row's gates learn from."""
    return LEARNS[row.first.config["gate.fit_on"]]


def by_width(made: Sequence[Row]) -> bool:
    """Whether the rows' widths are what is studied: gates of one kind and one kind of weights.

    Where kinds are compared widths differ, too, for each kind has a width of its own.
    """
    kinds = {(kind(row), weights(row)) for row in made}
    return len(kinds) == 1 and len({width(row) for row in made}) > 2


def by_images(made: Sequence[Row]) -> bool:
    """Whether the images that gates learn from are what is studied."""
    return len({learns(row) for row in made}) > 1


def beside(row: Row, made: Sequence[Row]) -> Row | None:
    """Whom a row is held beside, of its kind and rate: the narrowest or, where kinds are studied, that with `joint`.

    Where it is the images to learn from that are studied, that whose gates learn from images which no expert saw.
    """
    alike = [other for other in made if (kind(other), rate(other)) == (kind(row), rate(row))]
    if by_images(made):
        return next((other for other in alike if learns(other) == LEARNS["gate"]), None)
    if by_width(made):
        return min(alike, key=lambda other: width(other) or 0)
    return next((other for other in alike if weights(other) == "joint"), None)


def apart(row: Row, other: Row | None) -> Estimate | None:
    """A row's test accuracy less another's, paired in each seed that both have; None beside none or itself."""
    return None if other is None or other is row else estimate(row.less(other))


def verdict(found: Estimate | None) -> str:
    """A difference with its interval over the seeds, and in bold where that leaves out zero."""
    said = difference(found)
    return f"**{said}**" if found is not None and found.sign else said


def intervals(made: Sequence[Row]) -> str:
    """What the table's intervals are of: the seeds, or the test images of a run that alone has its config."""
    seeds = ", ".join(map(str, sorted({run.seed for row in made for run in row.runs})))
    several = f"mean and half of the 95% interval (Student's t) over the seeds {seeds}"
    if all(row.n > 1 for row in made):
        return f"Test accuracy in %, {several}; differences are paired within each seed"
    single = "differences with the paired 95% interval of one run over its test images, not over seeds"
    if all(row.n == 1 for row in made):
        return f"Test accuracy in % of seed {seeds}; {single}"
    return (
        f"Test accuracy in %, where n is above 1 {several}, with differences paired within each seed; "
        f"where n is 1 that of one run, {single}"
    )


def table(made: Sequence[Row]) -> str:
    """The rows as Markdown, in the order of `val`, with what they are made from."""
    branches = list(made[0].branches)
    rates, images = {rate(row) for row in made}, by_images(made)
    head = ["gate", "weights", "width", *(["rate"] if len(rates) > 1 else []), *(["images"] if images else [])]
    head += ["n", "val", "test", *branches]
    between = [apart(row, beside(row, made)) for row in made]
    among = "less the narrowest, points" if by_width(made) else "less joint, points"
    among = f"less {LEARNS['gate']}, points" if images else among
    head += [
        "less uniform, points",
        "less routed specialists, points",
        "less the base, points",
        *([among] if any(between) else []),
    ]
    head += ["gate parameters", "TFLOP to train" if images else "gates' seconds"]
    lines = []
    for row, found in zip(made, between, strict=True):
        wide, seconds = width(row), [read(run.path)["seconds"]["gates"]["seconds"] for run in row.runs]
        lines.append(
            [
                kind(row),
                weights(row),
                "" if wide is None else f"{wide:.0f}",
                *([rate(row)] if len(rates) > 1 else []),
                *([learns(row)] if images else []),
                str(row.n),
                percent(row.val),
                percent(row.test),
                *(percent(row.branches[name]) for name in branches),
                verdict(row.against("uniform")),
                verdict(row.against("specialists")),
                verdict(row.against("base")),
                *([verdict(found)] if any(between) else []),
                f"{row.mean('gate_parameters') or 0:,.0f}",
                f"{(row.mean('training_flops') or 0) / 1e12:.1f}" if images else f"{sum(seconds) / len(seconds):.1f}",
            ]
        )
    said = (
        f"{intervals(made)}, in bold where their interval leaves out zero. Rows are in the order of val. "
        f"On {'; '.join(machines(run for row in made for run in row.runs))}. {revisions(made) or ''}".rstrip()
    )
    return "\n\n".join([markdown(head, lines, (0, 1)), said, f"![{TITLES[by_width(made)]}]({PLOT})"])


def plot(made: Sequence[Row]) -> str:
    """Accuracy against width where widths differ, else each row's difference to the uniform average, as SVG."""
    first = made[0]
    with style():
        if by_width(made):
            lines = []
            for one in sorted({rate(row) for row in made}, key=float, reverse=True):
                at = [(width(row), row.test) for row in made if rate(row) == one]
                points = sorted((w, test) for w, test in at if w is not None and test is not None)
                lines.append(Line(f"{kind(first)}, rate {one}", points))
            found = {name: level(made, name) for name in ("base", "uniform")}
            levels = {name: level for name, level in found.items() if level is not None}
            return svg(against_width(lines, levels), TITLES[True])
        # A rate that follows from the kind tells nothing.
        several = len({(kind(row), rate(row)) for row in made}) > len({kind(row) for row in made})
        shown = (weights, *([rate] if several else []), learns)
        telling = [said for said in shown if len({said(row) for row in made}) > 1]
        names = [", ".join([kind(row), *(said(row) for said in telling)]) for row in made]
        series = {"less the uniform average": [row.against("uniform") for row in made]}
        return svg(zero(by_row(names, series, "points of test accuracy")), TITLES[False])


def main() -> None:
    here = Path(__file__).parent / sys.argv[1]
    runs, faults = collect([here / "results"])
    assert not faults, faults
    made = rows(runs)
    text = table(made)
    print(text)
    if "--write" in sys.argv[2:]:
        put(here / "README.md", MARKS, text)
        write_whole(here / PLOT, standalone(plot(made)))


if __name__ == "__main__":
    main()
