"""Which images may have another class than recorded by rounding alone; numbers are worked out by hand."""

import pytest
import torch

from moe.inference import Averaged, Predictions
from moe.results.predictions import rounding_decides
from moe.schema import Mixture
from moe.taxonomy import parse

# Leaves 0 (a), 1 (b's c) and 2 (b's d).
TREE = parse({"a": ["p", "q"], "b": {"c": ["r", "s"], "d": ["t", "u"]}}, ["p", "q", "r", "s", "t", "u"])
SURE = [0.9, 0.1, 0.0, 0.0, 0.0, 0.0]  # of p, and by far


def said(classes: list[float], leaves: list[float], route: int, base: float = 0.5) -> Predictions:
    """One image, of which the base is so sure."""
    experts = torch.zeros(1, 5, 6)
    experts[0, 0, 0] = base
    probabilities, of_leaves = torch.tensor([classes]), torch.tensor([leaves])
    return Predictions(probabilities, torch.tensor([route]), torch.zeros(1, 6, 5), of_leaves, experts)


@pytest.mark.parametrize(
    ("leaves", "before", "after", "expected"),
    [
        ([0.375, 0.375, 0.25], 1, 0, False),  # at the root a has 0.375 and b 0.625, though two leaves are as probable
        ([0.3, 0.35, 0.35], 1, 2, True),  # below b both ways are as probable
        ([0.5, 0.3, 0.2], 0, 1, True),  # at the root they are: 0.5 each
        ([0.4, 0.35, 0.25], 1, 2, False),  # below b 0.35 to 0.25
        ([0.2, 0.4, 0.4], 1, 1, False),  # it went the same way
    ],
)
def test_ways_are_as_probable_at_the_node_at_which_they_part(
    leaves: list[float], before: int, after: int, expected: bool
) -> None:
    recorded, now = said(SURE, leaves, before), said(SURE[::-1], leaves, after)
    assert rounding_decides(recorded, now, TREE, Mixture("hard")).tolist() == [expected]
    # Where every branch speaks, or none is asked for its way, no way decides.
    assert rounding_decides(recorded, now, TREE, Mixture("soft")).tolist() == [False]


@pytest.mark.parametrize(("other", "expected"), [(1, True), (2, False)])
def test_classes_are_those_before_and_after(other: int, expected: bool) -> None:
    before = torch.tensor([[0.40002, 0.4, 0.19998, 0.0, 0.0, 0.0]])
    after = before.clone()
    after[0, other] = 0.5
    for kind in ("hard", "none"):
        asked = torch.ones(1, dtype=torch.long)
        found = rounding_decides(Averaged(before, asked), Averaged(after, asked), TREE, Mixture(kind))
        assert found.tolist() == [expected]


@pytest.mark.parametrize(
    ("base", "leaves", "expected"),
    [
        (0.90005, [0.9, 0.1, 0.0], True),  # as sure as is asked for, but for rounding
        (0.95, [0.5, 0.3, 0.2], False),  # the base alone spoke, wherever it would have sent the image
        (0.5, [0.5, 0.3, 0.2], True),
    ],
)
def test_a_cascade_asks_on_by_how_sure_its_base_is(base: float, leaves: list[float], expected: bool) -> None:
    recorded, now = said(SURE, leaves, 0, base), said(SURE[::-1], leaves, 1, base)
    assert rounding_decides(recorded, now, TREE, Mixture("hard", cascade=0.9)).tolist() == [expected]
