"""Temperatures worked out by hand."""

import math

import pytest
import torch

from moe.calibration import COLDEST, fit_temperature


def test_a_temperature_makes_an_expert_as_sure_as_it_is_right() -> None:
    # Every image gets logits 2 and 0, and three of four are of the first class: sigmoid(2 / T) = 3/4, T = 2 / log 3.
    logits = torch.tensor([[2.0, 0.0]] * 4)
    assert fit_temperature(logits, torch.tensor([0, 0, 1, 0])) == pytest.approx(2 / math.log(3), rel=1e-4)


def test_one_that_is_as_sure_as_it_is_right_keeps_its_probabilities() -> None:
    logits = torch.tensor([[0.6, 0.2, 0.2]] * 5).log()
    assert fit_temperature(logits, torch.tensor([0, 1, 0, 2, 0])) == pytest.approx(1.0, rel=1e-4)


def test_bounds() -> None:
    # Always right: the colder the better; always wrong: the hotter. No image: nothing is changed.
    assert fit_temperature(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == pytest.approx(20, rel=1e-3)
    assert fit_temperature(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == pytest.approx(COLDEST, rel=1e-3)
    assert fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long)) == 1.0
