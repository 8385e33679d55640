"""The verdict's tables as columns, what must be said below them, and all of it as plain text."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from moe.comparison import Row, revisions
from moe.comparison.columns import Column, difference, numbers, percent, scaled
from moe.comparison.text import fitted
from moe.config import CONF
from moe.schema import Plain
from moe.verdict.alike import unlike
from moe.verdict.contests import EQUAL, FAMILIES, MIXTURE, RIVALS, SIGNIFICANT, WITHIN, Contest, same
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
    for batch in latency.batches if latency else []:
        assert latency is not None
        spreads = latency.spreads(found, batch)
        medians = [spreads[name].median if name in spreads else None for name in found]
        shown.append(Column(f"ms at {batch}", [str(spreads.get(name, "")) for name in found], medians))
    return shown


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
    """Each comparison, one family below the other; the first column says who is compared with whom."""
    names = [f"{one.one} - {one.other}" for one in held]
    differences = [difference(one.difference) for one in held]
    return [
        Column("points", names, names, left=True),
        numbers("seeds", [len(one.seeds) for one in held], "{:.0f}"),
        Column("difference [95%]", differences, [one.difference.mean for one in held]),
        numbers("p", [one.p for one in held], "{:.2g}"),
        numbers("Holm p", [one.corrected for one in held], "{:.2g}"),
        numbers("inference x", [one.inference for one in held], "{:.2f}"),
        numbers("training x", [one.training for one in held], "{:.2f}"),
    ]


def regret_columns(found: Mapping[str, Row]) -> list[Column]:
    """Where each mixture's errors come from, in points: the parts sum to its error. None where there is no mixture."""
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
    within = [one for one in held if one.family == WITHIN]
    if not own:
        said = f"There is no run of rival={MIXTURE} that shares a seed with another rival: nothing to judge."
    else:
        said = _of_one("The mixture", own, [one for one in own if one.family == RIVALS])
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
    equal, cheaper = [one for one in own if one.at_equal_cost], [one for one in own if one.against_cheaper]
    said = []
    if equal:
        least = min(equal, key=lambda one: one.difference.mean)
        won = sum(one.sign > 0 for one in equal)
        said.append(
            f"Of what costs the same to run and to train, within a tenth ({', '.join(one.other for one in equal)}), it "
            f"is ahead of {won} in {len(equal)}; the least difference is {100 * least.difference.mean:+.2f} "
            f"({least.other})."
        )
    if level := [one for one in cheaper if one.sign <= 0 and one.p is not None]:
        names = ", ".join(f"{one.other} ({one.inference:.1f} times cheaper)" for one in level)
        said.append(f"Cheaper to run, no dearer to train, and not shown to be behind it: {names}.")
    return " ".join(said)


def notes(found: Mapping[str, Row], held: Sequence[Contest], latency: Latency | None) -> Iterator[str]:
    """What must be said of the tables: what their intervals and costs are of, and what cannot be compared."""
    if any(row.on_test for row in found.values()):
        yield "* data.splits.protocol=notebook: choices were made on the test set; these numbers are too good."
    yield from unlike(found)
    yield from _missing(found)
    if by := revisions(list(found.values())):
        yield by
    several, single = any(len(one.seeds) > 1 for one in held), any(len(one.seeds) == 1 for one in held)
    if any(row.n > 1 for row in found.values()):
        yield (
            "± and [ ]: 95% interval of the mean over n seeds, Student's t with n - 1 degrees of freedom; differences "
            "are paired by seed, and p is the paired t-test's. All seeds have the same test images, whose draw is not "
            "in it."
        )
    if single:
        yield (
            "Of one seed ± and [ ] are 95% intervals over its test images, Wilson's and the paired one; how another "
            "seed trains is not in them, "
            + ("so that there is no p." if several else "nor in p, which is McNemar's exact.")
        )
    for family in FAMILIES:
        if tested := sum(one.p is not None for one in held if one.family == family):
            count = "one comparison" if tested == 1 else f"{tested} comparisons"
            yield f"Holm p is corrected for the {count} with {family}."
    yield (
        "MFLOP: of one image, test-time views included, a multiplication and an addition being two; routed is the mean "
        "over the test images of what ran, dense every network. TFLOP to train: forward and backward passes of every "
        "network that the rival needs, also of those that it shares with others; validation is not counted. x: what "
        f"the first costs over what the second does; what differs by {EQUAL:.0%} at most is called the same."
    )
    if latency is not None:
        yield from _of_latency(found, latency)


def _of_latency(found: Mapping[str, Row], latency: Latency) -> Iterator[str]:
    """What was clocked and where, and what is not of the runs at hand or may not be."""
    seeds = sorted({latency.seeds[name] for name in found if name in latency.seeds})
    load = "" if latency.load is None else f" at a load of {latency.load:.1f}"
    yield (
        f"ms an image at a batch of so many: median, least and greatest of {latency.repeats} repeats taken in turn, of "
        f"seed {', '.join(map(str, seeds))}, on {latency.machine}{load}, torch {latency.torch}; what lies in another's "
        "spread is not told apart from it, and nothing compares with another machine's."
    )
    if other := latency.others(found):
        yield f"Without ms an image, measured by other runs than these: {', '.join(other)}; see --latency."
    if not latency.keys:
        yield "ms an image is from before what was measured was recorded: that it is of these very runs nothing says."


def _missing(found: Mapping[str, Row]) -> Iterator[str]:
    """Which rivals, and which seeds of rivals, are not there, and which are there twice."""
    if absent := sorted({path.stem for path in (CONF / "rival").glob("*.yaml")} - set(found)):
        yield f"Not among these, of the rivals in conf/rival: {', '.join(absent)}."
    seeds = {run.seed for row in found.values() for run in row.runs}
    lacks = {name: sorted(seeds - {run.seed for run in row.runs}) for name, row in found.items()}
    if said := [f"{name} lacks {', '.join(map(str, lacking))}" for name, lacking in lacks.items() if lacking]:
        yield f"Not every rival has every seed: {'; '.join(said)}."
    for first, *others in same(found):
        if others:
            yield f"The very same networks, and so one rival: {', '.join([first, *others])}."


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


def _mean(row: Row, part: str) -> float:
    return sum(run.regret.get(part, 0.0) for run in row.runs) / row.n
