"""Paths of images through the tree whose every number is known, and which images are shown."""

from typing import TYPE_CHECKING

import torch

from moe.inference import Predictions
from moe.report.paths import choose, draw_path
from moe.taxonomy import parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NASTY = '<b id="x">&$a$'  # a class of this name must come out as text
CLASSES = (NASTY, "ship", "cat", "dog", "frog")
TREE = parse({"made": [0, 1], "alive": {"furry": [2, 3], "wet": [4]}}, CLASSES)


def one(leaves: list[float], route: int, shares: list[float], routing_known: bool = True) -> Predictions:
    """One image's predictions: every expert says its first class .75 and its last .25, the mixture cat .6, frog .4."""
    experts = torch.zeros(1, 5, 5)
    for e, node in enumerate(TREE.experts):
        experts[0, e, node.labels[0]] = 0.75
        experts[0, e, node.labels[-1]] += 0.25
    weights = torch.tensor(shares).expand(1, 5, 5) / 5
    mixture = torch.tensor([[0.0, 0.0, 0.6, 0.0, 0.4]])
    return Predictions(mixture, torch.tensor([route]), weights, torch.tensor([leaves]), experts)


def texts(figure: "Figure") -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


IMAGE = torch.zeros(3, 4, 4, dtype=torch.uint8)


def test_a_path_that_hard_routing_took_shows_what_it_knows() -> None:
    # Only the leaf that was reached has a probability; the experts on the way are base, alive and furry.
    said = texts(draw_path(TREE, IMAGE, one([0.0, 0.56, 0.0], 1, [0.5, 0, 0.3, 0.2, 0]), label=4))
    assert said[:3] == ["cat 60% (wrong)", "truly frog", "belongs in wet"]
    tree = said[3:9]
    assert tree == ["base", "made", "alive", "furry", "0.56", "wet"]
    assert said[9:] == [
        *("base", "50% of the mixture", f"{NASTY}", "0.75", "frog", "0.25"),
        *("alive", "30% of the mixture", "cat", "0.75", "frog", "0.25"),
        *("furry", "20% of the mixture", "cat", "0.75", "dog", "0.25"),
        *("mixture", "", "cat", "0.60", "frog", "0.40"),
    ]


def test_a_path_whose_leaves_are_all_known_shows_every_branch() -> None:
    # made .2, furry .56, wet .24: alive has .56 + .24.
    said = texts(draw_path(TREE, IMAGE, one([0.2, 0.56, 0.24], 1, [0.5, 0, 0.3, 0.2, 0]), label=2))
    assert said[:2] == ["cat 60% (right)", "truly cat"]
    assert said[2:11] == ["base", "made", "0.20", "alive", "0.80", "furry", "0.56", "wet", "0.24"]


def test_of_two_leaves_the_other_has_the_rest() -> None:
    tree = parse({"a": [0, 1], "b": [2, 3, 4]}, CLASSES)
    given = one([0.0, 0.7], 1, [0.5, 0, 0.5, 0, 0])
    predictions = Predictions(
        given.probabilities, given.route, given.weights[:, :, :3], given.leaves, given.experts[:, :3]
    )
    said = texts(draw_path(tree, IMAGE[:1], predictions))
    assert said[:6] == ["cat 60%", "base", "a", "0.30", "b", "0.70"]


def test_a_path_without_routers() -> None:
    said = texts(draw_path(TREE, IMAGE, one([0.0, 0.0, 0.0], -1, [0.2] * 5), label=2))
    assert said[:3] == ["cat 60% (right)", "truly cat", "one gate, no router"]
    assert sum(text == "20% of the mixture" for text in said) == 5


def test_choose_takes_half_wrong_and_spreads_over_classes() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    right = torch.tensor([1, 1, 0, 1, 0, 0, 1, 1, 1]).bool()
    # Classes in the order 0, 2, 1 (0, .618, .236 sorted: 0, .236, .618). Wrong: 0's image 2, none of class 2, 1's
    # image 4. Right, in the order reversed: 1's image 3, 2's image 6.
    assert choose(right, labels, 4) == [2, 3, 4, 6]
    # All right: all of them may be shown; all wrong likewise.
    assert choose(torch.ones(9).bool(), labels, 4) == [0, 3, 4, 6]
    assert choose(torch.zeros(9).bool(), labels, 4) == [0, 1, 3, 6]
    assert choose(right, labels, 12) == list(range(9))
