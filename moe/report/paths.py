"""One image's path through the tree, drawn: which branches, what each expert says, how the gate weighs them.

Legend: N images, C H W image, K classes, E experts, L leaves.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from torch import Tensor

from moe.inference import Predictions
from moe.nets.gates import shares
from moe.report.figure import LETTER, MUTED, RIGHT, TAKEN, WIDTH, WRONG, short, style
from moe.taxonomy import Node, Tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The drawing's units are inches from the upper left corner; BARS is where bars begin, SMALL a font's points.
MARGIN, IMAGE, LINE, ROW, BARS, SMALL = 0.1, 0.9, 0.2, 0.21, 1.75, 8.5
TOP = 3
MOST_CHILDREN, MOST_LEAVES, MOST_EXPERTS, LEAST_SHARE = 8, 12, 6, 0.005


def choose(right: Tensor, labels: Tensor, count: int = 12) -> list[int]:
    """Up to `count` of N images to show, always the same: half wrong where there are so many, spread over classes."""
    classes = sorted(set(labels.tolist()))
    # Multiples of the golden ratio spread evenly however many are taken.
    spread = [classes[i] for i in sorted(range(len(classes)), key=lambda i: i * 0.618034 % 1)]
    wrong, good = _round_robin(~right, labels, spread), _round_robin(right, labels, spread[::-1])
    half = max(count // 2, count - len(good))
    chosen = wrong[:half]
    return sorted(chosen + good[: count - len(chosen)], key=lambda i: (int(labels[i]), i))


def _round_robin(among: Tensor, labels: Tensor, classes: Sequence[int]) -> list[int]:
    """The images that are `among` (N,): each class's first in the classes' order, then each one's second ..."""
    by_class = [(among & (labels == label)).nonzero().squeeze(1).tolist() for label in classes]
    return [
        images[turn] for turn in range(max(map(len, by_class), default=0)) for images in by_class if turn < len(images)
    ]


def only(predictions: Predictions, index: int) -> Predictions:
    """The predictions of one image, N still the first dimension."""
    rows = {field.name: getattr(predictions, field.name)[index : index + 1] for field in fields(Predictions)}
    return Predictions(**rows)


def draw_path(tree: Tree, image: Tensor, predictions: Predictions, label: int | None = None) -> "Figure":
    """The way that an image uint8 (C, H, W) took, from its own `predictions` (N = 1), as a matplotlib figure.

    Shows the image, the tree with the way taken and each branch's probability where it is known (what hard
    routing did not run says nothing), the first three classes of every expert with a say and its part of the
    mixture, and the mixture's. `label` marks the true class.
    """
    from matplotlib.figure import Figure

    probabilities = predictions.probabilities[0]
    route = int(predictions.route[0])
    known = _leaf_probabilities(predictions.leaves[0], route)
    root = _place(tree, tree.root, route, known, itertools.count()) if route >= 0 else None
    share = shares(predictions.weights, predictions.experts)[0]
    by_share = share.argsort(descending=True, stable=True)[:MOST_EXPERTS].tolist()
    speaking = sorted(e for e in by_share if share[e] >= LEAST_SHARE)

    rows = sum(1 for _ in root.walk()) if root else 0
    tree_top = MARGIN + IMAGE + 0.15
    experts_top = tree_top + rows * ROW + (0.25 if rows else 0.05)
    block = (TOP + 1) * LINE + 0.08
    height = experts_top + (len(speaking) + 1) * block + 0.1
    with style():
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0), xticks=[], yticks=[], frame_on=False)
        _header(axes, tree, image, probabilities, route, label)
        if root:
            _tree(axes, root, tree_top)
        for place, e in enumerate(speaking):
            title, note = tree.experts[e].name, f"{100 * share[e]:.0f}% of the mixture"
            top = experts_top + place * block
            _classes(axes, tree, predictions.experts[0, e], label, top, title, note, float(share[e]))
        top = experts_top + len(speaking) * block
        _classes(axes, tree, probabilities, label, top, "mixture", "", None)
    return figure


def _header(axes: "Axes", tree: Tree, image: Tensor, probabilities: Tensor, route: int, label: int | None) -> None:
    from matplotlib.patches import Rectangle

    pixels = image.permute(1, 2, 0).cpu().numpy() if len(image) == 3 else image[0].cpu().numpy()
    extent = (MARGIN, MARGIN + IMAGE, MARGIN + IMAGE, MARGIN)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none", aspect="auto")
    said = int(probabilities.argmax())
    verdict = "" if label is None else " (right)" if said == label else " (wrong)"
    lines = [(f"{short(tree.classes[said], 13)} {100 * probabilities[said]:.0f}%{verdict}", "bold", 10.5)]
    if label is not None:
        frame = Rectangle((MARGIN, MARGIN), IMAGE, IMAGE, fill=False, linewidth=3, zorder=3)
        frame.set_edgecolor(RIGHT if said == label else WRONG)
        axes.add_patch(frame)
        lines.append((f"truly {short(tree.classes[label], 24)}", "normal", 9.0))
        home = tree.leaf_of_label[label]
        if route >= 0 and home != route:
            lines.append((f"belongs in {short(tree.leaves[home].name)}", "normal", 9.0))
    if route < 0:
        lines.append(("one gate, no router", "normal", 9.0))
    for place, (text, weight, size) in enumerate(lines):
        y = MARGIN + 0.02 + place * 0.27
        axes.text(MARGIN + IMAGE + 0.2, y, text, fontweight=weight, fontsize=size, va="top")


@dataclass(frozen=True)
class _Spot:
    """A node's place: `depth` counts across, `row` down."""

    name: str
    depth: int
    row: int
    taken: bool
    probability: float | None
    children: tuple["_Spot", ...] = ()

    def walk(self) -> Iterator["_Spot"]:
        yield self
        for child in self.children:
            yield from child.walk()


def _leaf_probabilities(leaves: Tensor, route: int) -> list[float | None]:
    """The probability (L,) of each leaf, None where hard routing left it unknown."""
    values: list[float] = leaves.tolist()
    if abs(sum(values) - 1) < 1e-3:
        return list(values)
    if len(values) == 2:
        return [values[route] if leaf == route else 1 - values[route] for leaf in range(2)]
    return [value if leaf == route else None for leaf, value in enumerate(values)]


def _place(
    tree: Tree, node: Node, route: int, known: Sequence[float | None], rows: Iterator[int], depth: int = 0
) -> _Spot:
    """Where a node and those below it go; of a large tree only what lies on or beside the way."""
    row, taken = next(rows), tree.leaves[route] in node.walk()
    below = [i for i, leaf in enumerate(tree.leaves) if leaf in node.walk()]
    folded = bool(node.children) and not taken and len(tree.leaves) > MOST_LEAVES
    children = () if folded else node.children
    if len(children) > MOST_CHILDREN:
        first = sorted(children, key=lambda child: tree.leaves[route] not in child.walk())[: MOST_CHILDREN - 1]
        children = tuple(child for child in children if child in first)
    spots = [_place(tree, child, route, known, rows, depth + 1) for child in children]
    if not folded and len(children) < len(node.children):
        spots.append(_Spot(f"and {len(node.children) - len(children)} more", depth + 1, next(rows), False, None))
    name = f"{node.name} ({len(below)} leaves)" if folded else node.name
    parts = [known[leaf] for leaf in below]
    probability = None if depth == 0 or None in parts else sum(part for part in parts if part is not None)
    return _Spot(name, depth, row, taken, probability, tuple(spots))


def _tree(axes: "Axes", root: _Spot, top: float) -> None:
    """An outline, a row a node: names of any length and trees of any depth stay apart."""
    step = min(0.25, 1.2 / max(spot.depth for spot in root.walk()))

    def at(spot: _Spot) -> tuple[float, float]:
        return MARGIN + 0.06 + spot.depth * step, top + (spot.row + 0.5) * ROW

    for spot in root.walk():
        x, y = at(spot)
        for child in spot.children:
            to_x, to_y = at(child)
            colour, width = (TAKEN, 3.0) if child.taken else (MUTED, 0.8)
            axes.plot([x, x, to_x], [y, to_y, to_y], color=colour, linewidth=width, zorder=2 + child.taken)
        colour, size, weight = (TAKEN, 6, "bold") if spot.taken else (MUTED, 4, "normal")
        axes.plot(x, y, "o", color=colour, markersize=size, zorder=4)
        letters = int((BARS - x - 0.2) / LETTER)
        axes.text(x + 0.12, y, short(spot.name, letters), fontsize=SMALL, fontweight=weight, va="center", zorder=5)
        if spot.probability is not None:
            _bar(axes, y, spot.probability, colour)


def _bar(axes: "Axes", y: float, value: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    length = WIDTH - MARGIN - 0.38 - BARS
    axes.add_patch(Rectangle((BARS, y - 0.05), length * value, 0.1, color=colour, linewidth=0))
    axes.text(WIDTH - MARGIN, y, f"{value:.2f}", fontsize=SMALL, va="center", ha="right")


def _classes(
    axes: "Axes",
    tree: Tree,
    probabilities: Tensor,
    label: int | None,
    top: float,
    title: str,
    note: str,
    share: float | None,
) -> None:
    """A title line and the most probable classes as bars; `share` draws the gate's share below the title."""
    edge = WIDTH - MARGIN
    axes.plot([MARGIN, edge], [top, top], color=MUTED, linewidth=0.6, alpha=0.6)
    if share is not None:
        axes.plot([MARGIN, MARGIN + share * (edge - MARGIN)], [top, top], color=TAKEN, linewidth=3)
    axes.text(MARGIN, top + 0.06, short(title), fontweight="bold", fontsize=9, va="top")
    axes.text(edge, top + 0.06, note, fontsize=SMALL, va="top", ha="right")
    values, classes = probabilities.topk(min(TOP, len(probabilities)))
    for place, (value, k) in enumerate(zip(values.tolist(), classes.tolist(), strict=True)):
        if value <= 0:
            continue
        y = top + (place + 1.5) * LINE
        colour, weight = (RIGHT, "bold") if k == label else (MUTED, "normal")
        name = short(tree.classes[k], 18)
        axes.text(MARGIN + 0.1, y, name, fontsize=SMALL, fontweight=weight, va="center")
        _bar(axes, y, value, colour)
