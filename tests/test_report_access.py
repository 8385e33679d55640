"""A report for those who see little contrast, no colours, or no drawings at all."""

import re
from pathlib import Path

import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from moe.comparison.estimate import Estimate
from moe.nets.gates import shares
from moe.report import figure, gates, page, plots, tradeoffs
from moe.report import run as report
from moe.report.paths import draw_path, only
from tests.reported import TREE, example


def contrast(one: str | tuple[float, ...], other: str | tuple[float, ...]) -> float:
    """From 1 to 21. Source: W3C, Web Content Accessibility Guidelines 2.2, contrast ratio and relative luminance."""
    luminances = []
    for colour in (one, other):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        luminances.append(sum(part * c for part, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    low, high = sorted(luminances)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


def test_marks_stand_out_from_a_light_page_and_from_a_dark_one() -> None:
    grounds = re.findall(r"--(?:page|box): (#\w+)", page.STYLE)
    assert len(grounds) == 4
    marks = {*figure.PALETTE, figure.MUTED, figure.TAKEN, figure.RIGHT, figure.WRONG}
    assert min(contrast(mark, ground) for mark in marks for ground in grounds) >= 3


def test_text_is_in_ink_which_is_the_pages_own() -> None:
    _, predictions, labels, images = example(TREE)
    found = [Estimate(0.5), Estimate(0.6)]
    with figure.style():
        drawn = [
            *(draw_path(TREE, images[i], only(predictions, i), int(labels[i])) for i in range(len(labels))),
            tradeoffs.against_cost([1.0, 2.0], found, [1, 2], "parameters"),
            tradeoffs.by_row(["a", "b"], {"one": found, "two": found}, "points"),
            plots.curves([{"epoch": 0, "train/loss": 2.0}]),
        ]
        colours = {text.get_color() for one in drawn for text in written(one)}
    assert colours == {figure.INK}
    light, dark = re.findall(r"--ink: (#\w+); --page: (#\w+)", page.STYLE)
    assert light[0] == figure.INK and min(contrast(*light), contrast(*dark)) >= 4.5


def written(drawn: Figure) -> list[Text]:
    return [text for text in drawn.findobj(Text) if isinstance(text, Text) and text.get_text()]


def test_a_matrix_is_read_at_every_shade() -> None:
    for percent in range(101):
        axes = plots.confusion(["a", "b"], [[percent, 100 - percent], [0, 1]]).axes[0]
        shade = colormaps["Blues"](percent / 100)[:3]
        assert contrast(axes.texts[0].get_color(), shade) >= 4.5, percent


def test_a_drawing_is_told_in_words_or_in_a_table(tmp_path: Path) -> None:
    whole, predictions, labels, images = example(TREE)
    rows = [{"epoch": 0, "train/loss": 2.0, "val/nll": 2.125, "train/accuracy": 0.2, "val/accuracy": 0.25}]
    report.write(tmp_path, whole, TREE, {"base": [*rows, {"epoch": 1, "train/loss": 1.5}]}, predictions, labels, images)
    said = (tmp_path / "report.html").read_text()
    # Where images went, row by row.
    for name, counts in zip(("made", "furry", "wet"), whole["test"]["router"]["confusion"], strict=True):
        assert f"<tr><td>{name}</td>" + "".join(f"<td>{count}</td>" for count in counts) in said
    assert "<td>base</td><td>1</td><td>2.000</td><td>2.125</td><td>20.00</td><td>25.00</td>" in said
    assert "<td>base</td><td>2</td><td>1.500</td><td>-</td><td>-</td><td>-</td>" in said
    # A path's label has all that is written in it.
    labelled = re.findall(r'aria-label="path of test image (\d+): ([^"]*)"', said)
    assert len(labelled) == 12
    for number, words in labelled:
        i = int(number)
        assert words.startswith(f"sent to {TREE.leaves[predictions.route[i]].name}, ")
        k = int(predictions.probabilities[i].argmax())
        percent = f"{100 * predictions.probabilities[i, k]:.0f}%"
        assert f"{percent} ({'right' if k == labels[i] else 'wrong'}), truly " in words and ", mixture, " in words


def test_shares_in_numbers() -> None:
    # Of 0, 0.1, ... 1: quantiles by hand.
    assert plots.spread(torch.linspace(0, 1, 11)) == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95])
    whole, predictions, labels, _ = example(TREE)
    said = "".join(gates.said(whole, TREE, predictions, labels))
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", said)]
    here = (predictions.route == 0) & (labels == 1)
    own = shares(predictions.weights, predictions.experts)[here, 1]  # of the first leaf's specialist, in ships
    low, q1, middle, q3, high = plots.spread(own)
    expected = [f"{middle:.2f}", f"{q1:.2f} to {q3:.2f}", f"{low:.2f} to {high:.2f}", f"{int(here.sum())}"]
    assert 1 < here.sum() < 16 and ["made", "ship", "made", *expected] in rows
