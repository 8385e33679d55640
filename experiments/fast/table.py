"""The tables of this study, from the results files beside this script.

python experiments/fast/table.py            prints them
python experiments/fast/table.py --write    puts them into the README.md here
"""

import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moe.comparison.columns import difference
from moe.comparison.estimate import estimate
from moe.errors import StoreError
from moe.report.marked import put
from moe.results import read as read_results

HERE = Path(__file__).parent
SIZES = ("s", "m", "l")
# What each arm of the ablation has in place of what `narrow` has.
ABLATION = {
    "no_whitening": "a first convolution that learns, in place of frozen whitening",
    "no_dirac": "convolutions that start at random",
    "no_bias_lr": "normalisations' biases at the rate of all else",
    "no_alternating": "flips by chance",
    "no_smoothing": "no label smoothing",
    "no_averaging": "no average of the weights",
    "cutout": "a square of 8 x 8 pixels cut out, too",
    "lookahead": "Lookahead in place of the average",
    "muon": "kernels by Muon",
}
Results = dict[int, dict[str, Any]]


def read(results: Path, arm: str) -> Results:
    """An arm's results by seed."""
    try:
        found = [read_results(path) for path in results.glob(f"{arm}/*/results.json")]
    except StoreError as error:
        sys.exit(str(error))
    return {run["seed"]: run for run in sorted(found, key=lambda run: run["seed"])}


def spread(found: Results) -> str:
    """Mean and standard deviation of the test accuracy over seeds, in percent."""
    values = [100 * run["test"]["accuracy"] for run in found.values()]
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


def gap(found: Results, to: Results) -> str:
    """How much better than `to` it is in the seeds that both have, in points, in bold beyond its interval."""
    paired = estimate(
        [run["test"]["accuracy"] - to[seed]["test"]["accuracy"] for seed, run in found.items() if seed in to]
    )
    said = difference(paired)
    return "-" if paired is None else f"**{said}**" if paired.sign else said


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machines(arms: Iterable[Results]) -> str:
    """Where the networks of some arms were trained, and by which numbers."""
    found = {f"{run['seconds']['base']['machine']} in {run['precision']}" for arm in arms for run in arm.values()}
    return f" Trained on {'; '.join(sorted(found))}." if found else " Nothing has run yet."


def sizes(results: Path) -> str:
    """What each size comes to, and how long it trains."""
    rows, arms = [], [read(results, size) for size in SIZES]
    for size, plain in zip(SIZES, arms, strict=True):
        spent = [run["seconds"]["base"]["seconds"] / 60 for run in plain.values()]
        minutes = f"{statistics.mean(spent):.0f}" if spent else "-"
        epochs = ", ".join(sorted({str(run["config"]["base"]["recipe"]["epochs"]) for run in plain.values()})) or "-"
        views = read(results, f"{size}_views")
        rows.append([f"`{size}`", f"{len(plain)}", epochs, spread(plain), spread(views), minutes])
    head = ["size", "seeds", "epochs", "test accuracy, %", "with test-time views, %", "minutes of training"]
    return f"{markdown(head, rows)}\n\nMean ± standard deviation over seeds.{machines(arms)}"


def ablation(results: Path) -> str:
    """What the narrow network loses or gains without each method, or with another in its place."""
    narrow, views = read(results, "narrow"), read(results, "narrow_views")
    rows = [["nothing else", f"{len(narrow)}", spread(narrow), "", gap(narrow, views)]]
    arms = {arm: read(results, arm) for arm in ABLATION}
    for arm, found in arms.items():
        rows.append(
            [
                ABLATION[arm],
                f"{len(found)}",
                spread(found),
                gap(found, narrow),
                gap(read(results, f"{arm}_views"), views),
            ]
        )
    head = ["what is other", "seeds", "test accuracy, %", "less `narrow`, points", "both with test-time views"]
    said = (
        "Mean ± standard deviation; differences are of the same seed, with their 95% interval by Student's t, in bold "
        "where it leaves out zero, before any correction for their number. In the first row the last column is what "
        "going without test-time views costs."
    )
    return f"{markdown(head, rows)}\n\n{said}{machines([narrow, *arms.values()])}"


def main() -> None:
    parts = {"sizes": sizes(HERE / "results"), "ablation": ablation(HERE / "results")}
    if "--write" not in sys.argv[1:]:
        print("\n\n".join(parts.values()))
        return
    for name, text in parts.items():
        put(HERE / "README.md", (f"<!-- table: experiments/fast/table.py, {name} -->", "<!-- end of table -->"), text)


if __name__ == "__main__":
    main()
