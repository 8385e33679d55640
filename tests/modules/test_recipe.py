"""A recipe's rates, optimiser, decay and losses, without a training."""

import math
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from moe.errors import ConfigError
from moe.modules.expert import Expert
from moe.modules.recipe import FUSED, build_optimizer, learning_rate_factor, parameter_groups
from tests.modules.tiny import NET, SHAPE, recipe


@pytest.mark.parametrize(
    ("schedule", "warmup", "steps", "expected"),
    [
        ("constant", 0.0, 4, [1, 1, 1, 1, 1]),
        ("linear", 0.0, 4, [1, 3 / 4, 2 / 4, 1 / 4, 0]),
        # (1 + cos(pi s / 4)) / 2
        ("cosine", 0.0, 4, [1, (2 + math.sqrt(2)) / 4, 1 / 2, (2 - math.sqrt(2)) / 4, 0]),
        # Half of four steps warm up: (s + 1) / 3; then the schedule over the two that are left.
        ("constant", 0.5, 4, [1 / 3, 2 / 3, 1, 1, 1]),
        ("linear", 0.5, 4, [1 / 3, 2 / 3, 1, 1 / 2, 0]),
        ("cosine", 0.5, 4, [1 / 3, 2 / 3, 1, 1 / 2, 0]),
        # A quarter of ten steps is 2.5: (s + 1) / 3.5 below that, then (s - 2.5) / 7.5 of the way down is done.
        ("linear", 0.25, 10, [1 / 3.5, 2 / 3.5, 3 / 3.5, 1 - 0.5 / 7.5, 1 - 1.5 / 7.5]),
        ("linear", 0.0, 1, [1, 0]),
    ],
)
def test_the_learning_rates_factor_by_hand(schedule: str, warmup: float, steps: int, expected: list[float]) -> None:
    found = [learning_rate_factor(schedule, warmup, step, steps) for step in range(len(expected))]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_past_the_last_step_the_rate_stays_at_zero(schedule: str) -> None:
    assert [learning_rate_factor(schedule, 0.1, step, 10) for step in (10, 11, 50)] == pytest.approx([0.0] * 3)


def test_the_rate_never_jumps_up_by_more_than_the_warm_ups_step_nor_rises_after_it() -> None:
    for schedule in ("constant", "linear", "cosine"):
        rates = [learning_rate_factor(schedule, 0.3, step, 100) for step in range(101)]
        assert max(rates) == 1 and min(rates) >= 0
        # 30 steps rise to one by 1/31 each.
        assert all(0 <= b - a <= 1 / 31 + 1e-9 for a, b in pairwise(rates[:31]))
        assert all(b <= a for a, b in pairwise(rates[30:]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Adam", {"lr": 0.3, "eps": 0.001}),
        ("AdamW", {"lr": 0.3, "weight_decay": 0.2}),
        ("NAdam", {"lr": 0.3, "momentum_decay": 0.01}),
        ("RMSprop", {"lr": 0.3, "alpha": 0.9}),
        ("SGD", {"lr": 0.3, "momentum": 0.9, "nesterov": True}),
    ],
)
def test_the_optimiser_is_that_of_the_recipe_with_its_arguments(name: str, arguments: dict[str, Any]) -> None:
    learns = recipe(optimizer={"_target_": f"torch.optim.{name}", **arguments})
    module = Expert(NET, SHAPE, 2, asdict(learns))
    optimizer = module.configure_optimizers()
    assert type(optimizer) is getattr(torch.optim, name)
    assert {key: optimizer.defaults[key] for key in arguments} == pytest.approx(arguments)
    # One group with every weight of the network.
    (group,) = optimizer.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in module.net.parameters()}
    # The recipe is left as it was.
    assert module.recipe["optimizer"] == {"_target_": f"torch.optim.{name}", **arguments}


def test_only_weights_that_learn_are_given_to_the_optimiser() -> None:
    module = Expert(NET, SHAPE, 2, asdict(recipe()))
    module.net.features.requires_grad_(False)
    given = module.configure_optimizers().param_groups[0]["params"]
    assert {id(p) for p in given} == {id(p) for p in module.net.head.parameters()}


@pytest.mark.parametrize("name", FUSED)
def test_optimisers_that_can_skip_an_update_on_the_device_are_fused(name: str) -> None:
    learns = recipe(optimizer={"_target_": f"torch.optim.{name}", "lr": 0.1})
    assert Expert(NET, SHAPE, 2, asdict(learns)).configure_optimizers().defaults["fused"] is True
    learns.optimizer["fused"] = False
    assert Expert(NET, SHAPE, 2, asdict(learns)).configure_optimizers().defaults["fused"] is False
    # Torch refuses the two together.
    learns.optimizer = {"_target_": f"torch.optim.{name}", "lr": 0.1, "foreach": True}
    assert Expert(NET, SHAPE, 2, asdict(learns)).configure_optimizers().defaults["fused"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"lr": 0.1, "widht": 3},
        {"lr": None},
        {"lr": 0.1, "betas": [0.9, 2.0]},
        {"lr": 0.1, "betas": 3},
        {"lr": 0.1, "betas": [0.9]},
    ],
)
def test_arguments_that_an_optimiser_does_not_take_are_a_config_error(arguments: dict[str, Any]) -> None:
    module = Expert(NET, SHAPE, 2, asdict(recipe(optimizer={"_target_": "torch.optim.Adam", **arguments})))
    with pytest.raises(ConfigError, match=r"recipe\.optimizer"):
        module.configure_optimizers()


def test_norms_biases_have_a_rate_of_their_own_and_decay_is_free_of_the_rate() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2, bias=False))
    net[1].weight.requires_grad_(False)
    asked = {"optimizer": {"lr": 0.5}, "bias_lr": 64.0, "decay": 0.002}
    others, biases = parameter_groups(net, asked)
    assert [id(p) for p in others["params"]] == [id(net[0].weight), id(net[0].bias), id(net[3].weight)]
    assert [id(p) for p in biases["params"]] == [id(net[1].bias)]
    # A step takes rate x weight decay of a weight: 0.5 x 0.004 and 32 x 0.0000625, both 0.002.
    assert (others["lr"], others["weight_decay"]) == (0.5, 0.004)
    assert (biases["lr"], biases["weight_decay"]) == (32.0, 0.0000625)
    (whole,) = parameter_groups(net, {**asked, "bias_lr": 1.0})
    assert len(whole["params"]) == 4 and whole["lr"] == 0.5
    assert len(parameter_groups(net, {**asked, "bias_lr": 1.0, "decay": None})) == 4  # plain parameters


def test_decay_takes_its_part_of_a_weight_that_has_no_gradient() -> None:
    weight = nn.Parameter(torch.tensor([8.0]))
    module = nn.Module()
    module.weight = weight
    asked = {"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}, "bias_lr": 1.0, "decay": 0.25}
    optimizer = build_optimizer(asked["optimizer"], parameter_groups(module, asked))
    weight.grad = torch.zeros(1)
    optimizer.step()
    assert weight.item() == pytest.approx(6.0)  # 8 less a quarter


def test_label_smoothing_by_hand() -> None:
    # Logits 0 and ln 3 are probabilities 1/4 and 3/4. Smoothed by .2, the target 1 is .1 and .9:
    # .1 ln 4 + .9 ln (4/3) in training; the plain ln (4/3) for choices.
    module = Expert(NET, SHAPE, 2, asdict(recipe(label_smoothing=0.2))).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.net.head[-1].bias[1] = math.log(3)
    batch = (torch.zeros(3, *SHAPE), torch.tensor([1, 1, 1]))
    assert module.training_step(batch, 0).item() == pytest.approx(0.1 * math.log(4) + 0.9 * math.log(4 / 3))
    module.validation_step(batch, 0)
    assert module.val_nll.compute().item() == pytest.approx(math.log(4 / 3))


def test_the_loss_for_choices_is_the_mean_over_images_and_not_over_batches() -> None:
    module = Expert(NET, SHAPE, 2, asdict(recipe())).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.net.head[-1].bias[1] = math.log(3)
    # Three images of class 1, ln (4/3) each, then one of class 0, ln 4: (3 ln (4/3) + ln 4) / 4; 3 of 4 are right.
    module.validation_step((torch.zeros(3, *SHAPE), torch.tensor([1, 1, 1])), 0)
    module.validation_step((torch.zeros(1, *SHAPE), torch.tensor([0])), 1)
    assert module.val_nll.compute().item() == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)
    assert module.val_accuracy.compute().item() == 0.75


@pytest.mark.filterwarnings("ignore:Encountered `nan`")
def test_a_batch_whose_loss_is_nan_is_not_left_out_of_the_loss_for_choices() -> None:
    # Else an epoch that made some images NaN would be judged by the others alone, and kept.
    module = Expert(NET, SHAPE, 2, asdict(recipe())).eval()
    module.validation_step((torch.zeros(2, *SHAPE), torch.tensor([0, 1])), 0)
    module.validation_step((torch.full((2, *SHAPE), float("nan")), torch.tensor([0, 1])), 1)
    assert not math.isfinite(module.val_nll.compute().item())
