"""`python -m moe.store list|verify|prune`: look after the store. It needs no torch."""

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from moe import command
from moe.errors import StoreError
from moe.store import Entry, Store

HOUR, DAY = 3600, 86400
KINDS = ("base", "expert", "router", "gates", "outputs")


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where the store is missing or damaged, 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if not args.root.is_dir():
        raise StoreError(f"{args.root} is no folder; name the store with --root DIR or the variable MOE_STORE")
    store = Store(args.root)
    if args.command == "list":
        return _list(store)
    if args.command == "verify":
        return _verify(store)
    return _prune(store, args.older, args.kind, args.yes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.store",
        description="Look after the store of trained networks and of their outputs.",
        epilog="Deleting from the store loses time, not results; but evaluate, predict and moe.load need the "
        "networks of the run that they open.",
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("MOE_STORE", "store")).expanduser(),
        help="the store's folder (default: MOE_STORE, else ./store)",
    )
    commands = parser.add_subparsers(dest="command", metavar="list|verify|prune", required=True)
    commands.add_parser("list", help="what is there: key, kind, name, size, age and the seconds that it took")
    commands.add_parser("verify", help="check every entry's checksum; exit code 1 where one is damaged")
    prune = commands.add_parser(
        "prune",
        help="remove what is damaged or of no use",
        description="Say what would be removed, and remove it with --yes: damaged entries, those put aside too, what "
        "writes left unfinished more than an hour ago, outputs of networks that are gone or trained anew; and with "
        "--older or --kind the whole entries that both describe, together with the outputs of those networks; with "
        "--older alone also checkpoints of training that was ended so long ago. What another process is training or "
        "writing stays; networks that a run under way only reads do not.",
    )
    prune.add_argument("--yes", action="store_true", help="remove it")
    prune.add_argument("--older", metavar="DAYS", type=_days, help="entries made more than so many days ago")
    prune.add_argument("--kind", choices=KINDS, action="append", help="entries of this kind; may be repeated")
    return parser


def _days(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, 0 or above")
    return number


def _list(store: Store) -> int:
    entries = store.entries()
    names = {entry.key: str(entry.record.get("name", "")) for entry in entries}
    total = 0
    rows = [("key", "kind", "name", "size", "age", "seconds")]
    for entry in entries:
        total += _size(entry.path)
        seconds = entry.record.get("seconds")
        rows.append(
            (
                entry.key,
                str(entry.record["kind"]),
                names[entry.key] or _outputs_name(entry, names),
                _bytes(_size(entry.path)),
                _age(entry),
                "" if seconds is None else f"{seconds:.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        print("  ".join([*left, *right]).rstrip())
    print(f"{_entries(len(entries))}, {_bytes(total)}, in {store.root}")
    unfinished = store.unfinished()
    if unfinished:
        held = _bytes(sum(_size(path) for path in unfinished))
        print(f"and {len(unfinished)} checkpoints, {held}, of training that goes on, or was ended and can go on")
    return 0


def _outputs_name(entry: Entry, names: dict[str, str]) -> str:
    """Whose outputs these are, and on what."""
    inputs = entry.record.get("inputs", {})
    network = str(inputs.get("network", ""))
    return f"{names.get(network) or network} on {inputs.get('split')}"


def _verify(store: Store) -> int:
    sound, damaged = _checked(store)
    for sentence in damaged.values():
        print(f"moe: {sentence}", file=sys.stderr)
    print(f"{_entries(len(sound) + len(damaged))} checked, {len(damaged)} damaged, in {store.root}")
    return 1 if damaged else 0


def _checked(store: Store) -> tuple[list[Entry], dict[Path, str]]:
    """The entries that are as they were published; for each other one's path what is wrong and what to do."""
    sound, damaged = [], {}
    for key in store.present():
        try:
            entry = store.get(key)
            if entry is not None:  # another process may have removed it since
                entry.verify()
                sound.append(entry)
        except StoreError as error:
            damaged[store.root / key] = str(error)
    return sound, damaged


def _prune(store: Store, older: float | None, kinds: Sequence[str] | None, yes: bool) -> int:
    doomed = _doomed(store, older, kinds)
    sizes = {path: _size(path) for path in doomed}
    for path, reason in doomed.items():
        print(f"{path.name}  {_bytes(sizes[path])}  {reason}")
    total = f"{_entries(len(doomed))}, {_bytes(sum(sizes.values()))}"
    if not doomed:
        print(f"nothing to remove in {store.root}")
    elif not yes:
        print(f"{total}: nothing was removed; --yes removes them")
    else:
        kept = [path for path in doomed if not store.remove(path)]
        for path in kept:
            print(f"moe: {path.name} stays: another process is at work on it", file=sys.stderr)
        freed = sum(size for path, size in sizes.items() if path not in kept)
        print(f"removed {_entries(len(doomed) - len(kept))}, {_bytes(freed)}, from {store.root}")
    return 0


def _doomed(store: Store, older: float | None, kinds: Sequence[str] | None) -> dict[Path, str]:
    """What to remove, and why."""
    sound, damaged = _checked(store)
    reasons = dict.fromkeys(damaged, "damaged")
    for entry in sound:
        wanted = kinds is None or entry.record["kind"] in kinds
        aged = older is None or time.time() - entry.record["created"] > older * DAY
        if wanted and aged and (kinds is not None or older is not None):
            reasons[entry.path] = f"{entry.record['kind']}, {_age(entry)} old"
    kept = {entry.key: entry.record["sha256"] for entry in sound if entry.path not in reasons}
    for entry in (entry for entry in sound if entry.record["kind"] == "outputs"):
        inputs = entry.record.get("inputs", {})
        network = inputs.get("network")
        if network not in kept:
            reasons.setdefault(entry.path, f"outputs of {network}, which is not there or goes too")
        elif inputs.get("weights") != kept[network]:
            reasons.setdefault(entry.path, f"outputs of {network}, and not of the weights that it has")
    if older is not None and kinds is None:
        ended = [path for path in store.unfinished() if time.time() - path.stat().st_mtime > older * DAY]
        reasons |= dict.fromkeys(ended, "a checkpoint of training that was ended")
    reasons |= dict.fromkeys(store.damaged(), "put aside when it was made anew")
    return reasons | dict.fromkeys(store.leftovers(HOUR), "left by an unfinished write")


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in (path, *path.rglob("*")) if part.is_file())


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _age(entry: Entry) -> str:
    seconds = max(0.0, time.time() - entry.record["created"])
    for unit, length in (("s", 60), ("min", HOUR), ("h", DAY)):
        if seconds < length:
            return f"{seconds / {'s': 1, 'min': 60, 'h': HOUR}[unit]:.0f} {unit}"
    return f"{seconds / DAY:.0f} d"


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


if __name__ == "__main__":
    main()
