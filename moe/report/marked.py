"""Tables in Markdown files, between marks that say what makes them."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from moe.store import write_whole


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table in Markdown; the columns in the places `left` begin at the left, as names do, all others end right."""
    marks = ["---" if place in left else "--:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, marks, *rows))


def put(file: Path, marks: tuple[str, str], text: str) -> None:
    """Put `text` between the two marks of a file, in place of what is there. Raises ValueError where it lacks them."""
    pattern = re.escape(marks[0]) + ".*?" + re.escape(marks[1])
    whole = f"{marks[0]}\n{text}\n{marks[1]}"
    after, count = re.subn(pattern, lambda _: whole, file.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{file} has {count} places for a table between {marks[0]} and {marks[1]}, not one")
    write_whole(file, after.encode())
