"""The verdict's tables as columns, and all of it as plain text."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from moe.comparison import Row
from moe.comparison.columns import Column, difference, numbers, percent, scaled
from moe.comparison.estimate import Estimate
from moe.comparison.text import fitted
from moe.results.table import SIGNIFICANT
from moe.schema import Plain
from moe.verdict.caveats import notes, of_latency
from moe.verdict.contest import Contest
from moe.verdict.contests import MIXTURE, RIVALS, WITHIN
from moe.verdict.latency import Latency

# Where the errors come from, by what `test.regret` calls it.
REGRET = {
    "alone": "base alone",
    "router": "router astray",
    "experts": "all experts wrong",
    "outvoted": "outvoted",
}


def rival_columns(found: Mapping[str, Row], latency: Latency | None) -> list[Column]:
    """Each rival's accuracy and all that it costs; the first column is its name."""
    rows = list(found.values())
    test = [percent(row.tested) for row in rows]
    shown = [
        Column("rival", [name + "*" * row.on_test for name, row in found.items()], list(found), left=True),
        numbers("n", [row.n for row in rows], "{:.0f}"),
        Column("val", [percent(row.val) for row in rows], [row.val.mean if row.val else None for row in rows]),
        Column("test", test, [row.test.mean if row.test else None for row in rows]),
        numbers("MFLOP routed", [scaled(row.mean("routed"), 1e6) for row in rows], "{:,.2f}"),
        numbers("dense", [scaled(row.mean("dense"), 1e6) for row in rows], "{:,.2f}"),
        numbers("TFLOP to train", [scaled(row.mean("training_flops"), 1e12) for row in rows], "{:,.4g}"),
        numbers("parameters", [row.mean("parameters") for row in rows], "{:,.0f}"),
        Column("as matched", matched := [_matched(row) for row in rows], matched, left=True),
    ]
    return [*shown, *(_latency_columns(found, latency) if latency else [])]


def _latency_columns(found: Mapping[str, Row], latency: Latency) -> Iterator[Column]:
    for batch in latency.batches:
        spreads = latency.spreads(found, batch)
        medians = [spreads[name].median if name in spreads else None for name in found]
        yield Column(f"ms at {batch}", [str(spreads.get(name, "")) for name in found], medians)


def _matched(row: Row) -> str:
    """What a base became that had to cost what the mixture does; nothing where that was not recorded."""
    found = row.first.matched
    if not found:
        return ""
    said, net = row.first.config, found["net"]
    channels = [net[key] for key in ("widths", "blocks") if net.get(key) and net[key] != said.get(f"base.net.{key}")]
    parts = [
        f"{found['members']} members" if found["members"] != said.get("base.members") else "",
        f"{found['epochs']} epochs" if found["epochs"] != said.get("base.recipe.epochs") else "",
        f"{net['kernels']} kernels" if net.get("kernels") != said.get("base.net.kernels") else "",
        f"channels {str(channels[0]).replace(' ', '')}" if channels else "",
    ]
    return ", ".join(filter(None, parts)) or "as it was"


def contest_columns(held: Sequence[Contest]) -> list[Column]:
    """Each comparison, one question below the other; the first column says who is compared with whom."""
    names = [f"{one.one} - {one.other}" for one in held]
    both = [_interval(one.over_both) for one in held]
    differ, on_val = [one.difference.mean for one in held], [one.on_val for one in held]
    return [
        Column("points", names, names, left=True),
        numbers("seeds", [len(one.seeds) for one in held], "{:.0f}"),
        Column("difference [95%]", [difference(one.difference) for one in held], differ),
        numbers("p", [one.p for one in held], "{:.2g}"),
        numbers("Holm p", [one.corrected for one in held], "{:.2g}"),
        *([Column("other images, too [95%]", both, differ)] if any(both) else []),
        Column("on val [95%]", [difference(one) for one in on_val], [one.mean if one else None for one in on_val]),
        numbers("inference x", [one.inference for one in held], "{:.2f}"),
        numbers("training x", [one.training for one in held], "{:.2f}"),
    ]


def _interval(found: Estimate | None) -> str:
    """The interval alone: the difference stands beside it."""
    return difference(found).partition(" ")[2]


def regret_columns(found: Mapping[str, Row]) -> list[Column]:
    """Where each mixture's errors come from, in points: the parts sum to its error. Empty where there is no mixture."""
    mixtures = {name: row for name, row in found.items() if all(run.regret for run in row.runs)}
    if not mixtures:
        return []
    errors = [None if row.test is None else 1 - row.test.mean for row in mixtures.values()]
    return [
        Column("points of error", list(mixtures), list(mixtures), left=True),
        numbers("all", [scaled(error, 0.01) for error in errors], "{:.2f}"),
        *(
            numbers(title, [100 * _mean(row, part) for row in mixtures.values()], "{:.2f}")
            for part, title in REGRET.items()
        ),
    ]


def headline(held: Sequence[Contest]) -> str:
    """Whom the mixture is ahead of, whom behind, and from whom it cannot be told: by what, and at what cost.

    The same of the mixture of kernels, where there is one.
    """
    own = [one for one in held if one.one == MIXTURE]
    within = [one for one in held if one.question == WITHIN]
    if not own:
        said = f"There is no run of rival={MIXTURE} that shares a seed with another rival: nothing to judge."
    else:
        said = _of_one("The mixture", own, [one for one in own if one.question == RIVALS])
    return f"{said} {_of_one('The mixture of kernels', within, within)}" if within else said


def _of_one(name: str, own: Sequence[Contest], priced: Sequence[Contest]) -> str:
    """A mixture beside all that it was held against, and the cost of it and of those of `priced`."""
    most = max(len(one.seeds) for one in own)
    sides = (
        ("ahead of", [one for one in own if one.sign > 0]),
        ("behind", [one for one in own if one.sign < 0]),
        ("not told apart from", [one for one in own if one.sign == 0 and one.p is not None]),
        ("not judged beside", [one for one in own if one.p is None]),
    )
    parts = [f"{words} {', '.join(_told(one, most) for one in ones)}" for words, ones in sides if ones]
    over = f"over {most} seeds" if most > 1 else "over the images of one seed"
    said = f"{name} is {'; '.join(parts)}: points of test accuracy {over}, at a Holm-corrected p below "
    return f"{said}{SIGNIFICANT:g}. {_at_what_cost(priced)}".rstrip()


def _told(one: Contest, most: int) -> str:
    seeds = "" if len(one.seeds) == most else f", {len(one.seeds)} seed{'s' * (len(one.seeds) > 1)}"
    return f"{one.other} ({100 * one.difference.mean:+.2f}{seeds})"


def _at_what_cost(own: Sequence[Contest]) -> str:
    """What of it is beside rivals that are as dear, and which are cheaper and yet not behind."""
    judged = [one for one in own if one.p is not None]
    equal, cheaper = [one for one in judged if one.at_equal_cost], [one for one in judged if one.against_cheaper]
    said = []
    if equal:
        least = min(equal, key=lambda one: one.difference.mean)
        won = sum(one.sign > 0 for one in equal)
        said.append(
            f"Of what costs the same to run and to train, within a tenth ({', '.join(one.other for one in equal)}), it "
            f"is ahead of {won} in {len(equal)}; the least difference is {100 * least.difference.mean:+.2f} "
            f"({least.other})."
        )
    if level := [one for one in cheaper if one.sign <= 0]:
        names = ", ".join(f"{one.other} ({one.inference:.1f} times cheaper)" for one in level)
        said.append(f"Cheaper to run, no dearer to train, and not shown to be behind it: {names}.")
    return " ".join(said)


def plain(found: Mapping[str, Row], held: Sequence[Contest]) -> Plain:
    """The headline, the rivals and the comparisons as nested plain values, accuracies and differences as parts of 1."""
    trained = {name: row.mean("training_flops") for name, row in found.items()}
    return {
        "headline": headline(held),
        "rivals": {name: {**row.plain([]), "training_flops": trained[name]} for name, row in found.items()},
        "contests": [{**asdict(one), "sign": one.sign, "at_equal_cost": one.at_equal_cost} for one in held],
    }


def text(found: Mapping[str, Row], held: Sequence[Contest], latency: Latency | None, width: int) -> str:
    """All of it, in tables that fit `width`."""
    tables = [rival_columns(found, latency), contest_columns(held) if held else [], regret_columns(found)]
    said = [textwrap.fill(note, width) for note in notes(found, held, latency)]
    return "\n\n".join(
        [
            textwrap.fill(headline(held), width),
            *(fitted(first, others, width) for first, *others in filter(None, tables)),
            "\n".join(said),
        ]
    )


def latency_text(found: Mapping[str, Row], latency: Latency, width: int) -> str:
    """How long an image takes each rival, in a table that fits `width`, and of what that is."""
    name, *_ = rival_columns(found, None)
    said = [textwrap.fill(note, width) for note in of_latency(found, latency)]
    return "\n\n".join([fitted(name, list(_latency_columns(found, latency)), width), "\n".join(said)])


def _mean(row: Row, part: str) -> float:
    return sum(run.regret.get(part, 0.0) for run in row.runs) / row.n
