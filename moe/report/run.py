"""`report.html`: what a run came to, in one file that needs nothing else.

Legend: N images, C H W image, K classes, E experts, L leaves.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from moe import results as words
from moe.inference import Predictions
from moe.metrics import right
from moe.report import gates, page, plots
from moe.report.figure import style, svg
from moe.report.paths import choose, draw_path, only
from moe.results.table import CAVEAT, cost_sentence, networks, regret_sentence, router_sentence
from moe.schema import Plain
from moe.store import write_whole
from moe.taxonomy import Tree

PATHS_NOTE = (
    "Half of them wrong where there are as many, spread over the classes: no fair sample. Beside a branch stands "
    "the probability of getting there, where routing knows it; the line above an expert is its part in the "
    "mixture."
)


def write(
    folder: Path,
    results: Plain,
    tree: Tree,
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    predictions: Predictions | None,
    labels: Tensor,
    images: Tensor,
) -> None:
    """Write `report.html` into `folder`.

    `curves` holds every stage's epochs; `predictions` are those of a mixture on the test `images` uint8
    (N, C, H, W) of `labels` (N,), None for other targets. What a target has not is left out. Raises StoreError where
    it cannot be written.
    """
    title = f"{results['experiment']}, seed {results['seed']}"
    with style():
        parts = [
            page.heading(title),
            page.paragraph(words.headline(results)),
            page.paragraph(words.warning(results), "warning"),
            page.section("Accuracy", *_accuracy(results)),
            page.section("Routers", *_routers(results)),
            page.section("Gates", *gates.said(results, tree, predictions, labels)),
            page.section("Paths of some test images", *_paths(tree, predictions, labels, images)),
            page.section("Training", *_training(results, curves)),
            page.section("Where this is from", *_origin(results)),
        ]
    write_whole(folder / page.REPORT, page.document(title, parts).encode())


def _accuracy(results: Plain) -> list[str]:
    sections = words.sections(results)
    if not sections:
        return []
    test = results["test"]
    series = {name: {**{"all": part}, **(part.get("branch") or {})} for name, part in sections.items()}
    counts = {"all": sum(branch["count"] for branch in test["branch"].values())}
    counts |= {name: branch["count"] for name, branch in test["branch"].items()}
    classes = {name: part.get("class") or {} for name, part in sections.items()}
    heading = [name.replace("_", " ") for name in sections]
    by_branch = [[name, f"{count:,}", *_cells(series, name)] for name, count in counts.items()]
    by_class = [[name, *_cells(classes, name)] for name in test["class"]]
    drawings = {
        "By branch": svg(plots.accuracy(list(counts), _values(series, counts)), "accuracy by branch"),
        "By class": svg(plots.accuracy(list(test["class"]), _values(classes, test["class"])), "accuracy by class"),
    }
    calibration = f"Negative log-likelihood {test['nll']:.4f} nats; expected calibration error {test['ece']:.4f}."
    verdicts = results.get("verdict") or {}
    return [
        page.paragraph("Accuracy on the test images in %, by true branch."),
        page.table(["branch", "images", *heading], by_branch),
        page.paragraph(calibration),
        page.bullets([words.verdict_sentence(name, verdict) for name, verdict in verdicts.items()]),
        page.paragraph(CAVEAT if verdicts else None, "soft"),
        page.paragraph(regret_sentence(results)),
        page.figures(drawings),
        page.details("Accuracy by class in numbers", page.table(["class", *heading], by_class)),
    ]


def _cells(series: Mapping[str, Plain], row: str) -> list[str]:
    values = [part.get(row, {}).get("accuracy") for part in series.values()]
    return ["-" if value is None else f"{100 * value:.2f}" for value in values]


def _values(series: Mapping[str, Plain], rows: Mapping[str, object]) -> dict[str, list[float | None]]:
    return {name: [part.get(row, {}).get("accuracy") for row in rows] for name, part in series.items()}


def _routers(results: Plain) -> list[str]:
    router = (results.get("test") or {}).get("router")
    if not router:
        return []
    names = list(router["recall"])
    drawing = svg(plots.confusion(names, router["confusion"]), "confusion of branches")
    rows = [[name, *map(str, counts)] for name, counts in zip(names, router["confusion"], strict=True)]
    return [
        page.paragraph(router_sentence(results)),
        page.figures({"Branch of the image and where it went": drawing}),
        page.details(
            "Where images went in numbers", page.table(["true branch", *(f"sent to {name}" for name in names)], rows)
        ),
    ]


def _paths(tree: Tree, predictions: Predictions | None, labels: Tensor, images: Tensor) -> list[str]:
    if predictions is None:
        return []
    drawings = {}
    for i in choose(right(predictions.probabilities, labels), labels):
        figure = draw_path(tree, images[i], only(predictions, i), int(labels[i]))
        # All that is written in it, and what colours alone say.
        said = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
        route = int(predictions.route[i])
        way = [f"sent to {tree.leaves[route].name}"] if route >= 0 else []
        drawings[f"Test image {i}"] = svg(figure, f"path of test image {i}: {', '.join([*way, *said])}")
    return [page.paragraph(PATHS_NOTE, "soft"), page.figures(drawings)]


def _training(results: Plain, curves: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    rows = networks(results)
    drawn = {name: rows for name, rows in curves.items() if rows}
    drawings = {name: svg(plots.curves(rows), f"learning curves of {name}") for name, rows in drawn.items()}
    heading = ["network", "kind", "images", "accuracy", "seconds"]
    return [
        page.paragraph(
            "Each network on the test images of its own classes, in %, and how long it trained." if rows else None
        ),
        page.table(heading, rows),
        page.paragraph(cost_sentence(results)),
        page.figures(drawings),
        page.details("Learning curves in numbers", _curves_table(drawn)),
    ]


def _curves_table(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    keys = [(key, scale, digits) for _, scale, digits, shown in plots.CURVES for key in shown.values()]
    heading = [
        title if name == "train" else f"{title} on {name}" for title, *_, shown in plots.CURVES for name in shown
    ]
    rows = [
        [name, f"{row['epoch'] + 1:.0f}", *(_scaled(row.get(key), scale, digits) for key, scale, digits in keys)]
        for name, epochs in curves.items()
        for row in epochs
    ]
    return page.table(["network", "epoch", *heading], rows)


def _scaled(value: float | None, scale: float, digits: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{scale * value:.{digits}f}"


def _origin(results: Plain) -> list[str]:
    shown = ("key", "git", "machine", "precision", "versions", "data", "val")
    return [
        page.facts({name: results.get(name) for name in shown}),
        page.details("Config", page.code(json.dumps(results.get("config"), indent=1))),
    ]
