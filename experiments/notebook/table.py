"""The table of this study, from the results files beside this script.

python experiments/notebook/table.py            prints it
python experiments/notebook/table.py --write    puts it into the README.md here, and its first rows into that at the top
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moe.comparison import collect, revisions, rows
from moe.comparison.columns import difference, percent
from moe.comparison.estimate import Estimate, estimate
from moe.provenance import in_words
from moe.report.marked import put

HERE = Path(__file__).parent
# Whether what a README shows is all of it.
READMES = {HERE / "README.md": True, HERE.parent.parent / "README.md": False}
MARKS = ("<!-- table: experiments/notebook/table.py -->", "<!-- end of table -->")
# Each arm, the protocol that its results must name, and what heads its column.
ARMS = {
    "notebook": ("notebook", "notebook's protocol"),
    "leak_free": ("held_out", "the same, no leak"),
    "held_out": ("held_out", "`experiment=held_out`, fp32"),
}
GAINS = ("base", "uniform")
Results = dict[str, Any]

# The Keras notebook's own numbers, as its cells print them (MoE3_Cifar10.ipynb, 2017).
NOTEBOOK = {"base": 76.93, "router": 94.35, "artificial": 88.92, "natural": 75.47, "mixture": 79.82}


def baseline(name: str) -> Callable[[Results], float]:
    return lambda found: found["baselines"][name]["accuracy"]


def stage(name: str) -> Callable[[Results], float]:
    return lambda found: found["stages"][name]["test"]["accuracy"]


def over(name: str) -> Callable[[Results], float]:
    return lambda found: found["verdict"][name]["difference"]


def clear(found: list[Results], name: str) -> str:
    """In how many seeds the paired 95% interval over the test images leaves out zero, and to which side."""
    intervals = [ends for results in found if (ends := results["verdict"][name]["ci95"])]
    better, worse = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    said = [f"{way} in {count}" for way, count in (("better", better), ("worse", worse)) if count]
    return f" ({', '.join(said) or 'clear in none'} of {len(found)})" if found else ""


ROWS: list[tuple[str, str, Callable[[Results], float]]] = [
    ("base", "base, all 10,000 test images", stage("base")),
    ("router", "router, artificial or natural", stage("router")),
    ("artificial", "artificial expert, its own 4,000", stage("artificial")),
    ("natural", "natural expert, its own 6,000", stage("natural")),
    ("mixture", "**mixture**", lambda found: found["test"]["accuracy"]),
    ("", "routed specialists alone", baseline("specialists")),
    ("", "routed uniform average", baseline("uniform")),
    ("", "mixture behind a perfect router", baseline("oracle_router")),
    ("", "any expert on the true path right", baseline("oracle_expert")),
]
# The notebook's base stopped after nine epochs (the log that its cell prints); ours learn for longer.
EPOCHS, AFTER = 9, 77.01
# The mixture less each of these, in points.
OVER = {
    "base": "the base",
    "uniform": "the uniform average",
    "specialists": "the routed specialists alone",
    "oracle_router": "itself behind a perfect router",
}


def read(arm: str) -> list[Results]:
    """The arm's results, a seed each, in order of the seeds. Exits where one is of another protocol than the arm's."""
    found = [json.loads(path.read_text()) for path in HERE.glob(f"results/{arm}/*/results.json")]
    found.sort(key=lambda results: int(results["seed"]))
    for results in found:
        if results["data"]["protocol"] != ARMS[arm][0]:
            sys.exit(
                f"{arm}, seed {results['seed']}, is of data.splits.protocol={results['data']['protocol']}, not "
                f"{ARMS[arm][0]}: run it again by run.sh"
            )
    return found


def after(epochs: int) -> list[float]:
    """The test accuracy of the `notebook` arm's base after so many epochs, a seed each where the curve was kept.

    Exits where a curve is of another base.
    """
    found = []
    for results in read("notebook"):
        path = HERE / "results" / "notebook" / str(results["seed"]) / "base_curve.json"
        if path.is_file():
            curve = json.loads(path.read_text())
            if curve["key"] != results["stages"]["base"]["key"]:
                sys.exit(f"{path} is of another base than the results beside it: run experiments/notebook/curves.py")
            found.append(curve["test/accuracy"][epochs - 1])
    return found


def cell(values: list[float], said: Callable[[Estimate | None], str] = percent) -> str:
    """The mean over seeds, of several with its interval, in percent or as `said` has it."""
    return said(estimate(values)) or "-"


def table(whole: bool = True) -> str:
    """The table as Markdown, with what it is made from: all of it, or the notebook's rows and what the gates gain."""
    arms = {arm: read(arm) for arm in ARMS}
    heads = [f"{title}, n={len(arms[arm])}" for arm, (_, title) in ARMS.items()]
    lines = [f"| test accuracy, % | Keras notebook | {' | '.join(heads)} |", "| --- |" + " --: |" * (1 + len(heads))]
    for key, title, number in ROWS:
        if not whole and key not in NOTEBOOK:
            continue
        theirs = f"{NOTEBOOK[key]:.2f}" if key in NOTEBOOK else ""
        cells = [cell([number(found) for found in arms[arm]]) for arm in ARMS]
        lines.append(f"| {title} | {theirs} | {' | '.join(cells)} |")
        if key == "base" and whole:
            kept = after(EPOCHS)
            of = f" ({len(kept)} of {len(arms['notebook'])} seeds)" if len(kept) < len(arms["notebook"]) else ""
            lines.append(f"| the same after {EPOCHS} epochs | {AFTER:.2f} | {cell(kept)}{of} |" + "  |" * 2)
    for name, title in OVER.items():
        if not whole and name not in GAINS:
            continue
        theirs = f"{NOTEBOOK['mixture'] - NOTEBOOK['base']:+.2f}" if name == "base" else ""
        cells = [cell([over(name)(found) for found in arms[arm]], difference) + clear(arms[arm], name) for arm in ARMS]
        lines.append(f"| mixture less {title}, points | {theirs} | {' | '.join(cells)} |")
    machines = sorted({in_words(found["machine"]) for results in arms.values() for found in results})
    seeds = {arm: ", ".join(str(found["seed"]) for found in results) or "none" for arm, results in arms.items()}
    lines += [
        "",
        f"Mean over seeds ({'; '.join(f'{arm}: {s}' for arm, s in seeds.items())}) and, where n is above 1, half of "
        "its 95% interval by Student's t, of differences the interval's ends, "
        f"on {'; '.join(machines)}. Better or worse: in so many seeds the paired 95% interval over the test "
        f"images leaves out zero. {revisions(rows(collect([HERE / 'results'])[0])) or ''}".rstrip(),
    ]
    return "\n".join(lines)


def main() -> None:
    text = table()
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    for readme, whole in READMES.items():
        put(readme, MARKS, table(whole))


if __name__ == "__main__":
    main()
