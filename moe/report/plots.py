"""The report's plots: accuracy, the routers' confusion, gate weights, learning curves.

Legend: N images, L leaves.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moe.report.figure import LETTER, MUTED, PALETTE, TAKEN, WIDTH, short
from moe.report.layout import BELOW, add_legend, new_axes, part, row_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = {
    "base": (MUTED, "s"),
    "specialists": (PALETTE[1], "^"),
    "uniform": (PALETTE[2], "D"),
    "oracle_router": (PALETTE[3], "<"),
    "oracle_expert": (PALETTE[4], ">"),
}
MAX_CELLS, MAX_PERCENT = 12, 6  # above so many leaves the numbers in a confusion matrix would overlap

# Left and right what is shown, in what parts of one and with so many digits, by what it is of.
CURVES = (
    ("loss in nats", 1, 3, {"train": "train/loss", "val": "val/nll"}),
    ("accuracy in %", 100, 2, {"train": "train/accuracy", "val": "val/accuracy"}),
)

Curve = Sequence[Mapping[str, float]]


def accuracy(names: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> "Figure":
    """Accuracies in % as dots, a row for each of `names`, the first series (the run's own) the largest dot."""
    figure, axes = row_axes(names, len(names), [name.replace("_", " ") for name in series])
    for i, (name, values) in enumerate(series.items()):
        colour, marker = (TAKEN, "o") if i == 0 else SERIES[name]
        axes.plot(
            [math.nan if value is None else 100 * value for value in values],
            range(len(names)),
            marker,
            color=colour,
            label=name.replace("_", " "),
            markersize=9 if i == 0 else 5,
            zorder=2 if i == 0 else 3,
            alpha=0.85,
        )
    axes.set_xlabel("test accuracy in %")
    add_legend(figure, axes)
    return figure


def confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> "Figure":
    """Where the routers sent each branch's images: counts L x L, a row the true leaf, shaded by its part."""
    L = len(names)
    names = [short(name, 14) for name in names]
    table = torch.tensor(counts, dtype=torch.double)
    part = table / table.sum(dim=1, keepdim=True).clamp_min(1)
    left = LETTER * max(map(len, names)) + 0.3
    side = min(0.8 * L, WIDTH - left - 0.1)
    below = 0.45 if L <= 2 else LETTER * max(map(len, names)) + 0.35
    figure, axes = new_axes(left, below, side, side, 0.1)
    axes.imshow(part.numpy(), cmap="Blues", vmin=0, vmax=1)
    if L <= MAX_CELLS:
        for i in range(L):
            for j in range(L):
                percent = f"\n{100 * part[i, j]:.0f}%" if L <= MAX_PERCENT else ""
                # Cells keep their colours in a dark page, so the text does too: whichever has the more contrast.
                ink = "white" if part[i, j] > 0.71 else "black"
                axes.text(j, i, f"{counts[i][j]}{percent}", ha="center", va="center", color=ink, fontsize=7.5)
    axes.set_xticks(range(L), names, rotation=90 if L > 2 else 0)
    axes.set_yticks(range(L), names)
    axes.tick_params(length=0)
    axes.set_xlabel("sent to")
    axes.set_ylabel("true branch")
    return figure


def gate_shares(rows: Mapping[str, Tensor], experts: Sequence[str]) -> "Figure":
    """How an expert's part of the mixture spreads over images: a box an expert in each row.

    `rows` holds for each row's name the shares (N, len(experts)). Boxes span the middle half, whiskers 5% to 95%.
    """
    figure, axes = row_axes(list(rows), len(rows) * max(1.0, 0.6 * len(experts)), experts)
    height = 0.8 / len(experts)
    for e, name in enumerate(experts):
        boxes, places = [], []
        for row, shares in enumerate(rows.values()):
            if len(shares):
                low, q1, middle, q3, high = spread(shares[:, e])
                boxes.append({"whislo": low, "q1": q1, "med": middle, "q3": q3, "whishi": high})
                places.append(row - 0.4 + height * (e + 0.5))
        colour = PALETTE[e % len(PALETTE)]
        line = {"color": colour, "linewidth": 1.2}
        axes.bxp(
            boxes,
            positions=places,
            widths=0.8 * height,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.45},
            medianprops={**line, "linewidth": 2},
            whiskerprops=line,
            capprops=line,
            manage_ticks=False,
        )
        axes.plot([], [], color=colour, linewidth=5, alpha=0.6, label=short(name))
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("part of the mixture")
    add_legend(figure, axes)
    return figure


def spread(values: Tensor) -> list[float]:
    """The quantiles of values (N,) at 5%, 25%, 50%, 75% and 95%, interpolated between two values."""
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.double)
    found: list[float] = torch.quantile(values.double(), levels).tolist()
    return found


def curves(rows: Curve) -> "Figure":
    """One stage's loss in nats and accuracy in % by epoch, in training and on validation images."""
    width, height = (WIDTH - 1.05) / 2, 1.3
    figure, loss = new_axes(0.4, BELOW, width, height, 0.45)
    right = figure.add_axes(part(figure, 0.4 + width + 0.5, BELOW, width, height))
    for axes, (title, scale, _, keys) in zip((loss, right), CURVES, strict=True):
        _curve(axes, rows, keys, scale)
        axes.set_title(title)
    add_legend(figure, loss)
    return figure


def _curve(axes: "Axes", rows: Curve, keys: Mapping[str, str], scale: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for (name, key), colour in zip(keys.items(), (MUTED, TAKEN), strict=True):
        values = [scale * row.get(key, math.nan) for row in rows]
        marker = "o" if len(rows) < 3 else ""
        axes.plot([row["epoch"] + 1 for row in rows], values, color=colour, label=name, linewidth=1.6, marker=marker)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
    axes.set_xlabel("epoch")
