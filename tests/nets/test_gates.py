"""Legend: B images, K classes, E experts."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from moe.nets.gates import (
    WEIGHTS,
    ConfidenceGate,
    ConstantGate,
    ConvGate,
    Gate,
    LinearGate,
    MLPGate,
    UniformGate,
    entropy,
    shares,
)

IN_SHAPE = (2, 4, 4)
B, K, E = 5, 3, 2
KINDS: dict[str, tuple[type[Gate], dict[str, Any]]] = {
    "mlp": (MLPGate, {"width": 4}),
    "conv": (ConvGate, {"width": 4}),
    "linear": (LinearGate, {}),
    "confidence": (ConfidenceGate, {"width": 4}),
    "constant": (ConstantGate, {}),
    "uniform": (UniformGate, {}),
}


def gate(kind: str, weights: str, **changes: Any) -> Gate:
    made, arguments = KINDS[kind]
    torch.manual_seed(0)
    frame = {"in_shape": IN_SHAPE, "num_classes": K, "num_experts": E, "weights": weights}
    return made(**{**frame, **arguments, **changes}).eval()


def inputs(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) and probabilities (B, E, K)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(B, *IN_SHAPE, generator=generator)
    return images, torch.rand(B, E, K, generator=generator).softmax(dim=2)


def parameters(module: Gate) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ---- what the weights sum to


@pytest.mark.parametrize("kind", KINDS)
def test_joint_weights_sum_to_one_over_classes_and_experts(kind: str) -> None:
    weights, _ = gate(kind, "joint")(*inputs())
    assert weights.shape == (B, K, E) and weights.min() > 0
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(B))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_per_class_sum_to_one_over_the_experts_of_each(kind: str) -> None:
    weights, _ = gate(kind, "per_class")(*inputs())
    assert weights.shape == (B, K, E) and weights.min() > 0
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(B, K))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_per_expert_sum_to_one_and_are_the_same_for_all_classes(kind: str) -> None:
    weights, _ = gate(kind, "per_expert")(*inputs())
    assert weights.shape == (B, K, E) and weights.min() > 0
    assert torch.equal(weights, weights[:, :1].expand(-1, K, -1))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(B, K))


def test_the_order_of_logits_and_each_normalisation_by_hand() -> None:
    # Classes vary slowest: of the logits log 1 ... log 6 the first class has 1 and 2, the last 5 and 6.
    images, experts = inputs()

    def given(weights: str, *values: float) -> list[list[float]]:
        made = gate("constant", weights)
        assert isinstance(made, ConstantGate)
        with torch.no_grad():
            made.constant.copy_(torch.tensor(values).log())
        found, _ = made(images, experts)
        assert torch.equal(found, found[:1].expand(B, -1, -1))
        rows: list[list[float]] = found[0].tolist()
        return rows

    # 1 + ... + 6 = 21.
    joint = [[1 / 21, 2 / 21], [3 / 21, 4 / 21], [5 / 21, 6 / 21]]
    per_class = [[1 / 3, 2 / 3], [3 / 7, 4 / 7], [5 / 11, 6 / 11]]
    assert given("joint", 1, 2, 3, 4, 5, 6) == [pytest.approx(row, rel=1e-5) for row in joint]
    assert given("per_class", 1, 2, 3, 4, 5, 6) == [pytest.approx(row, rel=1e-5) for row in per_class]
    assert given("per_expert", 1, 3) == [pytest.approx([0.25, 0.75], rel=1e-5)] * K


@pytest.mark.parametrize(("weights", "expected"), [("joint", 1 / 6), ("per_class", 1 / 2), ("per_expert", 1 / 2)])
@pytest.mark.parametrize("kind", ["uniform", "constant"])
def test_uniform_is_the_average_and_constant_starts_there(kind: str, weights: str, expected: float) -> None:
    # Of 3 classes x 2 experts each gets 1/6, of the 2 experts 1/2; ln 2 nats either way.
    found, metrics = gate(kind, weights)(*inputs())
    torch.testing.assert_close(found, torch.full((B, K, E), expected))
    assert metrics["entropy"].tolist() == pytest.approx([math.log(2)] * B)


def test_uniform_has_nothing_to_learn() -> None:
    assert parameters(gate("uniform", "joint")) == 0


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^gate\.weights must be one of joint, per_class, per_expert, not 'all'$"):
        gate("linear", "all")


# ---- what a gate sees


@pytest.mark.parametrize("kind", KINDS)
def test_a_gate_sees_the_image_or_what_the_experts_say(kind: str) -> None:
    sees_image, sees_experts = kind in ("mlp", "conv", "linear"), kind == "confidence"
    made = gate(kind, "joint")
    (images, experts), (other_images, other_experts) = inputs(1), inputs(2)
    said = made(images, experts)[0]
    assert torch.equal(said, made(other_images, experts)[0]) is not sees_image
    assert torch.equal(said, made(images, other_experts)[0]) is not sees_experts


# ---- architectures


def test_the_notebooks_gate_has_its_parameters() -> None:
    # 32*32*3 = 3,072 pixels: 3,072*512+512 = 1,573,376; 512*20+20 = 10,260. Together 1,583,636.
    with torch.device("meta"):
        made = MLPGate(in_shape=(3, 32, 32), num_classes=10, num_experts=2, weights="joint")
    assert parameters(made) == 1_583_636
    assert [type(layer).__name__ for layer in made.net] == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert made.net[3].p == 0.5


@pytest.mark.parametrize(
    ("kind", "weights", "changes", "expected"),
    [
        # 2*4*4 = 32 pixels; joint and per class have 3*2 = 6 logits, per expert 2.
        ("mlp", "joint", {"width": 5, "depth": 1}, 32 * 5 + 5 + 5 * 6 + 6),
        ("mlp", "per_expert", {"width": 5, "depth": 3}, 32 * 5 + 5 + 2 * (5 * 5 + 5) + 5 * 2 + 2),
        ("conv", "per_class", {"width": 5, "depth": 2}, 2 * 5 * 9 + 5 + 5 * 5 * 9 + 5 + 5 * 6 + 6),
        ("linear", "joint", {}, 32 * 6 + 6),
        ("linear", "per_expert", {}, 32 * 2 + 2),
        # The confidence gate's inputs are 2 experts' probabilities of 3 classes.
        ("confidence", "joint", {"width": 5, "depth": 2}, 6 * 5 + 5 + 5 * 5 + 5 + 5 * 6 + 6),
        ("constant", "joint", {}, 6),
        ("constant", "per_expert", {}, 2),
    ],
)
def test_width_depth_and_normalisation_make_the_parameters(
    kind: str, weights: str, changes: dict[str, Any], expected: int
) -> None:
    assert parameters(gate(kind, weights, **changes)) == expected


def test_linear_is_a_linear_map_of_the_pixels() -> None:
    made = gate("linear", "joint")
    images, experts = inputs()
    with torch.no_grad():
        made.net[1].bias.copy_(torch.arange(6) / 10)
    expected = images.flatten(1) @ made.net[1].weight.T + torch.arange(6) / 10
    torch.testing.assert_close(made.logits(images, experts), expected)
    torch.testing.assert_close(made(images, experts)[0], expected.softmax(dim=1).view(B, K, E))


def test_a_conv_gate_too_deep_for_the_image_is_refused() -> None:
    # 4x4 halves to 2x2 and 1x1, and no further.
    assert gate("conv", "joint", depth=2)(*inputs())[0].shape == (B, K, E)
    with pytest.raises(ValueError, match=r"^gate\.depth=3 is too deep for images of 4x4: each block halves them$"):
        gate("conv", "joint", depth=3)


@pytest.mark.parametrize("kind", ["mlp", "linear", "confidence"])
def test_weights_start_from_glorots_distribution(kind: str) -> None:
    made = gate(kind, "joint", in_shape=(2, 8, 8))
    for layer in made.modules():
        if isinstance(layer, torch.nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert 0.8 * bound < layer.weight.abs().max().item() <= bound
            assert layer.bias.abs().max().item() == 0


@pytest.mark.parametrize("kind", ["mlp", "conv", "confidence"])
def test_dropout_is_active_in_training_alone(kind: str) -> None:
    made = gate(kind, "joint", dropout=0.9, width=64)
    images, experts = inputs()
    assert torch.equal(made(images, experts)[0], made(images, experts)[0])
    made.train()
    assert not torch.equal(made(images, experts)[0], made(images, experts)[0])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_weights_are_fp32_under_bf16_autocast(weights: str) -> None:
    made = gate("mlp", weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, metrics = made(*inputs())
    assert (found.dtype, metrics["entropy"].dtype) == (torch.float32, torch.float32)
    # Sums that bf16, with its eight bits, would miss.
    total = found.sum(dim=(1, 2)) if weights == "joint" else found.sum(dim=2)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


# ---- shares and entropy


def test_shares_and_entropy_by_hand() -> None:
    # What each of two experts says of three classes; the second has no output for the last.
    said = torch.tensor([[[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]]).expand(3, -1, -1)
    # First image: .1*.5 + .2*.3 + .3*.2 = .17 comes from the first expert, 0*.6 + .4*.4 + .5*0 = .16 from the
    # second, whose weight of .5 for the last class counts nothing. Second: one weight an expert is its part.
    # Third: one expert alone.
    weights = torch.tensor(
        [
            [[0.1, 0.0], [0.2, 0.4], [0.3, 0.5]],
            [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]],
            [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
        ]
    )
    parts = torch.tensor([[0.17 / 0.33, 0.16 / 0.33], [0.9, 0.1], [1.0, 0.0]])
    torch.testing.assert_close(shares(weights, said), parts)
    expected = [
        -0.17 / 0.33 * math.log(0.17 / 0.33) - 0.16 / 0.33 * math.log(0.16 / 0.33),  # 0.6927
        -0.9 * math.log(0.9) - 0.1 * math.log(0.1),  # 0.3251
        0.0,
    ]
    torch.testing.assert_close(entropy(weights, said), torch.tensor(expected))


def test_a_gates_metric_is_the_entropy_of_its_shares() -> None:
    made = gate("linear", "per_class")
    images, said = inputs()
    weights, metrics = made(images, said)
    mass = torch.einsum("bke,bek->be", weights, said)
    by_hand = [-sum(s * math.log(s) for s in share) for share in (mass / mass.sum(dim=1, keepdim=True)).tolist()]
    assert metrics["entropy"].tolist() == pytest.approx(by_hand, rel=1e-5)
