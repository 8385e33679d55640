"""`python -m moe.verdict RUN_OR_SWEEP...`: does the mixture pay beside its rivals? The tables of `experiment=verdict`.

Torch is imported late, so that `--help` is quick.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from moe import command
from moe.errors import StoreError
from moe.store.files import write_whole


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where a run cannot be read or used, 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)

    from moe import verdict
    from moe.comparison import collect

    runs, faults = collect(args.runs)
    for fault in faults:
        print(f"moe: {fault}", file=sys.stderr)
    found = verdict.rivals(runs)
    if not found and faults:
        return 1
    if not found:
        where = ", ".join(map(str, args.runs))
        raise StoreError(f"{where}: no run of a rival; python -m moe.train experiment=verdict makes them")
    there = next(place for place in args.runs if place.exists())
    first = there if there.is_dir() else there.parent
    latency = verdict.Latency.read(first / verdict.LATENCY) if not args.latency else verdict.measure(found)
    if args.latency and latency is not None:
        latency.write(first / verdict.LATENCY)
    held = verdict.contests(found)
    print(verdict.text(found, held, latency, shutil.get_terminal_size().columns))
    if args.json:
        write_whole(args.json, json.dumps(verdict.plain(found, held), indent=1).encode())
    if args.html:
        from moe.report import verdict as page

        page.write(args.html, first.resolve().name, found, held, latency)
        print(f"\npage  {args.html}")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.verdict",
        description="The runs of experiment=verdict held against each other: accuracy with intervals, paired "
        "differences, p corrected by Holm, and what each costs to run and to train.",
        epilog="Without --latency that which was measured last for the first of the given folders is shown.",
    )
    parser.add_argument(
        "runs", metavar="RUN_OR_SWEEP", type=Path, nargs="+", help="a run, or a folder to search for results.json"
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="measure how long an image takes each rival on this machine, at batch 1 and at 1024, and keep it as "
        "latency.json in the first folder that exists; needs the networks and the data",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write a page with the tables and plots")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rivals and comparisons as JSON")
    return parser


if __name__ == "__main__":
    main()
