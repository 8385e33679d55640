"""The report of small mixtures with random networks."""

import re
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from moe import results
from moe.inference import Predictions
from moe.nets.gates import shares
from moe.report import gates, plots
from moe.report import run as report
from moe.results.measure import measure_classifier, measure_router
from moe.schema import Plain
from moe.taxonomy import Tree, parse
from tests.reported import NASTY, TREE, example

ROWS = [
    {"epoch": 0, "train/loss": 2.0, "val/nll": 2.1, "train/accuracy": 0.2, "val/accuracy": 0.25},
    {"epoch": 1, "train/loss": 1.0, "val/nll": 1.5, "train/accuracy": 0.5, "val/branch/wet/accuracy": float("nan")},
]
CURVES = {"base": ROWS, "gates": ROWS[:1], "made": []}


class Page(HTMLParser):
    """What stands in a page: its text, headings, captions, ids, and tags left open."""

    VOID = ("meta", "br", "hr", "img", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text, self.found = "", dict[str, list[str]]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)
            self.found.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open:
            self.found[self.open[-1]][-1] += data


def written(folder: Path, whole: Plain, tree: Tree, predictions: Predictions | None, *rest: Tensor) -> Page:
    labels, images = rest
    report.write(folder, whole, tree, CURVES, predictions, labels, images)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def hard() -> tuple[Plain, Predictions, Tensor, Tensor]:
    return example(TREE)


@pytest.fixture(scope="module")
def page(hard: tuple[Plain, Predictions, Tensor, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Page:
    whole, predictions, labels, images = hard
    return written(tmp_path_factory.mktemp("report"), whole, TREE, predictions, labels, images)


def test_the_page_is_whole_and_needs_nothing_else(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "script" not in page.found and "link" not in page.found
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("#", "data:image/png;base64,"))


def test_every_reference_inside_a_drawing_is_found(page: Page) -> None:
    styles = " ".join(value for name, value in page.attributes if name in ("clip-path", "style") and value)
    used = set(re.findall(r"url\(#([^)]+)\)", styles))
    used |= {value[1:] for name, value in page.attributes if name in ("href", "xlink:href") and value[0] == "#"}
    assert used and used <= set(page.ids)


def test_what_the_page_says(page: Page, hard: tuple[Plain, Predictions, Tensor, Tensor]) -> None:
    whole = hard[0]
    assert page.found["h1"] == ["gates, seed 3"]
    titles = ["Accuracy", "Routers", "Gates", "Paths of some test images", "Training", "Where this is from"]
    assert page.found["h2"] == titles
    assert results.headline(whole) in page.text
    for name, verdict in whole["verdict"].items():
        assert results.verdict_sentence(name, verdict) in page.text
    cells = page.found["td"]
    wet = cells[cells.index("wet") :][:8]
    values = [whole["test"], *whole["baselines"].values()]
    assert wet == ["wet", "8", *(f"{100 * value['branch']['wet']['accuracy']:.2f}" for value in values)]
    assert "WARNING" not in page.text
    assert sum(caption.startswith("Test image") for caption in page.found["figcaption"]) == 12
    # Curves of the stages that have any.
    assert page.found["figcaption"][-2:] == ["base", "gates"]


def test_names_and_values_are_escaped(page: Page) -> None:
    assert NASTY in page.found["td"]
    assert any(NASTY[:12] in text for text in page.found["text"])
    assert "x" not in page.ids and "b" not in page.found
    assert '"note": "</pre><script>"' in page.found["pre"][0]


def test_selection_on_the_test_set_is_said(tmp_path: Path) -> None:
    whole, predictions, labels, images = example(TREE)
    whole["data"]["protocol"] = "notebook"
    page = written(tmp_path, whole, TREE, predictions, labels, images)
    assert results.warning(whole) in page.found["p"]


@pytest.mark.parametrize("routing", ["soft", "none"])
def test_other_routings(tmp_path: Path, routing: str) -> None:
    page = written(tmp_path, *reordered(example(TREE, routing)))
    assert ("Routers" in page.found["h2"]) == (routing == "soft")
    assert {"Gates", "Paths of some test images"} <= set(page.found["h2"])


def reordered(made: tuple[Plain, Predictions, Tensor, Tensor]) -> Any:
    whole, predictions, labels, images = made
    return whole, TREE, predictions, labels, images


@pytest.mark.parametrize(("routing", "drawn"), [("hard", [1, 2, 2]), ("soft", [4, 4, 4]), ("none", [4, 4, 4])])
def test_a_leafs_shares_are_of_every_expert_that_speaks_there(
    routing: str, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(plots, "gate_shares", lambda rows, experts: seen.append((rows, experts)) or Figure())
    whole, predictions, labels, _ = example(TREE, routing)
    gates.said(whole, TREE, predictions, labels)
    # Leaf made has its own specialist, furry and wet also that of alive, which they are in; unrouted all four speak.
    assert [len(experts) for _, experts in seen] == drawn
    if routing != "hard":
        rest = 1 - shares(predictions.weights, predictions.experts)[labels == 0, 0]
        torch.testing.assert_close(seen[0][0][NASTY].sum(dim=1), rest)


@pytest.mark.parametrize("target", ["base", "router", "experts"])
def test_what_a_target_has_not_is_left_out(tmp_path: Path, target: str) -> None:
    nothing = {"baselines": None, "verdict": None, "cost": None, "target": target, "val": None}
    whole, predictions, labels, images = example(TREE, **nothing)
    test = {
        "base": measure_classifier(TREE, predictions.probabilities, labels),
        "router": measure_router(TREE, predictions.route, labels),
        "experts": None,
    }[target]
    page = written(tmp_path, {**whole, "test": test}, TREE, None, labels, images)
    first = {"base": ["Accuracy"], "router": ["Routers"], "experts": []}[target]
    assert page.found["h2"] == [*first, "Training", "Where this is from"]


def test_two_classes_in_two_branches_and_twenty_branches(tmp_path: Path) -> None:
    for name, tree in {
        "few": parse({"a": [0], "b": [1]}, ("zero", "one")),
        "many": parse({f"branch{i}": [2 * i, 2 * i + 1] for i in range(20)}, [f"class {i}" for i in range(40)]),
    }.items():
        whole, predictions, labels, images = example(tree)
        folder = tmp_path / name
        folder.mkdir()
        page = written(folder, whole, tree, predictions, labels, images)
        assert page.open == [] and len(page.ids) == len(set(page.ids))
        assert ("and 13 more" in page.text) == (name == "many")


def test_the_same_results_give_the_same_page_and_leave_no_trace(tmp_path: Path) -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    pages = []
    for _ in range(2):
        whole, predictions, labels, images = example(TREE)
        report.write(tmp_path, whole, TREE, CURVES, predictions, labels, images)
        pages.append((tmp_path / "report.html").read_bytes())
    assert pages[0] == pages[1]
    assert dict(rcParams) == before


def test_matplotlib_is_imported_late() -> None:
    code = "import sys, moe.report.run; sys.exit('matplotlib' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(report.__file__).parents[2], check=False).returncode == 0
    )


def test_a_class_is_escaped_once() -> None:
    from matplotlib.figure import Figure

    from moe.report.figure import svg

    figure = Figure()
    figure.text(0, 0, "a < b", parse_math=False)
    drawn = svg(figure, 'a "name"')
    assert escape("a < b") in drawn and 'aria-label="a &quot;name&quot;"' in drawn
