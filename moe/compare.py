"""`python -m moe.compare RUN_OR_FOLDER...`: finished runs side by side, the best on `val` first.

One table as text, JSON, CSV or a page of what `moe.comparison` reads, without torch, whose import would take longer
than all else.
"""

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe import command
from moe.checks import scalars
from moe.schema import Plain

if TYPE_CHECKING:
    from moe.comparison import Row


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where a run cannot be read, 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)

    from moe.comparison import Row, collect, differing, rows, text

    runs, faults = collect(args.runs)
    for fault in faults:
        print(f"moe: {fault}", file=sys.stderr)
    differences = differing(runs)
    made = [Row((run,)) for run in runs] if args.each else rows(runs)
    if args.json:
        plain = [run.plain(differences) for run in runs] if args.each else [row.plain(differences) for row in made]
        print(json.dumps(plain, indent=1))
    elif args.csv:
        _write_csv(made, differences, args.each)
    elif made:
        print(text(made, differences, shutil.get_terminal_size().columns, args.each))
    if args.html and made:
        _write_page(args.html, args.runs, made, differences, args.each)
        print(f"page  {args.html}", file=sys.stderr if args.json or args.csv else sys.stdout)
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.compare",
        description="One table of finished runs, the best on val first; runs that differ only in the seed in one row.",
        epilog="Beside its accuracies (in %) a row has a column for each config key in which the runs differ, the "
        "difference to the uniform average and to the base alone in points with its 95% interval, the number of "
        "parameters, the operations an image as routed and with every network, and the seconds that all its "
        "networks trained, reused ones included. JSON and CSV have fractions, and no column cut or left out.",
    )
    parser.add_argument(
        "runs", metavar="RUN_OR_FOLDER", type=Path, nargs="+", help="a run, or a folder to search for results.json"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list, with the runs of every row")
    form.add_argument("--csv", action="store_true", help="print CSV")
    parser.add_argument("--runs", dest="each", action="store_true", help="a row for each run, no means over seeds")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write a page with the table and plots")
    return parser


def _write_page(
    file: Path, given: Sequence[Path], rows: "Sequence[Row]", differences: Sequence[str], each: bool
) -> None:
    from moe.report import comparison
    from moe.sweep import record

    folders = {path.parent for place in given for path in sorted(place.rglob(record.SWEEP))}
    sweeps = [sweep for folder in sorted(folders) if (sweep := record.read_sweep(folder))]
    failed = [failure for sweep in sweeps for failure in record.failures(sweep, earlier=True)]
    title = given[0].resolve().name if len(given) == 1 else "Comparison"
    comparison.write(file, title, rows, differences, failed, each)


def _write_csv(rows: "Sequence[Row]", differences: Sequence[str], each: bool) -> None:
    """One line a row, nested keys joined by dots; lists, but for intervals, as JSON."""
    lines = [dict(_flat(row.first.plain(differences) if each else _line(row, differences))) for row in rows]
    header = dict.fromkeys(key for line in lines for key in line)
    writer = csv.DictWriter(sys.stdout, list(header), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)


def _line(row: "Row", differences: Sequence[str]) -> Plain:
    return {**row.plain(differences), "runs": [str(run.path) for run in row.runs]}


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
