"""The comparison's columns, as a terminal and a page show them, and what must be said below the table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from moe.comparison.estimate import Estimate
from moe.comparison.names import said, short_names, shown_keys
from moe.comparison.rows import Row, revisions, sameness
from moe.comparison.runs import AGAINST, Run
from moe.results.table import SIGNIFICANT

MOST_NAMED = 12  # of the keys that have no column


@dataclass(frozen=True)
class Column:
    """A column: what its cells say and, number for number, what they are sorted by; `left` aligns names."""

    title: str
    cells: Sequence[str]
    values: Sequence[float | str | None]
    left: bool = False

    @cached_property
    def width(self) -> int:
        return max(len(cell) for cell in (self.title, *self.cells))

    def line(self, row: int) -> str:
        """One cell, padded; row -1 is the title."""
        cell = self.title if row < 0 else self.cells[row]
        return cell.ljust(self.width) if self.left else cell.rjust(self.width)


def told(one: Estimate | None, p: float | None) -> str:
    """A difference as `difference` has it, in bold where its p, corrected, is below the level."""
    said = difference(one)
    return f"**{said}**" if p is not None and p < SIGNIFICANT else said


def minutes(row: Row, digits: int = 1) -> str:
    """A row's minutes of training: of one run its own, of several the median with the least and the greatest."""
    each = [f"{one / 60:.{digits}f}" for one in sorted(run.seconds for run in row.runs)]
    middle = f"{median(run.seconds for run in row.runs) / 60:.{digits}f}"
    return middle if len(each) == 1 else f"{middle} ({each[0]} to {each[-1]})"


def columns(rows: Sequence[Row], differences: Sequence[str], by_run: bool = False) -> list[Column]:
    """The table's columns but the number of the row; those without a single cell are left out.

    With `by_run` every row is one run, which has a seed and no count of them.
    """
    return [column for column in _columns(rows, shown_keys(rows, differences), by_run) if any(column.cells)]


def _columns(rows: Sequence[Row], differences: Sequence[str], by_run: bool) -> Iterator[Column]:
    yield _words("experiment", [row.experiment + "*" * row.on_test for row in rows])
    if by_run:
        yield numbers("seed", [row.first.seed for row in rows], "{:.0f}")
    else:
        yield numbers("n", [row.n for row in rows], "{:.0f}")
    if len({row.first.fingerprint for row in rows}) > 1:
        yield _words("data", [f"{row.first.data}@{row.first.fingerprint[:6]}" for row in rows])
    yield _accuracies("val", [row.val for row in rows])
    yield _accuracies("test", [row.test for row in rows])
    for key, title in zip(differences, short_names(differences), strict=True):
        yield _settings(title, [row.first.config.get(key) for row in rows], [key in row.first.config for row in rows])
    for name in dict.fromkeys(name for row in rows for name in row.branches):
        yield _accuracies(name, [row.branches.get(name) for row in rows])
    yield _accuracies("router", [row.router for row in rows])
    for name in AGAINST:
        differ = [row.against(name) for row in rows]
        yield Column(f"vs {name} [95%]", [difference(one) for one in differ], _means(differ))
    yield numbers("gate parameters", [row.mean("gate_parameters") for row in rows], "{:,.0f}")
    yield numbers("parameters", [row.mean("parameters") for row in rows], "{:,.0f}")
    yield numbers("MFLOP routed", [scaled(row.mean("routed"), 1e6) for row in rows], "{:,.2f}")
    yield numbers("dense", [scaled(row.mean("dense"), 1e6) for row in rows], "{:,.2f}")
    yield numbers("seconds", [row.mean("seconds") for row in rows], "{:.0f}")


def _words(title: str, cells: Sequence[str]) -> Column:
    return Column(title, cells, cells, left=True)


def numbers(title: str, values: Sequence[float | None], form: str) -> Column:
    """A column of numbers as `form` says them, empty where there is none."""
    return Column(title, ["" if value is None else form.format(value) for value in values], values)


def _accuracies(title: str, found: Sequence[Estimate | None]) -> Column:
    # Means stand below each other, whether an interval follows or not.
    said = [percent(one).partition(" ") for one in found]
    longest = max((len(half) for _, _, half in said), default=0)
    cells = [f"{mean} {half:<{longest}}" if mean and longest else mean for mean, _, half in said]
    return Column(title, cells, _means(found))


def _means(found: Sequence[Estimate | None]) -> list[float | None]:
    return [None if one is None else one.mean for one in found]


def _settings(title: str, values: Sequence[object], there: Sequence[bool], most: int = 20) -> Column:
    words = [said(value) if known else "" for value, known in zip(values, there, strict=True)]
    cells = [word if len(word) <= most else word[: most - 1] + "~" for word in words]
    numbers = [value for value, known in zip(values, there, strict=True) if known]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        return Column(title, cells, [float(word) if word else None for word in words], left=True)
    return Column(title, cells, [word or None for word in words], left=True)


def percent(found: Estimate | None) -> str:
    """An accuracy in %, with half its interval where it has one, or its ends where that shows them not alike."""
    if found is None:
        return ""
    said = f"{100 * found.mean:.2f}"
    if found.ci95 is None or found.half is None:
        return said
    low, high = (f"{100 * end:.2f}" for end in found.ci95)
    alike = abs(100 * (sum(found.ci95) / 2 - found.mean)) < 0.05
    return f"{said} ±{100 * found.half:.2f}" if alike else f"{said} [{low}, {high}]"


def difference(found: Estimate | None) -> str:
    """A difference in points with its interval."""
    if found is None:
        return ""
    ends = found.ci95 and f" [{100 * found.ci95[0]:+.2f}, {100 * found.ci95[1]:+.2f}]"
    return f"{100 * found.mean:+.2f}{ends or ''}"


def scaled(value: float | None, unit: float) -> float | None:
    """A number in units of so much, None where it is not known."""
    return None if value is None else value / unit


def notes(rows: Sequence[Row], differences: Sequence[str]) -> Iterator[str]:
    """What must be said of a table: what its intervals are of, and what cannot be compared."""
    several, single = any(row.n > 1 for row in rows), any(row.n == 1 and row.against("uniform") for row in rows)
    if several:
        yield (
            "± and [ ] where n is above 1: 95% interval of the mean over n seeds, Student's t with n - 1 degrees of "
            "freedom; differences are paired within each seed."
        )
    if single:
        yield (
            ("[ ] where n is 1: " if several else "[ ]: ")
            + "the paired 95% interval of one run over its test images; how another seed trains is not in it."
        )
    if several and (said := "; ".join(_lacking(rows))):
        yield f"Not every row has every seed: {said}. A seed lost to a failure can lift a row's mean."
    if any(row.copies for row in rows):
        count = sum(len(row.copies) for row in rows)
        runs = "1 run of a config and seed that is" if count == 1 else f"{count} runs of a config and seed that are"
        yield f"Left out: {runs} here already with the same numbers."
    alike: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        alike.setdefault(sameness(row.first), []).append(number)
    for numbers in alike.values():
        if len(numbers) > 1 and _repeats([rows[number - 1] for number in numbers]):
            yield (
                f"Rows {', '.join(map(str, numbers))} are of one config: the same seed came to different numbers, and "
                "no seed counts twice."
            )
    shown = shown_keys(rows, differences)
    if left_out := [key for key in differences if key not in shown]:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        yield f"The runs also differ in {', '.join(left_out[:MOST_NAMED])}{more}, which --csv and --json show."
    if any(row.on_test for row in rows):
        yield (
            "* data.splits.protocol=notebook: val is the test set, on which choices were made; these numbers are too "
            "good and compare with no held-out ones."
        )
    if len({row.first.fingerprint for row in rows}) > 1:
        yield "The runs are on different data: their accuracies do not compare."
    if by := revisions(rows):
        yield by


def _repeats(rows: Sequence[Row]) -> bool:
    """Whether in rows of one config a seed came to different numbers."""
    runs, first = [run for row in rows for run in row.runs], dict[int, Run]()
    return any(run.accuracies() != first.setdefault(run.seed, run).accuracies() for run in runs)


def _lacking(rows: Sequence[Row]) -> Iterator[str]:
    """Which rows lack which of the seeds that others of the same data and protocol have."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        seeds.setdefault(_setting(row), set()).update(run.seed for run in row.runs)
    lacking: dict[tuple[int, ...], list[int]] = {}
    for number, row in enumerate(rows, 1):
        missing = seeds[_setting(row)] - {run.seed for run in row.runs}
        lacking.setdefault(tuple(sorted(missing)), []).append(number)
    for missing_seeds, numbers in lacking.items():
        if missing_seeds:
            verb = "lack" if len(numbers) > 1 else "lacks"
            yield f"{_listed('row', numbers)} {verb} {_listed('seed', missing_seeds)}"


def _setting(row: Row) -> tuple[str, str]:
    return row.first.fingerprint, row.first.protocol


def _listed(noun: str, numbers: Sequence[int]) -> str:
    """Rising numbers behind their noun, three or more that follow each other as a range: "rows 1-3, 5"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    said = [f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in ranges]
    return f"{noun}{'s' * (len(numbers) > 1)} {', '.join(said)}"
