"""Legend: B images, K classes, E experts (preorder, the base first), L leaves.

Image i is one pixel of value i, and a network is a table of what it says of each, so that all is worked by hand.
"""

import math

import pytest
import torch
from tables import Rows, Table, constant, pictures

from moe.nets.class_expert import ClassExpert
from moe.nets.gates import Gate
from moe.nets.mixture import Frozen, Mixture, mix
from moe.taxonomy import Tree, parse


def test_mix_by_hand_for_two_classes() -> None:
    # weights (K, E), class 0: .4 .1, class 1: .2 .3; the experts say .9 .1 and .5 .5.
    # Class 0: .4*.9 + .1*.5 = .41; class 1: .2*.1 + .3*.5 = .17; over .58.
    weights = torch.tensor([[[0.4, 0.1], [0.2, 0.3]]])
    experts = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]])
    torch.testing.assert_close(mix(weights, experts), torch.tensor([[0.41 / 0.58, 0.17 / 0.58]]))


def test_mix_by_hand_for_three_classes_and_two_images() -> None:
    weights = torch.tensor([[[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]], [[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]])
    experts = torch.tensor([[[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], [[0.1, 0.1, 0.8], [0.2, 0.2, 0.6]]])
    expected = [
        # .5*.2 + .5*.6 = .4; 1*.3 = .3; .25*.5 + .75*0 = .125; over .825
        [0.4 / 0.825, 0.3 / 0.825, 0.125 / 0.825],
        # 1*.2 = .2; .5*.1 + .5*.2 = .15; .5*.8 + .5*.6 = .7; over 1.05
        [0.2 / 1.05, 0.15 / 1.05, 0.7 / 1.05],
    ]
    torch.testing.assert_close(mix(weights, experts), torch.tensor(expected))


def test_a_specialist_without_mass_for_a_class_leaves_it_to_the_base() -> None:
    # The specialist speaks for classes 0 and 1. For class 2 its weight .9 multiplies zero: only the base's .1 * .6
    # remains, and nothing else is done to it. Class 0: .5*.3 + .5*.7 = .5; class 1: .5*.1 + .5*.3 = .2.
    weights = torch.tensor([[[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]])
    experts = torch.tensor([[[0.3, 0.1, 0.6], [0.7, 0.3, 0.0]]])
    torch.testing.assert_close(mix(weights, experts), torch.tensor([[0.5, 0.2, 0.06]]) / 0.76)
    # Whatever the specialist's weight there, the answer is the same.
    other = weights.clone()
    other[0, 2, 1] = 0.2
    assert torch.equal(mix(weights, experts), mix(other, experts))


def test_an_image_that_no_expert_gives_mass_is_no_nan() -> None:
    mixed = mix(torch.zeros(1, 2, 1), torch.full((1, 1, 2), 0.5))
    assert mixed.tolist() == [[0.0, 0.0]]


def test_mixing_stays_fp32_under_bf16_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(50, 10, 3, generator=generator)
    experts = torch.rand(50, 3, 10, generator=generator).softmax(dim=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mix(weights, experts)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, mix(weights, experts))
    # A bf16 gate or expert is taken to fp32 before anything is multiplied.
    halved = mix(weights.bfloat16(), experts.bfloat16())
    assert torch.equal(halved, mix(weights.bfloat16().float(), experts.bfloat16().float()))


FLAT3 = parse({"x": [0], "y": [1], "z": [2]}, "abc")
# Three classes in two branches; the second holds one class, so its specialist is constant.
TWO = parse({"x": ["a", "b"], "y": ["c"]}, "abc")
BASE = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
SPECIALIST = [[0.6, 0.4], [0.25, 0.75]]
ROUTER = [[0.7, 0.3], [0.4, 0.6]]
# Weights (K, E) over the base and the leaf's own expert.
GATE_X = [[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]
GATE_Y = [[0.5, 0.5], [0.25, 0.75], [0.4, 0.6]]
# Leaf x: .2*.5+.8*.6 = .58, .5*.3+.5*.4 = .35, .9*.2 = .18, over 1.11;
#         .2*.1+.8*.25 = .22, .5*.2+.5*.75 = .475, .9*.7 = .63, over 1.325.
LEAF_X = [[0.58 / 1.11, 0.35 / 1.11, 0.18 / 1.11], [0.22 / 1.325, 0.475 / 1.325, 0.63 / 1.325]]
# Leaf y, whose expert says 0 0 1: .5*.5 = .25, .25*.3 = .075, .4*.2+.6 = .68, over 1.005;
#         .5*.1 = .05, .25*.2 = .05, .4*.7+.6 = .88, over .98.
LEAF_Y = [[0.25 / 1.005, 0.075 / 1.005, 0.68 / 1.005], [0.05 / 0.98, 0.05 / 0.98, 0.88 / 0.98]]


def two(routing: str, gates: list[Gate] | None = None) -> Mixture:
    experts = [
        ClassExpert(Table(BASE), [0, 1, 2], 3),
        ClassExpert(Table(SPECIALIST), [0, 1], 3),
        ClassExpert(None, [2], 3),
    ]
    routers = [] if routing == "none" else [Table(ROUTER)]
    return Mixture(TWO, experts, routers, gates or [constant(GATE_X), constant(GATE_Y)], routing).eval()


def share_entropy(*gated: tuple[Rows, Rows]) -> float:
    """The mean entropy of the experts' shares, written out, over images: a gate's rows and what the experts said."""
    total = 0.0
    for weights, said in gated:
        mass = [sum(row[e] * said[e][k] for k, row in enumerate(weights)) for e in range(len(said))]
        total += -sum(m / sum(mass) * math.log(m / sum(mass)) for m in mass if m > 0)
    return total / len(gated)


# What the specialists say of the two images.
SAID_X = [[0.6, 0.4, 0.0], [0.25, 0.75, 0.0]]
SAID_Y = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]


def test_hard_routing_by_hand() -> None:
    mixed = two("hard")(pictures(2))
    # .7 sends image 0 to x, .6 sends image 1 to y.
    assert mixed.frozen.route.tolist() == [0, 1]
    torch.testing.assert_close(mixed.probabilities, torch.tensor([LEAF_X[0], LEAF_Y[1]]))
    torch.testing.assert_close(mixed.probabilities.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(mixed.frozen.leaves, torch.tensor([[0.7, 0.0], [0.0, 0.6]]))
    # The weights of the gate on the way, zero for the expert off it: E is base, x, y.
    expected = [[[a, b, 0.0] for a, b in GATE_X], [[a, 0.0, b] for a, b in GATE_Y]]
    torch.testing.assert_close(mixed.weights, torch.tensor(expected))
    assert mixed.entropy.item() == pytest.approx(
        share_entropy((GATE_X, [BASE[0], SAID_X[0]]), (GATE_Y, [BASE[1], SAID_Y[1]])), rel=1e-5
    )
    # Experts off the way have said nothing.
    experts = [[BASE[0], [0.6, 0.4, 0.0], [0.0] * 3], [BASE[1], [0.0] * 3, [0.0, 0.0, 1.0]]]
    torch.testing.assert_close(mixed.frozen.experts, torch.tensor(experts))


def test_soft_routing_by_hand() -> None:
    mixed = two("soft")(pictures(2))
    expected = [[r * x + s * y for x, y in zip(LEAF_X[i], LEAF_Y[i], strict=True)] for i, (r, s) in enumerate(ROUTER)]
    torch.testing.assert_close(mixed.probabilities, torch.tensor(expected))
    torch.testing.assert_close(mixed.probabilities.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(mixed.frozen.leaves, torch.tensor(ROUTER))
    # Weights over the mass of their leaf and by its probability: the base's from both, each specialist's from its own.
    mass = [(1.11, 1.005), (1.325, 0.98)]
    weights = [
        [[r / m * a + s / n * c, r / m * b, s / n * d] for (a, b), (c, d) in zip(GATE_X, GATE_Y, strict=True)]
        for (r, s), (m, n) in zip(ROUTER, mass, strict=True)
    ]
    torch.testing.assert_close(mixed.weights, torch.tensor(weights))
    # So they make the mixture, and the experts' parts in them are the parts in it.
    made = (mixed.weights * mixed.frozen.experts.transpose(1, 2)).sum(dim=2)
    torch.testing.assert_close(made, mixed.probabilities)
    gated = [(GATE_X, [BASE[i], SAID_X[i]]) for i in (0, 1)] + [(GATE_Y, [BASE[i], SAID_Y[i]]) for i in (0, 1)]
    assert mixed.entropy.item() == pytest.approx(share_entropy(*gated), rel=1e-5)


def test_one_gate_over_all_the_experts_by_hand() -> None:
    gate = [[0.2, 0.7, 0.1], [0.5, 0.25, 0.25], [0.1, 0.6, 0.3]]
    mixed = two("none", [constant(gate)])(pictures(2))
    # Experts say of image 0: .5 .3 .2, .6 .4 0, 0 0 1. .2*.5+.7*.6 = .52; .5*.3+.25*.4 = .25; .1*.2+.3*1 = .32.
    # Of image 1: .1 .2 .7, .25 .75 0, 0 0 1. .2*.1+.7*.25 = .195; .5*.2+.25*.75 = .2875; .1*.7+.3 = .37.
    expected = [[0.52 / 1.09, 0.25 / 1.09, 0.32 / 1.09], [0.195 / 0.8525, 0.2875 / 0.8525, 0.37 / 0.8525]]
    torch.testing.assert_close(mixed.probabilities, torch.tensor(expected))
    torch.testing.assert_close(mixed.weights, torch.tensor([gate, gate]))
    assert mixed.frozen.route.tolist() == [-1, -1] and mixed.frozen.leaves.tolist() == [[0.0, 0.0]] * 2
    gated = [(gate, [BASE[i], SAID_X[i], SAID_Y[i]]) for i in (0, 1)]
    assert mixed.entropy.item() == pytest.approx(share_entropy(*gated), rel=1e-5)


def test_one_weight_an_expert_by_hand() -> None:
    mixed = two("hard", [constant([0.25, 0.75], "per_expert"), constant([0.5, 0.5], "per_expert")])(pictures(2))
    # A weighted mean of distributions is one already. Image 0: .25*.5+.75*.6 = .575, .25*.3+.75*.4 = .375,
    # .25*.2 = .05. Image 1: .5*.1, .5*.2, .5*.7+.5.
    torch.testing.assert_close(mixed.probabilities, torch.tensor([[0.575, 0.375, 0.05], [0.05, 0.1, 0.85]]))


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_a_whole_mixture_mixes_in_fp32_under_bf16_autocast(routing: str) -> None:
    gates: list[Gate] | None = [constant([[0.2, 0.7, 0.1]] * 3)] if routing == "none" else None
    mixture = two(routing, gates)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mixture(pictures(2))
    assert mixed.probabilities.dtype == torch.float32
    assert torch.equal(mixed.probabilities, mixture(pictures(2)).probabilities)


def test_an_image_with_the_nodes_argmax_tied_goes_to_the_first_child_live_too() -> None:
    mixture = two("hard")
    mixture.routers[0] = Table([[0.5, 0.5], [0.5, 0.5]])
    assert mixture(pictures(2)).frozen.route.tolist() == [0, 0]


def test_frozen_is_indexed_image_by_image() -> None:
    frozen = Frozen(torch.arange(12.0).view(3, 2, 2), torch.arange(6.0).view(3, 2), torch.tensor([1, 0, 1]))
    some = frozen[torch.tensor([2, 0])]
    assert some.experts.tolist() == [[[8.0, 9.0], [10.0, 11.0]], [[0.0, 1.0], [2.0, 3.0]]]
    assert some.leaves.tolist() == [[4.0, 5.0], [0.0, 1.0]] and some.route.tolist() == [1, 1]


def test_a_leaf_learns_from_the_images_sent_to_it_alone() -> None:
    mixture = two("hard")
    image = pictures(1)  # goes to x
    mixture.combine(image, mixture.dense(image)).probabilities[0, 0].backward()
    x, y = (gate.constant.grad for gate in mixture.gates)  # type: ignore[union-attr]
    assert y is None
    # p_a = A / S with A = .58, S = 1.11. Of class a, softmax over experts: d A / d logit_base = .2*.8*(.5 - .6) =
    # -.016, the specialist's the opposite; dp/dA = (S - A) / S^2 = .53 / 1.2321. Of class b: d B / d logit_base =
    # .5*.5*(.3 - .4) = -.025, of class c: .9*.1*(.2 - 0) = .018; dp/dB = dp/dC = -A / S^2 = -.58 / 1.2321.
    a, b, c = -0.016 * 0.53 / 1.2321, 0.025 * 0.58 / 1.2321, -0.018 * 0.58 / 1.2321
    torch.testing.assert_close(x, torch.tensor([a, -a, b, -b, c, -c]), rtol=1e-4, atol=1e-7)


def test_trees_of_other_sizes_have_a_gate_for_each_leaf() -> None:
    tree: Tree = FLAT3
    experts = [ClassExpert(Table([[0.2, 0.3, 0.5]]), [0, 1, 2], 3)] + [ClassExpert(None, [k], 3) for k in range(3)]
    gates = [constant([0.5, 0.5], "per_expert") for _ in range(3)]
    mixed = Mixture(tree, experts, [Table([[0.1, 0.2, 0.7]])], gates, "hard").eval()(pictures(1))
    # Branch z: half the base, half the certain class c: .1, .15, .25 + .5.
    torch.testing.assert_close(mixed.probabilities, torch.tensor([[0.1, 0.15, 0.75]]))
    assert mixed.frozen.route.tolist() == [2]
