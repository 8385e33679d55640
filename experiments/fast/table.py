"""The tables of this study, from the results files beside this script.

python experiments/fast/table.py            prints them
python experiments/fast/table.py --write    puts them into the README.md here
"""

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moe.errors import StoreError
from moe.report.marked import put
from moe.results import read as read_results

HERE = Path(__file__).parent
SIZES = ("s", "m", "l")
# What each arm of the ablation has in place of `s`.
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


def percent(values: list[float], sign: str = "") -> str:
    """Mean and standard deviation over seeds, in percent or points."""
    if not values:
        return "-"
    mean = f"{100 * statistics.mean(values):{sign}.2f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


def accuracies(found: Results) -> list[float]:
    return [run["test"]["accuracy"] for run in found.values()]


def differences(found: Results, to: Results) -> list[float]:
    """Of the seeds that both have."""
    return [found[seed]["test"]["accuracy"] - to[seed]["test"]["accuracy"] for seed in found if seed in to]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(results: Path) -> Iterator[str]:
    rows, machines, everything = [], set[str](), dict[str, Results]()
    for arm in (*SIZES, *ABLATION):
        everything[arm], everything[f"{arm}_views"] = read(results, arm), read(results, f"{arm}_views")
    for size in SIZES:
        plain, views = everything[size], everything[f"{size}_views"]
        spent = [run["seconds"]["base"] for run in plain.values()]
        machines |= {one["machine"] for one in spent}
        seconds = f"{statistics.mean(one['seconds'] for one in spent):.0f}" if spent else "-"
        epochs = ", ".join(sorted({str(run["config"]["base"]["recipe"]["epochs"]) for run in plain.values()})) or "-"
        rows.append(
            [f"`{size}`", str(len(plain)), epochs, percent(accuracies(plain)), percent(accuracies(views)), seconds]
        )
    yield markdown(
        ["size", "seeds", "epochs", "test accuracy, %", "with test-time views, %", "seconds of training"], rows
    )
    rows = [["`s` without test-time views", "", percent(differences(everything["s"], everything["s_views"]), "+")]]
    for arm, what in ABLATION.items():
        pairs = [(everything[f"{arm}{views}"], everything[f"s{views}"]) for views in ("", "_views")]
        rows.append([what, *(percent(differences(*pair), "+") for pair in pairs)])
    yield markdown(["in place of `s`", "difference, points", "the same with test-time views, points"], rows)
    where = f" Trained on {'; '.join(sorted(machines))}." if machines else " Nothing has run yet."
    yield f"Mean ± standard deviation over seeds; differences are of the same seed.{where}"


def main() -> None:
    text = "\n\n".join(tables(HERE / "results"))
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    put(HERE / "README.md", ("<!-- table: experiments/fast/table.py -->", "<!-- end of table -->"), text)


if __name__ == "__main__":
    main()
