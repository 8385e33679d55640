"""The part of a run's page that is about its gates: how much of the mixture each expert has.

Legend: N images, E experts.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moe.inference import Predictions
from moe.nets.gates import shares
from moe.report import page, plots
from moe.report.figure import svg
from moe.schema import Plain
from moe.taxonomy import Tree


def said(results: Plain, tree: Tree, predictions: Predictions | None, labels: Tensor) -> list[str]:
    """What a run's page says of its gates, as HTML; nothing of a run without gates.

    `predictions` are those on the test images of `labels` (N,); without them only means are said.
    """
    gates = (results.get("test") or {}).get("gate")
    if not gates:
        return []
    rows = [
        [
            name,
            ", ".join(f"{expert} {_number(weight)}" for expert, weight in gate["weight"].items()),
            _number(gate["entropy"]),
        ]
        for name, gate in gates.items()
    ]
    spread = {}
    if predictions is not None:
        spread = _gate_shares(tree, predictions, labels, results["config"]["mixture"]["routing"])
    most = max(math.log(len(gate["weight"])) for gate in gates.values())
    return [
        page.paragraph(
            f"Each expert's part in its leaf's mixture. Entropy is 0 where one expert has it all, at most {most:.2f}."
        ),
        page.table(["gate", "mean part of each expert", "mean entropy in nats"], rows, "words"),
        page.figures(
            {
                f"{leaf}: what is not the base's": svg(plots.gate_shares(by_class, experts), f"shares in {leaf}")
                for leaf, (experts, by_class) in spread.items()
            }
        ),
        page.details("Parts by class in numbers", _shares_table(spread)),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _gate_shares(
    tree: Tree, predictions: Predictions, labels: Tensor, routing: str
) -> dict[str, tuple[list[str], dict[str, Tensor]]]:
    """Of each leaf: the experts but the base that speak there, and their shares (N, E) by class of what its gate saw.

    Under hard routing these are the leaf's own; else every specialist has a say for every image.
    """
    share = shares(predictions.weights, predictions.experts)  # (N, E)
    found = {}
    for i, (leaf, path) in enumerate(zip(tree.leaves, tree.paths, strict=True)):
        # A leaf's own expert has no weight where the base spoke alone.
        gated = predictions.weights[:, :, path[-1]].sum(dim=1) > 0
        here = (predictions.route == i) & gated if routing == "hard" else torch.ones_like(labels, dtype=torch.bool)
        experts = path[1:] if routing == "hard" else list(range(1, len(tree.experts)))
        own = share[:, experts]
        rows = {tree.classes[label]: own[here & (labels == label)] for label in leaf.labels}
        strays = here & ~torch.isin(labels, torch.tensor(leaf.labels))
        if routing == "hard" and strays.any():
            rows["sent here wrongly"] = own[strays]
        found[leaf.name] = [tree.experts[e].name for e in experts], rows
    return found


def _shares_table(spread: Mapping[str, tuple[Sequence[str], Mapping[str, Tensor]]]) -> str:
    """What the boxes show: the median, the middle half and the middle nine tenths of each expert's shares."""
    rows = []
    for leaf, (experts, by_class) in spread.items():
        for name, each in by_class.items():
            for e, expert in enumerate(experts):
                if len(each):
                    low, q1, middle, q3, high = plots.spread(each[:, e])
                    ends = f"{q1:.2f} to {q3:.2f}", f"{low:.2f} to {high:.2f}"
                    rows.append([leaf, name, expert, f"{middle:.2f}", *ends, f"{len(each):,}"])
    return page.table(["gate", "class", "expert", "median", "middle half", "5% to 95%", "images"], rows, "words")
