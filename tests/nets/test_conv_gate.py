"""The gate of convolutions, by hand."""

import pytest
import torch

from moe.nets.gates import ConvGate


@pytest.mark.parametrize(("largest", "expected"), [((2.0, 4.0), 3.0), ((-5.0, -1.0), 0.0)])
def test_it_says_the_mean_over_positions_of_the_largest_of_four_that_are_above_zero(
    largest: tuple[float, float], expected: float
) -> None:
    gate = ConvGate(in_shape=(1, 2, 4), num_classes=1, num_experts=1, weights="joint", width=1, depth=1).eval()
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.zero_()
        gate.net[0].weight[0, 0, 1, 1] = 1  # type: ignore[index, union-attr]
        gate.net[-1].weight.fill_(1)  # type: ignore[union-attr, operator]
    # Two squares of four pixels, of which one each is the largest.
    image = torch.full((1, 1, 2, 4), -9.0)
    image[0, 0, 1, 0], image[0, 0, 0, 3] = largest
    assert gate.logits(image, torch.zeros(1, 1, 1)).item() == expected
