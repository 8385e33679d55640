"""The tables and the plot of this study, from the results files beside this script.

python experiments/kernels/table.py            prints the tables
python experiments/kernels/table.py --write    puts them into the README.md here, and the plot beside it
"""

import sys
from pathlib import Path
from statistics import median

from moe.comparison import Row, collect, revisions, rows, uncounted
from moe.comparison.columns import difference, percent
from moe.comparison.estimate import Estimate, estimate
from moe.provenance import in_words
from moe.report.figure import style, svg
from moe.report.marked import markdown, put
from moe.report.tradeoffs import by_row, zero
from moe.results import read as results_of
from moe.verdict.significance import holm, paired_t

HERE = Path(__file__).parent
MARKS = ("<!-- table: experiments/kernels/table.py -->", "<!-- end of table -->")
STATIC = ("<!-- table: experiments/kernels/table.py, static -->", "<!-- end of table -->")
PLOT = "plot.svg"
TITLE = "Mixed kernels less one network that costs the same"
Pair = tuple[Row, Row]
ARMS = ("one", "kernels")  # one network, and one of mixed kernels; there is a third, in which nothing gates these


def read(results: Path, arms: tuple[str, str] = ARMS) -> dict[int, Pair]:
    """Two arms for each width that has both, of the seeds of both. Exits where an arm's runs differ in config."""
    pairs = {}
    first = arms[0]
    for width in sorted(int(folder.name.removeprefix(f"{first}-")) for folder in results.glob(f"{first}-*")):
        both: list[Row] = []
        for arm in arms:
            runs, faults = collect([results / f"{arm}-{width}"])
            if faults or len(made := rows(runs)) > 1:
                sys.exit("\n".join(faults) or f"{results / arm}-{width} holds runs of several configs")
            both += made
        seeds = set.intersection(*({run.seed for run in row.runs} for row in both)) if len(both) > 1 else set()
        if seeds:
            one, other = (Row(tuple(run for run in row.runs if run.seed in seeds)) for row in both)
            pairs[width] = one, other
    return pairs


def differences(pair: Pair) -> list[float]:
    """What mixed kernels are ahead by in each seed, as a part of one."""
    one, kernels = pair
    return kernels.less(one)


def compared(pairs: dict[int, Pair]) -> tuple[dict[int, list[float]], dict[int, float], dict[int, float]]:
    """Of each width the differences, and of several seeds their p, as it is and corrected for all widths."""
    apart = {width: differences(pair) for width, pair in pairs.items()}
    known = {width: paired_t(each) for width, each in apart.items() if len(each) > 1}
    return apart, known, dict(zip(known, holm(list(known.values())), strict=True))


def minutes(row: Row) -> str:
    """Of training: the median, and of several runs the least and the greatest."""
    each = sorted(run.seconds / 60 for run in row.runs)
    return f"{median(each):.1f}" + (f" ({each[0]:.1f} to {each[-1]:.1f})" if len(each) > 1 else "")


def channels(row: Row) -> str:
    return str(row.first.config["base.net.widths"]).replace(" ", "")


def ratio(pair: Pair, cost: str) -> str:
    """What mixed kernels cost over what one network does."""
    one, kernels = (row.mean(cost) or 0 for row in pair)
    return f"{kernels / one:.2f}"


def table(pairs: dict[int, Pair]) -> str:
    """The rows as Markdown, the narrowest first, with what they are made from."""
    head = ["channels, one", "channels, mixed", "MFLOP", "n", "one, %", "mixed kernels, %", "difference, points"]
    head += [
        "p",
        "Holm p",
        "on val, points",
        "inference x",
        "training x",
        "parameters x",
        "minutes, one",
        "minutes, mixed",
    ]
    apart, known, corrected = compared(pairs)
    lines = []
    for width, pair in pairs.items():
        one, kernels = pair
        said = difference(estimate(apart[width]))
        lines.append(
            [
                channels(one),
                channels(kernels),
                f"{(one.mean('routed') or 0) / 1e6:.1f}",
                str(len(apart[width])),
                percent(one.test),
                percent(kernels.test),
                f"**{said}**" if corrected.get(width, 1) < 0.05 else said,
                f"{known[width]:.2g}" if width in known else "",
                f"{corrected[width]:.2g}" if width in known else "",
                difference(estimate(kernels.less(one, "val"))),
                ratio(pair, "routed"),
                ratio(pair, "training_flops"),
                ratio(pair, "parameters"),
                minutes(one),
                minutes(kernels),
            ]
        )
    every = [row for pair in pairs.values() for row in pair]
    machines = {in_words(results_of(run.path)["seconds"]["base"]["machine"]) for row in every for run in row.runs}
    said = (
        "Test accuracy, mean over n seeds with half of its 95% interval by Student's t; differences are paired, "
        f"in bold where p, the paired t-test's, is below 0.05 by Holm's correction over the {len(known)} widths. "
        "x: of mixed kernels over one network, in operations or parameters. Minutes of training: median, least and "
        "greatest, other work beside them. "
        f"Trained on {'; '.join(sorted(machines))} in bf16."
    )
    arms = (
        f"{arm} {channels(row)}" for pair in pairs.values() for arm, row in zip(("one", "mixed"), pair, strict=True)
    )
    before = uncounted(dict(zip(arms, every, strict=True)))
    said = " ".join(filter(None, [said, revisions(every), before]))
    return "\n\n".join([markdown(head, lines, (0, 1)), said, f"![{TITLE}]({PLOT})"])


def static(gated: dict[int, Pair], beside: dict[int, Pair]) -> str:
    """What gating is worth: kernels mixed for each image beside as many mixed alike for all, and these beside one.

    Of each width its row without gating comes first, in `gated` with the one that has it, in `beside` with one network.
    """
    if not gated:
        return "Nothing has run yet."
    apart, known, corrected = compared(gated)
    lines = []
    for width, (same, kernels) in gated.items():
        said, few = difference(estimate(apart[width])), beside.get(width)
        lines.append(
            [
                channels(kernels),
                str(len(apart[width])),
                percent(same.test),
                percent(kernels.test),
                f"**{said}**" if corrected.get(width, 1) < 0.05 else said,
                f"{known[width]:.2g}" if width in known else "",
                f"{corrected[width]:.2g}" if width in known else "",
                difference(estimate(kernels.less(same, "val"))),
                difference(estimate(few[0].less(few[1]))) if few else "",
                minutes(same),
            ]
        )
    head = ["channels", "n", "mixed alike, %", "mixed for each image, %", "difference, points", "p", "Holm p"]
    head += ["on val, points", "mixed alike less one network, points", "minutes, mixed alike"]
    every = [row for pair in gated.values() for row in pair]
    return "\n\n".join([markdown(head, lines), " ".join(filter(None, ["As above.", revisions(every)]))])


def plot(pairs: dict[int, Pair]) -> str:
    """Each width's difference with its interval, as SVG."""
    found: list[Estimate | None] = [estimate(differences(pair)) for pair in pairs.values()]
    names = [f"{(one.mean('routed') or 0) / 1e6:.0f} MFLOP" for one, _ in pairs.values()]
    with style():
        return svg(zero(by_row(names, {TITLE: found}, "points of test accuracy, with 95% interval")), TITLE)


def main() -> None:
    results = HERE / "results"
    pairs = read(results)
    text = table(pairs), static(read(results, ("static", "kernels")), read(results, ("static", "one")))
    if "--write" not in sys.argv[1:]:
        print("\n\n".join(text))
        return
    for marks, made in zip((MARKS, STATIC), text, strict=True):
        put(HERE / "README.md", marks, made)
    # As a file it has no page to take its colour from: a grey that can be read on white and on black.
    (HERE / PLOT).write_text(plot(pairs).replace("currentColor", "#6b7280"))


if __name__ == "__main__":
    main()
