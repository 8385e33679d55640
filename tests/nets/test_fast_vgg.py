"""FastVGG: whitening, the dirac start, shapes, what learns."""

import math

import pytest
import torch
from torch import nn

from moe.cost import flops
from moe.nets.fast_vgg import BatchNorm, FastVGG, Group, whitening_filters


def patches_of(images: torch.Tensor) -> torch.Tensor:
    """Every 2x2 patch (M, C x 4), channel by channel, row by row."""
    return nn.functional.unfold(images, 2).transpose(1, 2).reshape(-1, images.shape[1] * 4)


def coloured(count: int = 400) -> torch.Tensor:
    """Images whose neighbouring pixels and channels are alike, as those of photographs are."""
    torch.manual_seed(0)
    noise = torch.randn(count, 3, 9, 9)
    smooth = nn.functional.avg_pool2d(noise, 2, 1) + 0.3 * noise[:, :, :8, :8]
    return smooth + 0.5 * smooth.mean(dim=1, keepdim=True)


def test_whitened_patches_have_the_identity_as_second_moment() -> None:
    images = coloured()
    filters = whitening_filters(images, eps=0.0)
    assert filters.shape == (24, 3, 2, 2)
    out = nn.functional.conv2d(images, filters).permute(0, 2, 3, 1).reshape(-1, 24)
    moment = out[:, :12].T @ out[:, :12] / len(out)
    assert torch.allclose(moment, torch.eye(12), atol=1e-4)
    assert torch.equal(filters[12:], -filters[:12])
    # What came in was far from white.
    before = patches_of(images)
    assert (before.T @ before / len(before) - torch.eye(12)).abs().max() > 0.3


def test_whitening_by_hand() -> None:
    # One channel; the patches' pixels are independent with second moments 4, 4, 4, 4: each filter is a unit vector
    # over 2, whatever the basis, so the squares of a filter sum to 1/4.
    torch.manual_seed(0)
    signs = torch.randint(0, 2, (20_000, 1, 2, 2)).float() * 2 - 1
    filters = whitening_filters(2 * signs, eps=0.0)
    assert filters.shape == (8, 1, 2, 2)
    assert filters.square().sum(dim=(1, 2, 3)) == pytest.approx([0.25] * 8, rel=0.05)
    # With eps = 1.25, of the pixels' variance of 4, the root is of 4 + 5: a third.
    assert whitening_filters(2 * signs, eps=1.25).square().sum(dim=(1, 2, 3)) == pytest.approx([1 / 9] * 8, rel=0.05)


def test_whitening_does_not_depend_on_how_pixels_are_scaled() -> None:
    # Pixels of 0 to 1 are whitened as those divided by their deviation are, which the paper's eps is for.
    images = coloured().double()
    whole, small = (
        nn.functional.conv2d(scaled, whitening_filters(scaled)) for scaled in (images / images.std(), images / 64)
    )
    torch.testing.assert_close(small, whole)
    assert whitening_filters(images)[:12].square().sum(dim=(1, 2, 3)).diff().min() > 0  # the largest component first


def test_a_dirac_convolution_passes_its_input_on() -> None:
    torch.manual_seed(0)
    group = Group(4, 6, convs=2, dirac=True)
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(group.convs[0](images)[:, :4], images)
    features = torch.randn(2, 6, 4, 4)
    assert torch.allclose(group.convs[1](features), features)
    # Two more filters than inputs: they start at random.
    assert group.convs[0].weight[4:].abs().max() > 0
    plain = Group(4, 6, convs=2, dirac=False)
    assert not torch.allclose(plain.convs[1](features), features)


def test_the_residual_of_three_convolutions() -> None:
    group = Group(3, 3, convs=3, dirac=True).eval()
    features = torch.rand(1, 3, 2, 2) + 1  # running statistics 0 and 1: norms pass all on
    pooled = features.amax(dim=(2, 3), keepdim=True)
    entered = nn.functional.gelu(pooled)
    # dirac: second convolution passes `entered` on, GELU, third passes that on, plus `entered`, GELU.
    expected = nn.functional.gelu(nn.functional.gelu(entered) + entered)
    assert torch.allclose(group(features), expected)


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        # Convolutions by hand, 9 x in x out: s 24x64 + 64x64 + 64x256 + 256x256 + 256x256 + 256x256 = 218,624,
        # times 9 = 1,967,616; biases of norms 2 x (64 + 256 + 256) = 1,152; whitening 24 x 12 + 24 = 312; head 2,560.
        # Norm scales, fixed, 1,152 more.
        ("s", 1_967_616 + 1_152 + 1_152 + 312 + 2_560),
        # m and l by the same sum; l has a third convolution and norm in each group.
        ("m", 9 * (24 * 128 + 128**2 + 128 * 384 + 3 * 384**2) + 2 * 2 * (128 + 384 + 384) + 312 + 3_840),
        (
            "l",
            9 * (24 * 128 + 2 * 128**2 + 128 * 384 + 2 * 384**2 + 384 * 512 + 2 * 512**2)
            + 2 * 3 * (128 + 384 + 512)
            + 312
            + 5_120,
        ),
    ],
)
def test_parameters(size: str, parameters: int) -> None:
    assert sum(p.numel() for p in FastVGG((3, 32, 32), 10, size=size).parameters()) == parameters


def test_flops_by_hand() -> None:
    # 8 x 8 images of one channel, widths 2, 3 over two groups; a multiply-add is two.
    net = FastVGG((1, 8, 8), 5, widths=[2, 3]).eval()
    whitening = 8 * 4 * 7 * 7  # 8 filters of 4 weights at 7 x 7 places
    first = 2 * 8 * 9 * 7 * 7 + 2 * 2 * 9 * 3 * 3  # before and after the pool to 3 x 3
    second = 3 * 2 * 9 * 3 * 3 + 3 * 3 * 9 * 1 * 1
    assert flops(net, torch.rand(1, 1, 8, 8)) == 2 * (whitening + first + second + 3 * 5)


def test_what_learns() -> None:
    net = FastVGG((3, 32, 32), 10)
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    scales = {f"groups.{g}.norms.{n}.weight" for g in range(3) for n in range(2)}
    assert frozen == {"whitening.weight", *scales}
    assert net.early_parameters == [net.whitening.bias]
    assert BatchNorm(2).weight.tolist() == [1, 1]
    free = FastVGG((3, 32, 32), 10, whitening=False)
    assert free.whitening.weight.requires_grad and free.early_parameters == []


def test_prepare_whitens_and_logits_are_scaled() -> None:
    torch.manual_seed(0)
    net = FastVGG((3, 16, 16), 10, widths=[4, 4, 4], scale=0.5).eval()
    images = torch.randn(50, 3, 16, 16)
    net.prepare(images)
    assert torch.equal(net.whitening.weight, whitening_filters(images))
    half = net(images)
    net.scale = 1.0
    assert torch.allclose(net(images), 2 * half)
    random = FastVGG((3, 16, 16), 10, widths=[4, 4, 4], whitening=False)
    before = random.whitening.weight.clone()
    random.prepare(images)
    assert torch.equal(random.whitening.weight, before)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": "xl"}, "size must be one of s, m, l, not 'xl'"),
        ({"convs": 4}, "convs must be 2 or 3, not 4"),
        ({"in_shape": (1, 8, 8)}, "images of 8x8 are too small: each of 3 groups halves them"),
    ],
)
def test_what_cannot_be(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FastVGG(**{"in_shape": (3, 32, 32), "num_classes": 10, **arguments})


def test_one_pixel_through_the_whole_network_by_hand() -> None:
    net = FastVGG((1, 6, 6), 2, widths=[8]).eval()
    assert not net.whitening.bias.any()
    with torch.no_grad():
        net.whitening.weight.zero_()[0, 0, 0, 0] = 1
        net.head.weight.zero_()[0, 0] = 1
    image = torch.zeros(1, 1, 6, 6)
    image[..., 0, 0] = 2

    def gelu(x: float) -> float:
        return x * (1 + math.erf(x / math.sqrt(2))) / 2

    # GELU after the whitening and after each of two convolutions that pass their input on, whose norms have seen
    # nothing yet; of all positions the largest; a ninth of it.
    torch.testing.assert_close(net(image), torch.tensor([[gelu(gelu(gelu(2))) / 9, 0]]), atol=1e-5, rtol=0)


def test_a_group_pools_and_then_normalises_by_what_moves_fast() -> None:
    group = Group(1, 1, 2, True).train()
    group(torch.tensor([[[[1.0, 2], [3, 6]]], [[[2.0, 0], [1, 1]]]]))
    # Pooled 6 and 2, of mean 4 and variance 8, take 0.4 of what was 0 and 1.
    norm = group.norms[0]
    assert isinstance(norm, BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    assert norm.running_mean.item() == pytest.approx(1.6) and norm.running_var.item() == pytest.approx(3.8)
