"""The verdict's tables as columns, what must be said below them, and all of it as plain text."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from moe.comparison import Row
from moe.comparison.columns import Column, difference, percent
from moe.comparison.text import fitted
from moe.verdict.contests import MIXTURE, SIGNIFICANT, Contest
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
        _numbers("n", [row.n for row in rows], "{:.0f}"),
        Column("val", [percent(row.val) for row in rows], [row.val.mean if row.val else None for row in rows]),
        Column("test", test, [row.test.mean if row.test else None for row in rows]),
        _numbers("MFLOP routed", [_scaled(row.mean("routed"), 1e6) for row in rows], "{:,.2f}"),
        _numbers("dense", [_scaled(row.mean("dense"), 1e6) for row in rows], "{:,.2f}"),
        _numbers("TFLOP to train", [_scaled(row.mean("training_flops"), 1e12) for row in rows], "{:,.4g}"),
        _numbers("parameters", [row.mean("parameters") for row in rows], "{:,.0f}"),
    ]
    for batch in latency.batches if latency else []:
        assert latency is not None
        shown.append(_numbers(f"ms at {batch}", [latency.milliseconds(name, batch) for name in found], "{:.4g}"))
    return shown


def contest_columns(held: Sequence[Contest]) -> list[Column]:
    """Each comparison; the first column says who is compared with whom."""
    names = [f"{one.one} - {one.other}" for one in held]
    differences = [difference(one.difference) for one in held]
    return [
        Column("points", names, names, left=True),
        _numbers("seeds", [len(one.seeds) for one in held], "{:.0f}"),
        Column("difference [95%]", differences, [one.difference.mean for one in held]),
        _numbers("p", [one.p for one in held], "{:.2g}"),
        _numbers("Holm p", [one.corrected for one in held], "{:.2g}"),
        _numbers("inference x", [one.inference for one in held], "{:.2f}"),
        _numbers("training x", [one.training for one in held], "{:.2f}"),
    ]


def regret_columns(found: Mapping[str, Row]) -> list[Column]:
    """Where each mixture's errors come from, in points: the parts sum to its error. None where there is no mixture."""
    mixtures = {name: row for name, row in found.items() if all(run.regret for run in row.runs)}
    if not mixtures:
        return []
    errors = [None if row.test is None else 1 - row.test.mean for row in mixtures.values()]
    return [
        Column("points of error", list(mixtures), list(mixtures), left=True),
        _numbers("all", [_scaled(error, 0.01) for error in errors], "{:.2f}"),
        *(
            _numbers(title, [100 * _mean(row, part) for row in mixtures.values()], "{:.2f}")
            for part, title in REGRET.items()
        ),
    ]


def headline(held: Sequence[Contest]) -> str:
    """Whom the mixture is ahead of, whom behind, and from whom it cannot be told, in one sentence."""
    own = [one for one in held if one.one == MIXTURE]
    if not own:
        return f"There is no run of rival={MIXTURE} that shares a seed with another rival: nothing to judge."
    sides = [
        (words, [f"{one.other} ({100 * one.difference.mean:+.2f})" for one in own if one.sign == sign])
        for sign, words in ((1, "ahead of"), (-1, "behind"), (0, "not told apart from"))
    ]
    parts = [f"{words} {', '.join(names)}" for words, names in sides if names]
    return f"The mixture is {'; '.join(parts)}: points of test accuracy, at a Holm-corrected p below {SIGNIFICANT:g}."


def notes(found: Mapping[str, Row], held: Sequence[Contest], latency: Latency | None) -> Iterator[str]:
    """What must be said of the tables: what their intervals and costs are of, and what cannot be compared."""
    if any(row.on_test for row in found.values()):
        yield "* data.splits.protocol=notebook: choices were made on the test set; these numbers are too good."
    if any(row.n > 1 for row in found.values()):
        yield (
            "± and [ ]: 95% interval of the mean over n seeds, Student's t with n - 1 degrees of freedom; differences "
            "are paired by seed, and p is the paired t-test's."
        )
    if any(len(one.seeds) == 1 for one in held):
        yield (
            "Of one seed ± and [ ] are 95% intervals over its test images, Wilson's and the paired one, and p is "
            "McNemar's exact; how another seed trains is not in them."
        )
    tested = sum(one.p is not None for one in held)
    if tested:
        yield f"Holm p is corrected for the {tested} comparisons of this table."
    yield (
        "MFLOP: of one image, test-time views included; routed is the mean over the test images of what ran, dense "
        "every network. TFLOP to train: forward and backward passes of every network that the rival needs, also of "
        "those that it shares with others. x: what the first costs over what the second does."
    )
    if latency is not None:
        yield (
            f"ms an image at a batch of so many, median of {latency.repeats} repeats taken in turn, on "
            f"{latency.machine}, torch {latency.torch}; it compares with no other machine's."
        )
    missing = {MIXTURE} & set(found) and set(found) - {MIXTURE} - {one.other for one in held if one.one == MIXTURE}
    if missing:
        yield f"No seed in common with {MIXTURE}, so not compared: {', '.join(sorted(missing))}."


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


def _numbers(title: str, values: Sequence[float | None], form: str) -> Column:
    return Column(title, ["" if value is None else form.format(value) for value in values], values)


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _mean(row: Row, part: str) -> float:
    return sum(run.regret.get(part, 0.0) for run in row.runs) / row.n
