"""The tables and the plot of this study, from the results files beside this script.

python experiments/kernels/table.py            prints the tables
python experiments/kernels/table.py --write    puts them into the README.md here, and the plot beside it
"""

import sys
from pathlib import Path

from moe.comparison import Row, collect, revisions, rows, uncounted
from moe.comparison.columns import difference, minutes, percent, told
from moe.comparison.estimate import Estimate, estimate
from moe.provenance import in_words
from moe.report.figure import standalone, style, svg
from moe.report.marked import markdown, put
from moe.report.tradeoffs import by_row, zero
from moe.results import read as results_of
from moe.store import write_whole
from moe.verdict.significance import corrected

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
        if not all((results / f"{arm}-{width}").is_dir() for arm in arms):
            continue
        for arm in arms:
            runs, faults = collect([results / f"{arm}-{width}"])
            if faults or len(made := rows(runs)) > 1:
                sys.exit("\n".join(faults) or f"{results / arm}-{width} holds runs of several configs")
            both += made
        seeds = set.intersection(*({run.seed for run in row.runs} for row in both))
        if seeds:
            one, other = (Row(tuple(run for run in row.runs if run.seed in seeds)) for row in both)
            pairs[width] = one, other
    return pairs


def differences(pair: Pair) -> list[float]:
    """What mixed kernels are ahead by in each seed, as a part of one."""
    one, kernels = pair
    return kernels.less(one)


def compared(pairs: dict[int, Pair]) -> dict[int, list[str]]:
    """Of each width how many seeds, the difference, and of several seeds its p, as it is and corrected for all."""
    apart = {width: differences(pair) for width, pair in pairs.items()}
    known = corrected(apart)
    found = {}
    for width, each in apart.items():
        p = known.get(width)
        shown = [f"{one:.2g}" for one in p] if p else ["", ""]
        found[width] = [str(len(each)), told(estimate(each), p and p[1]), *shown]
    return found


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
    found, lines = compared(pairs), []
    for width, pair in pairs.items():
        one, kernels = pair
        n, *ahead = found[width]
        lines.append(
            [
                channels(one),
                channels(kernels),
                f"{(one.mean('routed') or 0) / 1e6:.1f}",
                n,
                percent(one.test),
                percent(kernels.test),
                *ahead,
                difference(estimate(kernels.less(one, "val"))),
                ratio(pair, "routed"),
                ratio(pair, "training_flops"),
                ratio(pair, "parameters"),
                minutes(one),
                minutes(kernels),
            ]
        )
    every = [row for pair in pairs.values() for row in pair]
    each, widths = (
        [results_of(run.path) for row in every for run in row.runs],
        sum(row.n > 1 for row, _ in pairs.values()),
    )
    machines = {f"{in_words(one['seconds']['base']['machine'])} in {one['precision']}" for one in each}
    said = (
        "Test accuracy, mean over n seeds with half of its 95% interval by Student's t; differences are paired, "
        f"in bold where p, the paired t-test's, is below 0.05 by Holm's correction over the {widths} widths. "
        "x: of mixed kernels over one network, in operations or parameters. Minutes of training: median, least and "
        "greatest, other work beside them. "
        f"Trained on {'; '.join(sorted(machines))}."
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
    found, lines = compared(gated), []
    for width, (same, kernels) in gated.items():
        few, (n, *ahead) = beside.get(width), found[width]
        lines.append(
            [
                channels(kernels),
                n,
                percent(same.test),
                percent(kernels.test),
                *ahead,
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
    write_whole(HERE / PLOT, standalone(plot(pairs)))


if __name__ == "__main__":
    main()
