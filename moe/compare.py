"""`python -m moe.compare RUN_OR_FOLDER...`: finished runs side by side, the best on `val` first.

One table as text, JSON or CSV of what `moe.comparison` reads. Torch is imported late, so that `--help` is quick.
"""

import argparse
import csv
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe import command
from moe.checks import scalars
from moe.config import Plain

if TYPE_CHECKING:
    from moe.comparison import Run

MOST_DIFFERENCES = 8
GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a text table; `left` aligns names, numbers stand to the right."""

    title: str
    cells: Sequence[str]
    left: bool = False

    @property
    def width(self) -> int:
        return max(len(cell) for cell in (self.title, *self.cells))

    def line(self, row: int) -> str:
        """One cell, padded; row -1 is the title."""
        cell = self.title if row < 0 else self.cells[row]
        return cell.ljust(self.width) if self.left else cell.rjust(self.width)


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where a run cannot be read, 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)

    from moe.comparison import collect, differing

    runs, faults = collect(args.runs)
    for fault in faults:
        print(f"moe: {fault}", file=sys.stderr)
    differences = differing(runs)
    if args.json:
        print(json.dumps([run.plain(differences) for run in runs], indent=1))
    elif args.csv:
        _write_csv(runs, differences)
    elif runs:
        print(text(runs, differences, shutil.get_terminal_size().columns))
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.compare",
        description="One table of finished runs, the best on val first.",
        epilog="Beside its accuracies (in %) a run has a column for each config key in which the runs differ, the "
        "difference to the uniform average and to the base alone in points with its 95% interval, the number of "
        "parameters, the operations an image as routed and with every network, and the seconds that all its "
        "networks trained, reused ones included. JSON and CSV have fractions, and no column cut or left out.",
    )
    parser.add_argument(
        "runs", metavar="RUN_OR_FOLDER", type=Path, nargs="+", help="a run, or a folder to search for results.json"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list")
    form.add_argument("--csv", action="store_true", help="print CSV")
    return parser


def text(runs: "Sequence[Run]", differences: Sequence[str], width: int) -> str:
    """The table in blocks of whole columns that fit `width`, below it each run's folder and what must be said."""
    from moe.data.pictures import printable

    shown = differences[:MOST_DIFFERENCES]
    numbers = Column("#", [str(number) for number, _ in enumerate(runs, 1)])
    columns = [column for column in _columns(runs, shown) if any(column.cells)]
    blocks = [_block([numbers, *block]) for block in _blocks(columns, width - numbers.width)]
    paths = [f"{numbers.line(row)}{GAP}{printable(run.path)}" for row, run in enumerate(runs)]
    notes = [textwrap.fill(note, width) for note in _notes(runs, differences[MOST_DIFFERENCES:])]
    return "\n\n".join([*blocks, "\n".join([*paths, *notes])])


def _columns(runs: "Sequence[Run]", differences: Sequence[str]) -> Iterator[Column]:
    from moe.comparison import AGAINST, short_names

    yield Column("experiment", [run.experiment + "*" * (run.protocol == "notebook") for run in runs], left=True)
    yield Column("seed", [str(run.seed) for run in runs])
    if len({run.fingerprint for run in runs}) > 1:
        yield Column("data", [f"{run.data}@{run.fingerprint[:6]}" for run in runs], left=True)
    yield Column("val", [_percent(run.val) for run in runs])
    yield Column("test", [_percent(run.test) for run in runs])
    for key, title in zip(differences, short_names(differences), strict=True):
        yield Column(title, [_value(run.config[key]) if key in run.config else "" for run in runs], left=True)
    for name in dict.fromkeys(name for run in runs for name in run.branches):
        yield Column(name, [_percent(run.branches.get(name)) for run in runs])
    yield Column("router", [_percent(run.router) for run in runs])
    for name in AGAINST:
        yield Column(f"vs {name} [95%]", [_difference(run.verdict.get(name)) for run in runs])
    yield Column("parameters", [f"{run.parameters:,}" if run.parameters is not None else "" for run in runs])
    yield Column("MFLOP routed", [_mega(run.routed) for run in runs])
    yield Column("dense", [_mega(run.dense) for run in runs])
    yield Column("seconds", [f"{run.seconds:.0f}" for run in runs])


def _blocks(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in as few groups as fit; a column that alone is too wide is a group of its own."""
    blocks: list[list[Column]] = [[]]
    left = width
    for column in columns:
        left -= len(GAP) + column.width
        if left < 0 and blocks[-1]:
            blocks.append([])
            left = width - len(GAP) - column.width
        blocks[-1].append(column)
    return blocks


def _block(columns: Sequence[Column]) -> str:
    rows = range(-1, len(columns[0].cells))
    return "\n".join(GAP.join(column.line(row) for column in columns).rstrip() for row in rows)


def _notes(runs: "Sequence[Run]", left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        yield f"The runs also differ in {', '.join(left_out)}, which --csv and --json show."
    if any(run.protocol == "notebook" for run in runs):
        yield (
            "* data.splits.protocol=notebook: val is the test set, on which choices were made; these numbers are too "
            "good and compare with no held-out ones."
        )
    if len({run.fingerprint for run in runs}) > 1:
        yield "The runs are on different data: their accuracies do not compare."


def _value(value: Any, most: int = 20) -> str:
    said = (
        value
        if isinstance(value, str)
        else json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace('"', "")
    )
    if said.startswith(("moe.nets.", "torchvision.models.", "torch.optim.")):
        said = said.rpartition(".")[2]
    return said if len(said) <= most else said[: most - 1] + "~"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _mega(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.2f}"


def _difference(verdict: Plain | None) -> str:
    if verdict is None:
        return ""
    said = f"{100 * verdict['difference']:+.2f}"
    if verdict["ci95"]:
        low, high = verdict["ci95"]
        said += f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    return said


def _write_csv(runs: "Sequence[Run]", differences: Sequence[str]) -> None:
    """One line a run, nested keys joined by dots; lists, but for intervals, as JSON."""
    rows = [dict(_flat(run.plain(differences))) for run in runs]
    header = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(sys.stdout, list(header), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _flat(plain: Plain) -> Iterator[tuple[str, Any]]:
    for key, value in scalars(plain):
        if key.endswith(".ci95"):
            low, high = value or (None, None)
            yield f"{key}.low", low
            yield f"{key}.high", high
        else:
            yield key, json.dumps(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
