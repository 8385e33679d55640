"""CondVGG: kernels mixed for each image say what the mixture of their convolutions does, at the cost of one."""

import pytest
import torch
from torch import Tensor, nn

from moe.cost import flops, learning_flops
from moe.modules.recipe import kernels
from moe.nets.cond_vgg import CondConv2d, CondVGG
from moe.nets.fast_vgg import FastVGG


def features(images: int = 5, channels: int = 4) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(images, channels, 6, 5)


def layer(count: int = 3, channels: tuple[int, int] = (4, 7), spread: float = 2.0) -> CondConv2d:
    torch.manual_seed(0)
    return CondConv2d([nn.Conv2d(*channels, 3, padding=1, bias=False) for _ in range(count)], spread)


def test_mixed_kernels_say_what_the_mixture_of_their_convolutions_does() -> None:
    mixed, images = layer(), features()
    weights = mixed.weights(images)
    assert torch.allclose(weights.sum(dim=1), torch.ones(5)) and weights.std(dim=0).min() > 0.05
    each = torch.stack([nn.functional.conv2d(images, kernel, padding=1) for kernel in mixed.weight.chunk(3)], dim=1)
    expected = (weights[:, :, None, None, None] * each).sum(dim=1)
    torch.testing.assert_close(mixed(images), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(mixed(images), each.mean(dim=1), atol=0.01)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_in_evaluation_they_say_the_same_whatever_the_order_in_memory(order: torch.memory_format) -> None:
    mixed, images = layer().eval(), features()
    expected = mixed.weights(images)[:, :, None, None, None] * torch.stack(
        [nn.functional.conv2d(images, kernel, padding=1) for kernel in mixed.weight.chunk(3)], dim=1
    )
    said = mixed.to(memory_format=order)(images.to(memory_format=order))
    torch.testing.assert_close(said, expected.sum(dim=1), atol=1e-5, rtol=1e-4)


def test_images_that_are_convolved_one_after_another_say_and_teach_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed, images = layer(), features(5)
    said = mixed(images)
    said.square().sum().backward()
    learnt = mixed.weight.grad
    mixed.weight.grad, sizes, convolve = None, [], mixed._mixed
    monkeypatch.setattr(mixed, "_mixed", lambda own, weights: sizes.append(len(own)) or convolve(own, weights))
    monkeypatch.setattr("moe.nets.cond_vgg.AT_ONCE", 2 * 7 * 4 * 9 + 5)  # kernels of two images, not of three
    apart = mixed(images)
    apart.square().sum().backward()
    assert sizes == [2, 2, 1]
    torch.testing.assert_close(apart, said)
    torch.testing.assert_close(mixed.weight.grad, learnt)


def test_a_gate_by_hand() -> None:
    # Two channels of means 3 and -1 over images, variances 4 and 1; logits are the first normalised channel and 0.
    mixed = layer(2, (2, 2)).eval()
    with torch.no_grad():
        mixed.norm.running_mean.copy_(torch.tensor([3.0, -1.0]))  # type: ignore[union-attr]
        mixed.norm.running_var.copy_(torch.tensor([4.0, 1.0]))  # type: ignore[union-attr]
        mixed.gate.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    images = torch.zeros(1, 2, 2, 2)
    images[0, 0] = torch.tensor([[1.0, 13.0], [7.0, 7.0]])  # 7 on average: (7 - 3) / 2 = 2
    # 1 / (1 + exp(-2)) = 0.8808
    assert mixed.weights(images)[0].tolist() == pytest.approx([0.8808, 0.1192], abs=1e-4)


def test_kernels_that_are_alike_are_one_convolution_however_mixed() -> None:
    # What a gate that says the same of all images would learn: their updates are the same, and they stay alike.
    mixed, images = layer(), features()
    first = mixed.weight.detach().chunk(3)[0].clone()
    mixed.weight = nn.Parameter(first.repeat(3, 1, 1, 1))
    torch.testing.assert_close(mixed(images), nn.functional.conv2d(images, first, padding=1))


def test_an_image_is_mixed_for_alone() -> None:
    mixed, images = layer().eval(), features()
    torch.testing.assert_close(torch.cat([mixed(image[None]) for image in images]), mixed(images))


def networks(count: int = 3) -> tuple[CondVGG, FastVGG]:
    torch.manual_seed(0)
    return CondVGG((3, 32, 32), 10, widths=[4, 8, 8], kernels=count), FastVGG((3, 32, 32), 10, widths=[4, 8, 8])


def test_mixing_costs_its_products_alone() -> None:
    # Beside a FastVGG: gates 2*4*3 + 3 * 2*8*3 = 168, mixing 2*3 * (8*4*9 + 3 * 8*8*9) = 12,096.
    conditional, plain = networks()
    image = torch.rand(1, 3, 32, 32)
    assert flops(conditional.eval(), image) - flops(plain.eval(), image) == 168 + 12_096
    # Back through each of them are two products as large as the one forward, as through the convolutions.
    images = torch.rand(4, 3, 32, 32)
    assert learning_flops(conditional, images) - learning_flops(plain, images) == 3 * (168 + 12_096)


def test_all_groups_but_the_first_are_mixtures_whose_every_kernel_learns_by_muon() -> None:
    conditional, plain = networks()
    mixtures = [name for name, module in conditional.named_modules() if isinstance(module, CondConv2d)]
    assert mixtures == ["groups.1.convs.0", "groups.1.convs.1", "groups.2.convs.0", "groups.2.convs.1"]
    # 2 in the first group, 4 mixtures of 3; the whitening's is frozen.
    assert [stacked for _, stacked in kernels(conditional)] == [1, 1, 3, 3, 3, 3]
    assert [stacked for _, stacked in kernels(plain)] == [1] * 6
    # Where a convolution has as many channels out as in, its kernels start alike, which leaves nothing to its gate.
    with torch.no_grad():
        for weight, stacked in kernels(conditional):
            weight += 0.1 * torch.randn_like(weight) * (stacked > 1)
    conditional(torch.rand(4, 3, 32, 32)).square().sum().backward()
    idle = [name for name, p in conditional.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert idle == []


def test_each_kernel_starts_by_passing_its_input_on() -> None:
    mixed = networks()[0].groups[1].convs[0]  # type: ignore[union-attr, index]
    assert isinstance(mixed, CondConv2d) and mixed.weight.shape == (3 * 8, 4, 3, 3)
    images = features()
    torch.testing.assert_close(mixed(images)[:, :4], images)
    assert not torch.equal(mixed.weight[4:8], mixed.weight[12:16])


def test_without_gating_all_images_have_the_same_mean_of_the_kernels() -> None:
    torch.manual_seed(0)
    static, images = CondConv2d([nn.Conv2d(4, 7, 3, bias=False) for _ in range(2)], static=True), features()
    with torch.no_grad():
        static.gate.weight.copy_(torch.tensor([[2.0], [0.0]]))
    # 1 / (1 + exp(-2)) = 0.8808
    assert static.weights(images).tolist() == [pytest.approx([0.8808, 0.1192], abs=1e-4)]
    first, second = static.weight.chunk(2)
    expected = nn.functional.conv2d(images, 0.880797 * first + 0.119203 * second, padding=1)
    torch.testing.assert_close(static(images), expected, atol=1e-5, rtol=1e-4)


def test_without_gating_it_costs_what_fast_vgg_does_and_mixing_each_kernel_once() -> None:
    torch.manual_seed(0)
    static = CondVGG((3, 32, 32), 10, widths=[4, 8, 8], kernels=3, gating="static")
    plain, image = networks()[1], torch.rand(1, 3, 32, 32)
    # Gates 4 * 2*1*3 = 24, mixing as above, for all images at once.
    assert flops(static.eval(), image) - flops(plain.eval(), image) == 24 + 12_096
    many = torch.rand(5, 3, 32, 32)
    assert flops(static, many) - flops(plain, many) == 24 + 12_096
    assert [stacked for _, stacked in kernels(static)] == [1, 1, 3, 3, 3, 3]
    with torch.no_grad():
        for weight, stacked in kernels(static):
            weight += 0.1 * torch.randn_like(weight) * (stacked > 1)
    static.train()(many).square().sum().backward()
    idle = [name for name, p in static.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert idle == []


def test_another_gating_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^gating must be dynamic or static, not constant$"):
        CondVGG((3, 32, 32), 10, widths=[4, 8, 8], gating="constant")


def test_one_group_which_mixes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^widths must be of two groups or more: the first mixes no kernels$"):
        CondVGG((3, 32, 32), 10, widths=[4])


def test_one_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kernels must be 2 or more, not 1; fast_vgg has one$"):
        networks(1)


def test_gates_of_kernels_begin_with_logits_of_one_spread_whatever_the_channels() -> None:
    mixed = layer(8, (400, 1))
    assert mixed.gate.weight.std().item() == pytest.approx(2 / 400**0.5, rel=0.05) and not mixed.gate.bias.any()
    assert mixed.norm.momentum == 0.4


def test_what_the_network_is_asked_for_reaches_it() -> None:
    learns = CondVGG((3, 16, 16), 4, widths=[2, 3, 4], kernels=2, whitening=False, dirac=True)
    assert learns.whitening.weight.requires_grad
    # The first filters of the first group pass their input on.
    first = learns.groups[0].convs[0].weight  # type: ignore[union-attr, index]
    assert torch.equal(first[0, :, 1, 1], torch.eye(24)[0])
    frozen = CondVGG((3, 16, 16), 4, widths=[2, 3, 4], kernels=2, whitening=True, dirac=False)
    assert not frozen.whitening.weight.requires_grad
    first = frozen.groups[0].convs[0].weight  # type: ignore[union-attr, index]
    assert not torch.equal(first[0, :, 1, 1], torch.eye(24)[0])
