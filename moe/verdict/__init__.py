"""Whether the mixture pays: the runs of `experiment=verdict` held against each other, with what each costs."""

from moe.verdict.caveats import notes
from moe.verdict.contest import Contest
from moe.verdict.contests import MIXTURE, contests, is_mixture, rivals, same
from moe.verdict.latency import LATENCY, Latency, Spread, measure
from moe.verdict.tables import contest_columns, headline, latency_text, plain, regret_columns, rival_columns, text

__all__ = [
    "LATENCY",
    "MIXTURE",
    "Contest",
    "Latency",
    "Spread",
    "contest_columns",
    "contests",
    "headline",
    "is_mixture",
    "latency_text",
    "measure",
    "notes",
    "plain",
    "regret_columns",
    "rival_columns",
    "rivals",
    "same",
    "text",
]
