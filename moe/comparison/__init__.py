"""Finished runs side by side: read, runs that differ only in the seed in one row, as columns and as text."""

from moe.comparison.rows import Row, machines, revisions, rows, short_revision, uncounted
from moe.comparison.runs import AGAINST, Run, collect, differing
from moe.comparison.text import text

__all__ = [
    "AGAINST",
    "Row",
    "Run",
    "collect",
    "differing",
    "machines",
    "revisions",
    "rows",
    "short_revision",
    "text",
    "uncounted",
]
