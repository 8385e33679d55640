import math

import pytest
import torch
from torch import Tensor, nn

from moe.nets.initial import glorot_uniform_
from moe.nets.vgg import VGG

SIMPLE = ((32, 32), (64, 64))
FAT = (*SIMPLE, (128, 128, 128))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        # Convolutions 3*32*9+32 = 896, 32*32*9+32 = 9,248, 32*64*9+64 = 18,496, 64*64*9+64 = 36,928; two pools
        # leave 64*8*8 = 4,096 inputs: 4,096*512+512 = 2,097,664; 512*10+10 = 5,130. Together 2,168,362.
        (SIMPLE, 2_168_362),
        # The same four convolutions, 65,568; 64*128*9+128 = 73,856; twice 128*128*9+128 = 147,584; three pools
        # leave 128*4*4 = 2,048 inputs: 2,048*512+512 = 1,049,088; 5,130. Together 1,488,810.
        (FAT, 1_488_810),
    ],
)
def test_the_notebooks_networks_have_its_parameters(blocks: tuple[tuple[int, ...], ...], expected: int) -> None:
    with torch.device("meta"):
        assert parameters(VGG((3, 32, 32), 10, blocks)) == expected


def test_an_image_by_hand() -> None:
    net = VGG((1, 2, 2), 2, blocks=[[1]], hidden=1).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        convolution, hidden, last = (m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        convolution.weight[0, 0, 1, 1] = 2  # the image, doubled
        convolution.bias[0] = -1
        hidden.weight[0, 0] = 3
        hidden.bias[0] = 0.5
        last.weight[:, 0] = torch.tensor([1.0, -2.0])
        last.bias[:] = torch.tensor([0.25, 0.0])
    image = torch.tensor([[1.0, 2.0], [3.0, -4.0]]).view(1, 1, 2, 2)
    # Doubled less one: 1 3 5 -9; ReLU and max: 5; times 3 plus 0.5: 15.5; 15.5+0.25 and -31.
    assert net(image).tolist() == [[15.75, -31.0]]
    # An image that ReLU turns to nothing: 0 -> 0.5 -> 0.75 and -1.
    assert net(-image.abs()).tolist() == [[0.75, -1.0]]


def test_same_padding_and_pools_that_round_down() -> None:
    # 9x11 halves to 4x5, then 2x2: 8 channels of 4 positions make 32 inputs.
    net = VGG((3, 9, 11), 5, blocks=[[4], [8]], hidden=6)
    assert net.head[1].in_features == 32
    assert net(torch.zeros(2, 3, 9, 11)).shape == (2, 5)


def test_layers_are_those_of_the_notebook_in_its_order() -> None:
    with torch.device("meta"):
        net = VGG((3, 32, 32), 10)
    block = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]
    assert [type(layer).__name__ for layer in net.features] == block * 2
    assert [type(layer).__name__ for layer in net.head] == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.25, 0.25, 0.5]


def test_too_small_an_image_is_refused() -> None:
    # Three halvings of 8 leave 1, of 7 nothing.
    assert VGG((1, 8, 8), 2, blocks=[[1], [1], [1]], hidden=1)(torch.zeros(1, 1, 8, 8)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"^images of 8x7 are too small for 3 blocks, each halves them$"):
        VGG((1, 8, 7), 2, blocks=[[1], [1], [1]], hidden=1)


def widest(values: Tensor) -> float:
    return values.abs().max().item()


def test_weights_start_within_glorots_bounds_and_fill_them() -> None:
    torch.manual_seed(0)
    net = VGG((3, 16, 16), 10, blocks=[[32]], hidden=64)
    convolution, hidden, last = (m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    # sqrt(6 / (fan in + fan out)): a 3x3 convolution has 9 fans a channel, 3*9 + 32*9 = 315;
    # one pool leaves 32*8*8 = 2,048 inputs, + 64 = 2,112; 64 + 10 = 74.
    for layer, fans in ((convolution, 315), (hidden, 2112), (last, 74)):
        bound = math.sqrt(6 / fans)
        assert 0.98 * bound < widest(layer.weight) <= bound
        # A uniform distribution of that width has the deviation bound / sqrt(3); 640 weights or more give it to 5%.
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert widest(layer.bias) == 0


def test_glorot_takes_layers_without_bias_and_leaves_others_alone() -> None:
    module = nn.Sequential(nn.Linear(100, 100, bias=False), nn.BatchNorm1d(100))
    with torch.no_grad():
        module[0].weight.fill_(9)
    glorot_uniform_(module)
    assert 0.95 * math.sqrt(6 / 200) < widest(module[0].weight) <= math.sqrt(6 / 200)
    assert module[1].weight.eq(1).all() and module[1].bias.eq(0).all()
