"""The tables of this study, from the results files beside this script.

python experiments/fast/table.py            prints them
python experiments/fast/table.py --write    puts them into the README.md here
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from moe.comparison import Row, collect, differing, revisions, rows, uncounted
from moe.comparison.columns import difference, minutes, percent
from moe.comparison.estimate import estimate
from moe.provenance import in_words
from moe.report.marked import markdown, put
from moe.results import read as results_of

HERE = Path(__file__).parent
SIZES = {
    "s": "`s`",
    "s_bf16": "`s`, Muon in bf16",
    "m": "`m`",
    "l": "`l`, Muon in bf16",
    "l_plain": "`l`, Muon in fp32, shifted by 2 pixels and not 4, nothing cut out",
}
# What each arm of the ablation has in place of what `narrow` has, and the part of the config that says so.
ABLATION = {
    "no_whitening": ("a first convolution that learns, in place of frozen whitening", "base.net.whitening"),
    "standardised": (
        "the same, of pixels less their mean colour and over their deviation",
        "base.net.whitening data.mean data.std",
    ),
    "no_dirac": ("convolutions that start at random", "base.net.dirac"),
    "no_bias_lr": ("normalisations' biases at the rate of all else", "base.recipe.bias_lr"),
    "no_flip": ("no flips", "base.recipe.augment.flip"),
    "no_alternating": ("flips by chance", "base.recipe.augment.flip"),
    "no_shift": ("no shifts", "base.recipe.augment.shift"),
    "no_smoothing": ("no label smoothing", "base.recipe.label_smoothing"),
    "no_averaging": ("no average of the weights", "base.recipe.averaging"),
    "constant": ("a constant learning rate, in place of a triangle", "base.recipe.schedule base.recipe.warmup"),
    "cutout": ("a square of 8 x 8 pixels cut out, too", "base.recipe.augment.cutout"),
    "lookahead": ("Lookahead in place of the average", "base.recipe.averaging base.recipe.lookahead"),
    "sgd": ("kernels by SGD, too, in place of Muon", "base.recipe.muon"),
}
# In which `l_plain` differs from `l`.
NEAR = "base.recipe.augment.shift base.recipe.augment.cutout base.recipe.muon.bf16"
VIEWS = "_views"
# A base alone has none of these, though their networks would be like its own.
NOT_TRAINED = ("expert.", "router.", "gate.")
Arms = Mapping[str, Row]


def read(results: Path) -> dict[str, Row]:
    """What there is of the arms, with test-time views too. Exits where an arm's runs are not of one config."""
    arms = {}
    for arm in (f"{name}{views}" for name in (*SIZES, "narrow", *ABLATION) for views in ("", VIEWS)):
        if not any((results / arm).rglob("results.json")):
            continue
        runs, faults = collect([results / arm])
        made = rows(runs)
        if faults or len(made) > 1:
            sys.exit("\n".join(faults) or f"{results / arm} holds runs that differ in {', '.join(differing(runs))}")
        arms[arm] = made[0]
    return arms


def check(arms: Arms) -> None:
    """Exit where an arm differs from the one that it is held beside in more than what it is about, or not in that."""
    beside = {arm: ("narrow", keys) for arm, (_, keys) in ABLATION.items()} | {"l_plain": ("l", NEAR)}
    for arm, (whole, keys) in beside.items():
        for views in ("", VIEWS):
            pair = [arms[name] for name in (f"{arm}{views}", f"{whole}{views}") if name in arms]
            found = differing([row.first for row in pair])
            own = (*keys.split(), *NOT_TRAINED)
            other = [key for key in found if not key.startswith(own)]
            lacking = [key for key in keys.split() if len(pair) == 2 and not any(one.startswith(key) for one in found)]
            if other or lacking:
                sys.exit(f"{arm}{views} differs from {whole}{views} in {', '.join(other or ['nothing that it says'])}")


def spread(row: Row | None) -> str:
    """The mean test accuracy over seeds in percent, of several with its interval."""
    return "-" if row is None else percent(row.test)


def gap(one: Row | None, to: Row | None) -> str:
    """How much better than `to` it is in the seeds that both have, in points, in bold beyond its interval."""
    if one is None or to is None:
        return "-"
    paired = one.less(to)
    found = estimate(paired)
    said = difference(found)
    few = f" (n={len(paired)})" if paired and len(paired) < one.n else ""
    return "-" if found is None else (f"**{said}**" if found.sign else said) + few


def origin(found: Iterable[Row]) -> str:
    """Where the networks were trained, by which numbers and which code."""
    found = list(found)
    each = [results_of(run.path) for row in found for run in row.runs]
    if not each:
        return " Nothing has run yet."
    where = sorted({f"{in_words(one['seconds']['base']['machine'])} in {one['precision']}" for one in each})
    return f" Trained on {'; '.join(where)}." + (f" {said}" if (said := revisions(found)) else "")


def sizes(arms: Arms) -> str:
    """What each size comes to, how much it computes in training, and how long that takes."""
    check(arms)
    cells = []
    for size, name in SIZES.items():
        row, views = arms.get(size), arms.get(f"{size}{VIEWS}")
        epochs = "-" if row is None else str(row.first.config["base.recipe.epochs"])
        cells.append([name, f"{0 if row is None else row.n}", epochs, spread(row), spread(views), *trained(row)])
    head = ["size", "seeds", "epochs", "test accuracy, %", "with test-time views, %", "PFLOP of training"]
    head += ["minutes of it", "TFLOP/s"]
    said = (
        "Mean over seeds with half of its 95% interval by Student's t; of minutes, of which TFLOP/s is, the median, of "
        "several with the least and the greatest."
    )
    found = [row for arm, row in arms.items() if arm.removesuffix(VIEWS) in SIZES]
    before = uncounted({size: arms[size] for size in SIZES if size in arms})
    return f"{markdown(head, cells)}\n\n{said}{origin(found)}" + (f" {before}" if before else "")


def trained(row: Row | None) -> list[str]:
    """An arm's training: PFLOP, minutes, and TFLOP a second, which tells fast machines and such as did more at once."""
    if row is None:
        return ["-", "-", "-"]
    flops = row.mean("training_flops")
    return [
        "-" if flops is None else f"{flops / 1e15:.2f}",
        minutes(row, 0),
        "-" if flops is None else f"{flops / 1e12 / median(run.seconds for run in row.runs):.2f}",
    ]


def ablation(arms: Arms) -> str:
    """What the narrow network loses or gains without each method, or with another in its place."""
    check(arms)
    narrow, views = arms.get("narrow"), arms.get(f"narrow{VIEWS}")
    own = [spread(narrow), "", gap(narrow, views), "-" if narrow is None else minutes(narrow)]
    cells = [["nothing else", f"{0 if narrow is None else narrow.n}", *own]]
    for arm, (what, _) in ABLATION.items():
        row = arms.get(arm)
        both = gap(arms.get(f"{arm}{VIEWS}"), views)
        own = [spread(row), gap(row, narrow), both, "-" if row is None else minutes(row)]
        cells.append([what, f"{0 if row is None else row.n}", *own])
    less = ["less `narrow`, points", "both with test-time views"]
    head = ["what is other", "seeds", "test accuracy, %", *less, "minutes of training"]
    said = (
        "Mean over seeds with half of its 95% interval by Student's t; differences are of the same seed, with theirs, "
        "in bold where it leaves out zero, before any correction for their number. In the first row the last column is "
        "what going without test-time views costs. Of minutes the median, the least and the greatest."
    )
    found = [row for arm, row in arms.items() if arm.removesuffix(VIEWS) not in SIZES]
    return f"{markdown(head, cells)}\n\n{said}{origin(found)}"


def main() -> None:
    arms = read(HERE / "results")
    parts = {"sizes": sizes(arms), "ablation": ablation(arms)}
    if "--write" not in sys.argv[1:]:
        print("\n\n".join(parts.values()))
        return
    for name, text in parts.items():
        put(HERE / "README.md", (f"<!-- table: experiments/fast/table.py, {name} -->", "<!-- end of table -->"), text)


if __name__ == "__main__":
    main()
