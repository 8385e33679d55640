"""The page of many runs side by side: what came of them, a table that sorts, accuracy against width and cost."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from moe.comparison import AGAINST, Row
from moe.comparison.columns import Column, columns, difference, notes, percent
from moe.comparison.estimate import AGREE, Estimate, estimate, pareto
from moe.comparison.names import WIDTH, row_names, shown_keys
from moe.errors import printable
from moe.report import page, sortable, tradeoffs
from moe.report.figure import style, svg
from moe.report.tradeoffs import Line
from moe.store import write_whole
from moe.sweep.record import Failure

BASELINES = {"uniform": "uniform average", "base": "base alone"}
MOST_LINES = 8  # as many as there are colours
FRONT = (
    "Numbered and joined: the Pareto front, where no other row costs less and is as accurate on val, nor costs the "
    "same and is more accurate. Choices are made on val; test accuracy is told beside."
)


def write(
    file: Path,
    title: str,
    rows: Sequence[Row],
    differences: Sequence[str],
    failed: Sequence[Failure] = (),
    by_run: bool = False,
) -> None:
    """Write the page of at least one row; it is there whole or not at all. With `by_run` every row is one run.

    Raises StoreError where it cannot be.
    """
    names = row_names(rows, shown_keys(rows, differences))
    if by_run:
        names = [f"{name}, seed {row.first.seed}" for name, row in zip(names, rows, strict=True)]
    warned = [note for note in notes(rows, differences) if note.startswith("*")]
    said = [note for note in notes(rows, differences) if note not in warned]
    with style():
        parts = [
            page.heading(printable(title)),
            page.paragraph(headline(rows, names, by_run)),
            *(page.paragraph(note, "warning") for note in warned),
            page.section(
                "Runs by val accuracy", _table(rows, differences, by_run), *(page.paragraph(n, "soft") for n in said)
            ),
            page.section("Jobs without results", *_failed(failed)),
            page.section("Against the uniform average and the base", *_differences(rows, names)),
            page.section("Accuracy against gate width", *_width(rows, differences)),
            page.section("Accuracy against cost", *_cost(rows, names)),
            page.section("Accuracy by branch", *_branches(rows, names)),
            page.section("Every run", _runs(rows, file.parent)),
            sortable.script(),
        ]
    write_whole(file, page.document(printable(title), parts).encode())


def headline(rows: Sequence[Row], names: Sequence[str], by_run: bool = False) -> str:
    """What came of the runs: the best on `val` by its test accuracy, and how many rows the gates made better."""
    runs = sum(row.n for row in rows)
    experiments = ", ".join(dict.fromkeys(row.experiment for row in rows))
    parts = [f"{_count(runs, 'run')} of {experiments} in {_count(len(rows), 'row')}."]
    fair = [i for i, row in enumerate(rows) if row.val and not row.on_test]
    if fair and len({row.first.fingerprint for row in rows}) == 1:
        best = rows[fair[0]]
        test = "" if best.test is None else f", and on {percent(best.test)}% of the test images"
        parts.append(f"The best on val is {names[fair[0]]}: right on {percent(best.val)}% of val{test}.")
    against = [one for row in rows if (one := _gain(row))]
    if against:
        better, worse = (sum(one.sign == sign for one in against) for sign in (1, -1))
        parts.append(
            f"Of {_count(len(against), 'row')} whose gates do not merely average, {better} "
            f"beat{'s' * (better == 1)} the uniform average beyond {'its' if better == 1 else 'their'} interval; "
            f"{worse} {'is' if worse == 1 else 'are'} worse beyond it."
        )
        if len(against) > 1 and not by_run:  # seeds of one config are no tries of their own
            parts.append(f"By chance alone it would be about {0.025 * len(against):.1f} on either side.")
    return " ".join(parts)


def _gain(row: Row) -> Estimate | None:
    """The row's test accuracy less the uniform average's, where it says whether its gates are worth it.

    Uniform gates, and those that came to say the very same, are no try at that; a single run without an interval tells
    nothing of it.
    """
    found = row.against("uniform")
    alike = found is not None and (found.half or 0.0) < AGREE and (row.n == 1 or abs(found.mean) < AGREE)
    return None if alike else found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _numbers(rows: Sequence[Row]) -> Column:
    return Column("#", [str(number) for number, _ in enumerate(rows, 1)], list(range(1, len(rows) + 1)))


def _table(rows: Sequence[Row], differences: Sequence[str], by_run: bool) -> str:
    shown = columns(rows, differences, by_run)
    if len(set(shown[0].cells)) == 1:
        shown = shown[1:]  # one experiment, which the headline names
    return sortable.table("Runs by val accuracy", [_numbers(rows), *shown], "val")


def _failed(failed: Sequence[Failure]) -> Iterator[str]:
    if failed:
        yield page.table(("job", "why"), [(failure.job, failure.error) for failure in failed], "words")
        lines = [f"{failure.job}\n  {' '.join(failure.overrides)}" for failure in failed]
        yield page.details("Their overrides", page.code("\n".join(lines)))


def _over_seeds(rows: Sequence[Row]) -> str:
    return ", with 95% intervals over seeds" if any(row.n > 1 for row in rows) else ""


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{number} {name}" for number, name in enumerate(names, 1)]


def _differences(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    drawings = {}
    for baseline in AGAINST:
        found = [row.against(baseline) for row in rows]
        if any(found):
            caption = f"Test accuracy less that of the {BASELINES[baseline]}"
            series = {caption: found}
            figure = tradeoffs.zero(tradeoffs.by_row(_numbered(names), series, "points, with 95% interval"))
            drawings[caption] = svg(figure, caption)
    yield page.figures(drawings)


def _width(rows: Sequence[Row], differences: Sequence[str]) -> Iterator[str]:
    others = [key for key in differences if key != WIDTH]
    kinds: dict[str, list[Row]] = {}
    gates = [row for row in rows if row.first.config.get("target") == "gates"]  # without gates a width says nothing
    wide = [row for row in gates if isinstance(row.first.config.get(WIDTH), int | float) and row.test]
    for row, name in zip(wide, row_names(wide, others), strict=True) if wide else ():
        kinds.setdefault(name, []).append(row)
    if not any(len({row.first.config[WIDTH] for row in kind}) > 1 for kind in kinds.values()):
        return
    # Those first that have the best row on val, as the table.
    lines = [Line(name, _points(kind)) for name, kind in kinds.items()]
    if len(lines) > MOST_LINES:
        yield page.paragraph(f"The {MOST_LINES} of {len(lines)} kinds of gate with the best rows on val.", "soft")
    shown = [row for kind in list(kinds.values())[:MOST_LINES] for row in kind]
    levels = {BASELINES[name]: one for name in AGAINST if (one := level(shown, name))}
    drawing = svg(tradeoffs.against_width(lines[:MOST_LINES], levels), "test accuracy against gate width")
    yield page.figures({f"By kind of gate{_over_seeds(shown)}": drawing})
    if len(levels) < len(AGAINST):
        yield page.paragraph(
            "A baseline that is not the same for all of these rows, whose experts or routing differ, has no line.",
            "soft",
        )


def _points(kind: Sequence[Row]) -> list[tuple[float, Estimate]]:
    return sorted(((row.first.config[WIDTH], row.test) for row in kind if row.test), key=lambda point: point[0])


def level(rows: Sequence[Row], baseline: str) -> Estimate | None:
    """A baseline's accuracy over the seeds, where it is one and the same in all the rows."""
    by_seed: dict[int, set[float | None]] = {}
    for row in rows:
        for run in row.runs:
            by_seed.setdefault(run.seed, set()).add(run.baselines.get(baseline))
    if any(len(values) > 1 for values in by_seed.values()):
        return None
    return estimate([value for values in by_seed.values() for value in values])


def _cost(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    if len({row.first.fingerprint for row in rows}) > 1:
        return  # of other images, which no front compares
    drawings, listed = {}, {}
    for key, caption, scale in (
        ("routed", "MFLOP an image as routed", 1e6),
        ("gate_parameters", "parameters of the gates alone", 1),
    ):
        # A row whose val is the test set is on no front: its choices were made on what the others never saw.
        known = [i for i, row in enumerate(rows) if row.val and not row.on_test and row.mean(key) is not None]
        costs = [(rows[i].mean(key) or 0) / scale for i in known]
        if len(set(costs)) < 2:
            continue
        found = [one for i in known if (one := rows[i].val)]
        figure = tradeoffs.against_cost(costs, found, [i + 1 for i in known], caption)
        caption = caption[0].upper() + caption[1:]
        drawings[caption] = svg(figure, f"val accuracy against {caption}")
        front = pareto([(cost, one.mean) for cost, one in zip(costs, found, strict=True)])
        listed[caption] = [_on_front(rows[known[f]], known[f] + 1, names[known[f]], costs[f]) for f in front]
    if drawings:
        yield page.paragraph(FRONT, "soft")
        yield page.figures(drawings)
        for caption, lines in listed.items():
            yield page.details(f"On the front: {caption}", page.bullets(lines), True)


def _on_front(row: Row, number: int, name: str, cost: float) -> str:
    test = f", test {percent(row.test)}" if row.test else ""
    uniform = row.against("uniform")
    gain = f", against uniform {difference(uniform)}" if uniform else ""
    much = f"{cost:,.0f}" if cost >= 1000 else f"{cost:.4g}"
    return f"{number} {name}: {much}, val {percent(row.val)}{test}{gain}"


def _branches(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    branches = dict.fromkeys(name for row in rows for name in row.branches)
    if branches:
        series = {name: [row.branches.get(name) for row in rows] for name in branches}
        drawing = svg(tradeoffs.by_row(_numbered(names), series, "test accuracy in %"), "test accuracy by true branch")
        yield page.figures({f"Test accuracy by true branch{_over_seeds(rows)}": drawing})


def _runs(rows: Sequence[Row], folder: Path) -> str:
    runs = [(number, run) for number, row in enumerate(rows, 1) for run in (*row.runs, *row.copies)]
    links = {}
    for _, run in runs:
        target = run.path / page.REPORT if (run.path / page.REPORT).is_file() else run.path
        links[printable(run.path)] = quote(os.fsencode(os.path.relpath(target, folder)))
    paths = [printable(run.path) for _, run in runs]
    shown = [
        Column("row", [str(number) for number, _ in runs], [number for number, _ in runs]),
        Column("seed", [str(run.seed) for _, run in runs], [run.seed for _, run in runs]),
        *(
            Column(
                title,
                ["" if value is None else f"{100 * value:.2f}" for value in values],
                values,
            )
            for title, values in (("val", [run.val for _, run in runs]), ("test", [run.test for _, run in runs]))
        ),
        Column("folder", paths, paths, left=True),
    ]
    return page.details(f"{_count(len(runs), 'run')} with folders", sortable.table("Every run", shown, "", links))
