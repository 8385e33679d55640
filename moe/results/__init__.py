"""What a run measured: the sections of `results.json`, its files, and the table that a user sees.

Here is what reads and says results, without torch, so that comparing runs starts at once; `measure` and `predictions`
have the rest.
"""

from moe.results.files import RESULTS, SCHEMA, check_tested, read, write
from moe.results.table import headline, sections, table, verdict_sentence, warning

__all__ = [
    "RESULTS",
    "SCHEMA",
    "check_tested",
    "headline",
    "read",
    "sections",
    "table",
    "verdict_sentence",
    "warning",
    "write",
]
