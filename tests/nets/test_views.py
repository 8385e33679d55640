"""Views: which images a network is asked of, and what of it counts how much."""

import pytest
import torch
from torch import Tensor, nn

from moe.cost import flops
from moe.nets.views import Views


class Corner(nn.Module):
    """Says the top left pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, :1, 0].float()


# 1  2  3  4
# 5  6  7  8
# 9 10 11 12
IMAGE = torch.arange(1.0, 13.0).view(1, 1, 3, 4)


def test_flip_is_the_mean_of_an_image_and_its_mirror_image() -> None:
    assert Views(Corner(), "flip").eval()(IMAGE).item() == (1 + 4) / 2


def test_flip_and_shift_by_hand() -> None:
    # Above the first row the reflected border is the second, 6 5 6 7 8 7 with its ends. A pixel up and left the first
    # row is the second from its second pixel on, 6 7 8 7: corner 6, mirrored 7. A pixel down and right it is the
    # border's, 6 5 6 7: corner 6, mirrored 7.
    expected = 0.5 * (1 + 4) / 2 + 0.25 * (6 + 7) / 2 + 0.25 * (6 + 7) / 2
    assert Views(Corner(), "flip_shift").eval()(IMAGE).item() == pytest.approx(expected)


def test_a_network_that_is_trained_sees_its_images_once() -> None:
    views = Views(Corner(), "flip").train()
    assert views(IMAGE).item() == 1
    assert Views(Corner(), "none").eval()(IMAGE).item() == 1


@pytest.mark.parametrize(("views", "times"), [("none", 1), ("flip", 2), ("flip_shift", 6)])
def test_views_are_paid_for(views: str, times: int) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert flops(Views(net, views).eval(), IMAGE) == times * 2 * 12 * 2


def test_unknown_views() -> None:
    with pytest.raises(ValueError, match="views must be one of none, flip, flip_shift, not 'all'"):
        Views(Corner(), "all")


def test_the_two_shifts_are_of_two_directions() -> None:
    class Second(nn.Module):
        """Says the second pixel of the second row."""

        def forward(self, images: Tensor) -> Tensor:
            return images[:, 0, 1:2, 1]

    # Up and left the pixel at (2, 2) comes there, down and right that at (0, 0), each an eighth; mirrored they come
    # from beyond the third column. Those of the other diagonal never do.
    for place, expected in (((2, 2), 1.0), ((0, 0), 1.0), ((2, 0), 0.0), ((0, 2), 0.0)):
        image = torch.zeros(1, 1, 3, 4)
        image[0, 0][place] = 8
        assert Views(Second(), "flip_shift").eval()(image).item() == expected, place
