"""The comparison as plain text that fits a terminal."""

import textwrap
from collections.abc import Sequence

from moe.comparison.columns import Column, columns, notes
from moe.comparison.rows import Row
from moe.errors import printable

GAP = "  "


def text(rows: Sequence[Row], differences: Sequence[str], width: int, by_run: bool = False) -> str:
    """The table in blocks of whole columns that fit `width`, below it each row's folder and what must be said."""
    numbers = Column("#", [str(number) for number, _ in enumerate(rows, 1)], [])
    more = [f" and {row.n - 1} more" if row.n > 1 else "" for row in rows]
    paths = [f"{numbers.line(i)}{GAP}{printable(row.first.path)}{more[i]}" for i, row in enumerate(rows)]
    said = [textwrap.fill(note, width) for note in notes(rows, differences)]
    table = fitted(numbers, columns(rows, differences, by_run), width)
    return "\n\n".join([table, "\n".join(paths), *(["\n".join(said)] if said else [])])


def fitted(first: Column, others: Sequence[Column], width: int) -> str:
    """A table in blocks of whole columns that fit `width`, `first` before each."""
    return "\n\n".join(_block([first, *block]) for block in _blocks(others, width - first.width))


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
