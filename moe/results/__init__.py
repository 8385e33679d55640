"""What a run measured: the sections of `results.json`, its files, and the table that a user sees."""

from moe.cost import cost, members_cost
from moe.results.bits import pack, unpack
from moe.results.files import PREDICTIONS, RESULTS, SCHEMA, read, read_predictions, write, write_predictions
from moe.results.measure import measure, measure_classifier, measure_router
from moe.results.table import headline, sections, table, verdict_sentence, warning

__all__ = [
    "PREDICTIONS",
    "RESULTS",
    "SCHEMA",
    "cost",
    "headline",
    "measure",
    "measure_classifier",
    "measure_router",
    "members_cost",
    "pack",
    "read",
    "read_predictions",
    "sections",
    "table",
    "unpack",
    "verdict_sentence",
    "warning",
    "write",
    "write_predictions",
]
