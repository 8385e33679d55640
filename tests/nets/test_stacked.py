"""Legend: G mixtures, B images, K classes, E experts, L leaves."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from moe.nets import mixture as of_one
from moe.nets import stacked as of_many
from moe.nets.build import build_gate
from moe.nets.gates import ConfidenceGate, ConvGate, LinearGate, MLPGate
from moe.nets.mixture import Frozen, Mixture
from moe.nets.stacked import StackedGates, StackedMixture, stackable
from moe.taxonomy import parse

SHAPE = (2, 3, 4)
TREE = parse({"x": ["a", "b"], "y": ["c"], "z": ["d", "e"]}, list("abcde"))
MLP, CONFIDENCE = "moe.nets.gates.MLPGate", "moe.nets.gates.ConfidenceGate"
# Widths that differ, layers of one width, no hidden layer, gates that do not see the image.
COMPANIES: list[list[dict[str, Any]]] = [
    [{"_target_": MLP, "width": width, "dropout": 0.0} for width in (3, 7, 1)],
    [{"_target_": MLP, "width": 6, "depth": 3, "dropout": 0.0} for _ in range(3)],
    [{"_target_": "moe.nets.gates.LinearGate"} for _ in range(2)],
    [{"_target_": CONFIDENCE, "width": width} for width in (2, 4)],
]


def mixtures(company: Sequence[dict[str, Any]], routing: str = "hard", weights: str = "joint") -> list[Mixture]:
    torch.manual_seed(0)
    sizes = [len(TREE.experts)] if routing == "none" else [len(path) for path in TREE.paths]
    return [
        Mixture(TREE, (), (), [build_gate(gate, SHAPE, 5, size, weights) for size in sizes], routing)
        for gate in company
    ]


def batch(size: int = 9) -> tuple[Tensor, Frozen]:
    generator = torch.Generator().manual_seed(1)
    experts = torch.rand(size, len(TREE.experts), 5, generator=generator).softmax(dim=2)
    leaves = torch.rand(size, 3, generator=generator).softmax(dim=1)
    # No image is sent to the second leaf.
    return torch.rand(size, *SHAPE, generator=generator), Frozen(experts, leaves, torch.arange(size) % 2 * 2)


def generators(count: int) -> list[Generator]:
    return [torch.Generator().manual_seed(5) for _ in range(count)]


@pytest.mark.parametrize("company", COMPANIES)
@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
@pytest.mark.parametrize("weights", ["joint", "per_class", "per_expert"])
def test_a_stack_says_and_learns_what_each_mixture_does(
    company: list[dict[str, Any]], routing: str, weights: str
) -> None:
    each, (images, frozen) = mixtures(company, routing, weights), batch()
    stacked = StackedMixture(each)
    probabilities, entropies = stacked(images, frozen, generators(len(each)))
    (-probabilities[:, :, 1].log()).mean(dim=1).sum().backward()
    norms = stacked.gradient_norms()
    for number, mixture in enumerate(each):
        mixed = mixture.combine(images, frozen)
        (-mixed.probabilities[:, 1].log()).mean().backward()
        torch.testing.assert_close(probabilities[number], mixed.probabilities)
        torch.testing.assert_close(entropies[number], mixed.entropy.detach())
        gradients = [p.grad for p in mixture.parameters() if p.grad is not None]
        torch.testing.assert_close(norms[number], torch.nn.utils.get_total_norm(gradients))


@pytest.mark.parametrize("cascade", [None, 0.3])
@pytest.mark.parametrize("company", COMPANIES)
def test_gates_that_see_every_image_learn_from_their_own_alone(
    monkeypatch: pytest.MonkeyPatch, company: list[dict[str, Any]], cascade: float | None
) -> None:
    images, frozen = batch()
    found = []
    for seen in (False, True):  # as on a CPU, as on a GPU
        for module in (of_one, of_many):
            monkeypatch.setattr(module, "everywhere", lambda module, images, seen=seen: seen)
        alone = mixtures(company)[0]
        alone.cascade = cascade
        mixed = alone.combine(images, frozen)
        mixed.probabilities[:, 1].sum().backward()
        gradients = [torch.zeros(()) if p.grad is None else p.grad.abs().sum() for p in alone.parameters()]
        together = StackedMixture(mixtures(company))
        said, uncertain = together(images, frozen, generators(len(company)))
        said[:, :, 1].sum().backward()
        norms = together.gradient_norms()
        found.append(
            (mixed.probabilities, mixed.weights, mixed.entropy, torch.stack(gradients), said, uncertain, norms)
        )
    for picked, everywhere in zip(*found, strict=True):
        torch.testing.assert_close(picked, everywhere)
    # Where the base speaks alone, each of its 5 weights is a fifth: so it is for some of the 9 images, not for all.
    base = (found[0][1][:, :, 0] - 0.2).abs().amax(dim=1) < 1e-6
    assert (int(base.sum()) == 0) if cascade is None else 0 < int(base.sum()) < 9


@pytest.mark.parametrize("company", [COMPANIES[0], COMPANIES[1]])
def test_dropout_is_drawn_as_alone(company: list[dict[str, Any]]) -> None:
    each = mixtures([{**gate, "dropout": rate} for gate, rate in zip(company, (0.5, 0.0, 0.3), strict=True)])
    images, frozen = batch()
    stacked = StackedMixture(each).train()
    probabilities, _ = stacked(images, frozen, generators(3))
    for number, mixture in enumerate(each):
        torch.manual_seed(5)
        torch.testing.assert_close(probabilities[number], mixture.train().combine(images, frozen).probabilities)
    assert not torch.allclose(probabilities, stacked.eval()(images, frozen, generators(3))[0])


@pytest.mark.parametrize("company", COMPANIES)
def test_each_state_is_the_mixtures_own(company: list[dict[str, Any]]) -> None:
    each = mixtures(company)
    stacked = StackedMixture(each)
    for number, mixture in enumerate(each):
        own, state = mixture.gates.state_dict(), stacked.state(number)
        assert list(state) == list(own)
        assert all(torch.equal(state[name], own[name]) and state[name].is_contiguous() for name in own)


def test_gradients_are_clipped_mixture_by_mixture() -> None:
    stacked, (images, frozen) = StackedMixture(mixtures(COMPANIES[0])), batch()
    # Losses of 1000 times and once the probability: only the first's gradient is long.
    probabilities, _ = stacked(images, frozen, generators(3))
    (probabilities[:, :, 1].mean(dim=1) * torch.tensor([1000.0, 1.0, 1.0])).sum().backward()
    before = stacked.gradient_norms()
    assert before[0] > 1 > before[1:].max()
    stacked.clip_gradients(1.0)
    torch.testing.assert_close(stacked.gradient_norms(), torch.stack([torch.tensor(1.0), *before[1:]]))


def test_a_nan_stays_in_its_gate() -> None:
    each, (images, frozen) = mixtures(COMPANIES[0]), batch()
    with torch.no_grad():
        each[1].gates[0].net[1].weight[2, 0] = torch.nan  # type: ignore[index,union-attr]
    stacked = StackedMixture(each)
    probabilities, _ = stacked(images, frozen, generators(3))
    probabilities.log()[:, :, 1].sum().backward()
    assert torch.isfinite(probabilities).flatten(1).all(dim=1).tolist() == [True, False, True]
    assert torch.isfinite(stacked.gradient_norms()).tolist() == [True, False, True]


def test_what_can_be_stacked() -> None:
    frame = {"in_shape": (1, 4, 4), "num_classes": 2, "num_experts": 2, "weights": "joint"}
    mlp = MLPGate(width=3, dropout=0.0, **frame)
    assert stackable([mlp, MLPGate(width=5, dropout=0.5, **frame)])
    assert stackable([LinearGate(**frame), LinearGate(**frame)])
    assert stackable([MLPGate(width=3, depth=2, **frame), MLPGate(width=3, depth=2, **frame)])
    assert not stackable([MLPGate(width=3, depth=2, **frame), MLPGate(width=5, depth=2, **frame)])
    assert not stackable([mlp, MLPGate(width=3, depth=2, **frame)])
    assert not stackable([mlp, ConfidenceGate(width=3, **frame)])
    assert not stackable([mlp, MLPGate(width=3, **{**frame, "weights": "per_class"})])
    assert not stackable([ConvGate(**frame), ConvGate(**frame)])


def test_a_first_layer_of_two_gates_by_hand() -> None:
    # One pixel, two experts, one class; hidden layers of 1 and 2 that pass the pixel on, times 1 and times 1, 2.
    frame = {"in_shape": (1, 1, 1), "num_classes": 1, "num_experts": 2, "weights": "joint"}
    gates = [MLPGate(width=width, dropout=0.0, **frame) for width in (1, 2)]
    with torch.no_grad():
        values = [([1.0], [[1.0], [0.0]]), ([1.0, 2.0], [[1.0, 1.0], [0.0, 0.0]])]
        for gate, (first, last) in zip(gates, values, strict=True):
            gate.net[1].weight.copy_(torch.tensor(first)[:, None])
            gate.net[4].weight.copy_(torch.tensor(last))
    said = StackedGates(gates)(torch.tensor([[[[2.0]]]]), torch.ones(1, 2, 1), generators(2))
    # Logits (2, 0) and (2 + 4, 0): the first expert has sigmoid(2) and sigmoid(6).
    torch.testing.assert_close(said[:, 0, 0, 0], torch.tensor([2.0, 6.0]).sigmoid())
