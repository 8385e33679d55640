"""Legend: B images, K classes, E experts (preorder, the base first), L leaves."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from moe.modules.ensemble import GatedEnsemble, mixture_nll
from moe.nets.class_expert import ClassExpert
from tests.modules.mixtures import CONSTANT, SHAPE, TWO, batch, constants, ensemble

LINEAR = {"_target_": "moe.nets.gates.LinearGate"}
NESTED = {"left": {"low": ["a", "b"], "high": ["c"]}, "right": ["d", "e", "f"]}


def give(gate: nn.Parameter, weights: list[float]) -> None:
    gate.data.copy_(torch.tensor(weights).log())


def network(outputs: int) -> nn.Module:
    """Batch normalisation and two kinds of dropout around a linear map."""
    return nn.Sequential(nn.BatchNorm2d(1), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, outputs))


def live(routing: str, gate: dict[str, Any] = LINEAR, **more: Any) -> GatedEnsemble:
    """An ensemble of random networks over the nested tree; high holds one class and has none."""
    torch.manual_seed(0)
    labels = [range(6), [0, 1, 2], [0, 1], [2], [3, 4, 5]]
    experts = [ClassExpert(network(len(ls)) if len(ls) > 1 else None, ls, 6) for ls in map(list, labels)]
    routers = [] if routing == "none" else [network(2), network(2)]
    return ensemble(gate, NESTED, "abcdef", routing, weights="joint", experts=experts, routers=routers, **more)


def test_the_negative_log_likelihood_by_hand() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.25, 0.75]])
    # ln 2, ln 10 and ln 4, over three.
    expected = (math.log(2) + math.log(10) + math.log(4)) / 3
    assert mixture_nll(probabilities, torch.tensor([0, 1, 0])).item() == pytest.approx(expected)


def test_a_probability_of_zero_has_a_finite_loss_and_gradient() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    loss = mixture_nll(probabilities, torch.tensor([1, 0]))
    # Zero counts as the smallest normal fp32, 2**-126: (126 ln 2 + ln 2) / 2.
    assert loss.item() == pytest.approx(127 * math.log(2) / 2)
    loss.backward()
    # The image that can be learnt from still is: -1 / .5, over two images.
    assert probabilities.grad is not None
    assert probabilities.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]


# Two classes, and a leaf for each: E is base, x, y. The experts of leaves are constant.
EXPERTS = torch.tensor([[[0.8, 0.2], [1.0, 0.0], [0.0, 1.0]], [[0.3, 0.7], [1.0, 0.0], [0.0, 1.0]]])
GATE_X, GATE_Y = [0.75, 0.25], [0.5, 0.5]


def two(routing: str, **more: Any) -> GatedEnsemble:
    module = ensemble(CONSTANT, TWO, "ab", routing, **more)
    for gate, weights in zip(
        constants(module), [[0.6, 0.3, 0.1]] if routing == "none" else [GATE_X, GATE_Y], strict=True
    ):
        give(gate, weights)
    return module


def test_under_hard_routing_an_image_is_judged_by_the_leaf_it_was_sent_to_whatever_its_label() -> None:
    # Both images are of class b, whose leaf is y, and both were sent to x. Leaf x: .75*base + .25*(1, 0), so that
    # b has .75*.2 = .15 and .75*.7 = .525.
    stored = (EXPERTS, torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 0]))
    module = two("hard")
    labels = torch.tensor([1, 1])
    loss = module.training_step((torch.zeros(2, *SHAPE), labels, *stored), 0)
    assert loss.item() == pytest.approx(-(math.log(0.15) + math.log(0.525)) / 2)
    loss.backward()
    x, y = constants(module)
    assert y.grad is None
    # d loss / d logit_e = -g_e (p_e - p) / p, over two images. Base: -.75 (.2 - .15) / .15 = -.25 and
    # -.75 (.7 - .525) / .525 = -.25, together -.25; the specialist the opposite.
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([-0.25, 0.25]))


def test_under_soft_routing_the_loss_is_that_of_the_whole_mixture() -> None:
    leaves = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    # Class a of image 0: leaf x .75*.8+.25 = .85, leaf y .5*.8 = .4, so .9*.85 + .1*.4 = .805.
    # Class b of image 1: leaf x .525, leaf y .5*.7+.5 = .85, so .6*.525 + .4*.85 = .655.
    loss = two("soft").training_step(
        (torch.zeros(2, *SHAPE), torch.tensor([0, 1]), EXPERTS, leaves, torch.tensor([0, 0])), 0
    )
    assert loss.item() == pytest.approx(-(math.log(0.805) + math.log(0.655)) / 2)


def test_without_routing_the_loss_is_that_of_one_gate_over_all_experts() -> None:
    none = (EXPERTS, torch.zeros(2, 2), torch.tensor([-1, -1]))
    # Class a of image 0: .6*.8 + .3 = .78; class b of image 1: .6*.7 + .1 = .52.
    loss = two("none").training_step((torch.zeros(2, *SHAPE), torch.tensor([0, 1]), *none), 0)
    assert loss.item() == pytest.approx(-(math.log(0.78) + math.log(0.52)) / 2)


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_only_gates_learn(routing: str) -> None:
    module = live(routing)
    module.train()
    before = {name: tensor.clone() for name, tensor in module.mixture.state_dict().items()}
    optimizer = module.configure_optimizers()
    module.training_step(batch(), 0).backward()
    with_gradient = {name for name, p in module.mixture.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name in before if name.startswith("gates.")}
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in module.mixture.gates.parameters()
    }
    # Nothing in the frozen networks moves, the running means of their normalisation neither.
    assert all(torch.equal(before[name], tensor) for name, tensor in module.mixture.state_dict().items())


@pytest.mark.parametrize("frozen_dropout", [False, True])
def test_frozen_networks_stay_in_evaluation_mode_save_their_dropout_where_asked(frozen_dropout: bool) -> None:
    module = live("hard", {"_target_": "moe.nets.gates.MLPGate", "width": 3}, frozen_dropout=frozen_dropout)
    module.train()
    frozen = [layer for nets in (module.mixture.experts, module.mixture.routers) for layer in nets.modules()]
    dropouts = [layer for layer in frozen if isinstance(layer, nn.Dropout | nn.Dropout2d)]
    others = [layer for net in (*module.mixture.experts, *module.mixture.routers) for layer in net.modules()]
    others = [layer for layer in others if layer not in dropouts]
    # Six networks (high has none) of two dropouts each.
    assert len(dropouts) == 12 and all(layer.training is frozen_dropout for layer in dropouts)
    assert len(others) > 12 and not any(layer.training for layer in others)
    assert all(layer.training for layer in module.mixture.gates.modules())
    module.eval()
    assert not any(layer.training for layer in module.modules())


def test_active_dropout_of_frozen_networks_changes_what_they_say_in_training_alone() -> None:
    images, _ = batch()
    for frozen_dropout in (False, True):
        module = live("hard", CONSTANT, frozen_dropout=frozen_dropout)
        module.train()
        same = torch.equal(module(images).probabilities, module(images).probabilities)
        assert same is not frozen_dropout
        module.eval()
        assert torch.equal(module(images).probabilities, module(images).probabilities)


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_stored_and_live_outputs_give_the_same_loss_and_gradients(routing: str) -> None:
    images, labels = batch()
    module = live(routing)
    module.train()
    dense = module.mixture.dense(images, routed=routing != "none")
    if routing == "hard":
        assert set(dense.route.tolist()) == {0, 1, 2}  # every leaf has images
    found = []
    for stored in ((), (dense.experts, dense.leaves, dense.route)):
        module.zero_grad()
        loss = module.training_step((images, labels, *stored), 0)
        loss.backward()
        found.append(torch.cat([loss.detach()[None], *(p.grad.flatten() for p in module.mixture.gates.parameters())]))
    assert found[0].norm() > 0.1
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


def test_a_stored_batch_is_mixed_without_any_network() -> None:
    # Made as for training from the store: no expert and no router is there.
    module = two("hard")
    assert len(module.mixture.experts) == len(module.mixture.routers) == 0
    mixed = module(torch.zeros(2, *SHAPE), EXPERTS, torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    # .75*.8+.25 and .75*.2; .5*.3 and .5*.7+.5.
    torch.testing.assert_close(mixed.probabilities, torch.tensor([[0.85, 0.15], [0.15, 0.85]]))


def test_hyperparameters_are_plain_values() -> None:
    values = dict(two("hard").hparams)
    assert values["branches"] == TWO and values["gate"] == CONSTANT and values["classes"] == ["a", "b"]
    assert "experts" not in values and "routers" not in values
