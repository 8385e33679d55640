"""A recipe's optimiser, schedule, averaging and selection, and whole trainings through `moe.modules.fit.fit`."""

import math
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import seed_everything
from quick import TRAINER, short_recipe
from torch import Tensor, nn

from moe.config import Augment, Recipe
from moe.data.batches import Pixels
from moe.data.canonical import DataSet, assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import ConfigError, NonFiniteError
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit, make_trainer, precision_for
from moe.modules.recipe import FUSED, RecipeModule, build_optimizer, learning_rate_factor, parameter_groups
from moe.modules.router import Router
from moe.nets.fast_vgg import whitening_filters

NET = {"_target_": "moe.nets.vgg.VGG", "blocks": [[2]], "hidden": 4, "dropout": 0.5, "conv_dropout": 0.25}
SHAPE = [1, 4, 4]


recipe = partial(short_recipe, optimizer={"_target_": "torch.optim.Adam", "lr": 0.02}, epochs=2, batch_size=8)


def data(count: int = 40, held: int = 10) -> tuple[DataSet, SplitIndices]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count + 2, *SHAPE), generator=generator).byte()
    labels = torch.arange(count + 2) % 2
    whole = assemble("tiny", "ab", (images[:count], labels[:count], images[count:], labels[count:]))
    every = torch.arange(count)
    return whole, SplitIndices(every[held:], every[:0], every[:held])


class Watched(Expert):
    """An expert that keeps its weights after every step, before any averaging."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen.append({name: tensor.detach().clone() for name, tensor in self.state_dict().items()})


def train(learns: Recipe, folder: Path, seed: int = 0) -> tuple[Fitted, Watched]:
    """An expert as `moe.training` trains it: its own seed for the weights, the dropout and the batches."""
    seed_everything(seed, verbose=False)
    module = Watched(NET, SHAPE, 2, asdict(learns))
    whole, indices = data()
    datamodule = ImageDataModule(whole, indices, Pixels((0.5,), (0.25,)), {0: 0, 1: 1}, learns, seed)
    return fit("base", module, datamodule, learns, TRAINER, None, folder), module


def vector(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([weights[name].flatten() for name in sorted(weights)])


# ---- the learning rate


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


def test_training_follows_the_schedule_step_by_step(tmp_path: Path) -> None:
    # 30 images in batches of 8 are 4 steps an epoch. SGD at rate 1, and a gradient of one from a linear loss: each
    # step takes off the weight what the rate is.
    class Slope(RecipeModule):
        def __init__(self, values: dict[str, Any]) -> None:
            super().__init__(values)
            self.weight = nn.Parameter(torch.zeros(()))
            self.seen: list[float] = []

        def training_step(self, batch: Any, batch_index: int) -> Tensor:
            self.seen.append(self.weight.item())
            return self.weight

        def validation_step(self, batch: Any, batch_index: int) -> None:
            self.log("val/nll", 1.0, batch_size=1)

    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 1.0}, schedule="linear", warmup=0.25)
    whole, indices = data()
    datamodule = ImageDataModule(whole, indices, Pixels((0.0,), (1.0,)), {0: 0, 1: 1}, learns, 0)
    module = Slope(asdict(learns))
    fit("x", module, datamodule, learns, TRAINER, None, tmp_path)
    # Eight steps, of which two warm up: 1/3, 2/3, then 1, 5/6, 4/6, 3/6, 2/6, 1/6.
    rates = [1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    expected = [-sum(rates[:step]) for step in range(8)]
    assert module.seen == pytest.approx(expected, abs=1e-6)


# ---- the optimiser


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


@pytest.mark.parametrize(
    "arguments", [{"lr": 0.1, "widht": 3}, {"lr": None}, {"lr": 0.1, "betas": [0.9, 2.0]}, {"lr": 0.1, "betas": 3}]
)
def test_arguments_that_an_optimiser_does_not_take_are_a_config_error(arguments: dict[str, Any]) -> None:
    module = Expert(NET, SHAPE, 2, asdict(recipe(optimizer={"_target_": "torch.optim.Adam", **arguments})))
    with pytest.raises(ConfigError, match=r"recipe\.optimizer"):
        module.configure_optimizers()


# ---- the loss


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


def test_a_routers_recall_is_that_of_each_branch(tmp_path: Path) -> None:
    whole, indices = data()
    labels = whole.train.labels
    labels.copy_(torch.arange(len(labels)) % 3)  # choices on labels 0 1 2 0 1 2 0 1 2 0
    learns = recipe(epochs=1, optimizer={"_target_": "torch.optim.SGD", "lr": 1e-30})
    module = Router(NET, SHAPE, ["x", "y"], asdict(learns))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.net.head[-1].bias[1] = 1.0  # always y
    datamodule = ImageDataModule(whole, indices, Pixels((0.0,), (1.0,)), {0: 0, 1: 1, 2: 1}, learns, 0)
    (row,) = fit("router", module, datamodule, learns, TRAINER, None, tmp_path).curves
    # Four images of branch x, all wrong; six of y, all right.
    assert (row["val/recall/x"], row["val/recall/y"]) == (0.0, 1.0)
    assert row["val/accuracy"] == pytest.approx(0.6)


# ---- averaging


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_averaged_weights_are_the_exponential_moving_average(decay: float, tmp_path: Path) -> None:
    fitted, module = train(recipe(averaging=decay), tmp_path)
    assert len(module.seen) == 8
    average = module.seen[0]
    for weights in module.seen[1:]:
        average = {name: decay * average[name] + (1 - decay) * weights[name] for name in average}
    torch.testing.assert_close(vector(fitted.weights), vector(average), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(vector(fitted.weights), vector(module.seen[-1]), atol=1e-4)


def test_the_best_epoch_is_judged_and_kept_with_averaged_weights(tmp_path: Path) -> None:
    fitted, module = train(recipe(averaging=0.5, select="best", epochs=4), tmp_path)
    average, at_end = module.seen[0], []
    for step, weights in enumerate(module.seen):
        average = {name: 0.5 * average[name] + 0.5 * weights[name] for name in average}
        if step % 4 == 3:
            at_end.append(average)
    whole, indices = data()
    nll = []
    for weights in at_end:
        net = Expert(NET, SHAPE, 2, asdict(recipe())).eval()
        net.load_state_dict(weights)
        logits = net(Pixels((0.5,), (0.25,))(whole.train.images[indices.val]))
        nll.append(nn.functional.cross_entropy(logits, whole.train.labels[indices.val]).item())
    assert [row["val/nll"] for row in fitted.curves] == pytest.approx(nll, rel=1e-4)
    assert fitted.epoch == nll.index(min(nll))
    torch.testing.assert_close(vector(fitted.weights), vector(at_end[fitted.epoch]), rtol=1e-5, atol=1e-6)


def test_averaging_does_not_change_the_way_weights_learn(tmp_path: Path) -> None:
    _, averaged = train(recipe(averaging=0.9), tmp_path)
    _, plain = train(recipe(), tmp_path)
    for one, other in zip(averaged.seen, plain.seen, strict=True):
        assert torch.equal(vector(one), vector(other))


# ---- whole trainings


def test_the_same_seed_trains_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    # Dropout, augmentation, the order of batches and averaging are all in it.
    learns = recipe(augment=Augment(flip=True, shift=1, cutout=2), averaging=0.9, schedule="cosine", epochs=1)
    one, _ = train(learns, tmp_path, seed=5)
    torch.rand(7)  # whatever was drawn before
    two, _ = train(learns, tmp_path, seed=5)
    other, _ = train(learns, tmp_path, seed=6)
    assert one.weights.keys() == two.weights.keys()
    assert torch.equal(vector(one.weights), vector(two.weights))
    assert not torch.equal(vector(one.weights), vector(other.weights))
    drop = {"seconds"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in one.curves] == [
        {k: v for k, v in row.items() if k not in drop} for row in two.curves
    ]


def test_the_last_epochs_weights_are_those_after_the_last_step(tmp_path: Path) -> None:
    fitted, module = train(recipe(), tmp_path)
    assert (fitted.epoch, len(fitted.curves), len(module.seen)) == (1, 2, 8)
    assert torch.equal(vector(fitted.weights), vector(module.seen[-1]))


def test_kept_weights_are_the_networks_alone_and_on_the_cpu(tmp_path: Path) -> None:
    fitted, module = train(recipe(select="best"), tmp_path)
    assert set(fitted.weights) == {f"net.{name}" for name in module.net.state_dict()}
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in fitted.weights.values())
    assert not any(tensor.requires_grad for tensor in fitted.weights.values())


def test_a_rate_that_blows_up_stops_the_training(tmp_path: Path) -> None:
    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 1e30})
    with pytest.raises(NonFiniteError, match=r"^base: the loss or a gradient was NaN or infinite at step 1;"):
        train(learns, tmp_path)


def test_a_rate_that_blows_up_in_the_only_step_leaves_nothing(tmp_path: Path) -> None:
    # One batch an epoch: the first step is finite, and only the choice that follows sees what it did.
    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 1e38}, batch_size=30, epochs=1, select="best")
    with pytest.raises(NonFiniteError, match=r"^base: "):
        train(learns, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("acelerator", "cpu"), ("enable_model_summary", True), ("accelerator", "gpuu"), ("devices", 0)]
)
def test_what_lightnings_trainer_does_not_take_is_a_config_error(key: str, value: Any) -> None:
    # A misspelt key, one that is given by the command as well, and values that are none.
    with pytest.raises(ConfigError, match=rf"^trainer: .*{key}"):
        make_trainer({**TRAINER, key: value})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_that_is_named_is_taken(precision: str) -> None:
    assert precision_for({"precision": precision, "accelerator": "auto"}) == precision


@pytest.mark.parametrize(
    ("accelerator", "cuda", "gpu_bf16", "amx", "expected"),
    [
        ("cpu", False, False, False, "32-true"),
        ("cpu", False, False, True, "bf16-mixed"),
        ("cpu", True, True, False, "32-true"),  # a GPU that is not asked for says nothing
        ("auto", True, True, False, "bf16-mixed"),
        ("gpu", True, False, True, "32-true"),
        ("auto", False, True, True, "bf16-mixed"),
    ],
)
def test_auto_is_bf16_where_the_hardware_gains_by_it(
    accelerator: str, cuda: bool, gpu_bf16: bool, amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: gpu_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert precision_for({"precision": "auto", "accelerator": accelerator}) == expected


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


def test_early_parameters_learn_in_the_first_epochs_alone(tmp_path: Path) -> None:
    learns = recipe(early_epochs=1, epochs=2)
    seed_everything(0, verbose=False)
    net = {"_target_": "moe.nets.fast_vgg.FastVGG", "widths": [2], "whitening": True}
    module = Watched(net, SHAPE, 2, asdict(learns))
    before = module.net.whitening.bias.detach().clone()
    whole, indices = data()
    datamodule = ImageDataModule(whole, indices, Pixels((0.5,), (0.25,)), {0: 0, 1: 1}, learns, 0)
    datamodule.prepare_network(module.net)
    filters = module.net.whitening.weight.clone()
    fit("base", module, datamodule, learns, TRAINER, None, tmp_path)
    # Thirty images in batches of 8: 4 steps an epoch.
    biases = [seen["net.whitening.bias"] for seen in module.seen]
    assert len(biases) == 8
    assert not torch.equal(before, biases[0]) and not torch.equal(biases[2], biases[3])
    assert all(torch.equal(biases[3], later) for later in biases[4:])
    assert torch.equal(module.seen[-1]["net.whitening.weight"], filters)
    assert torch.equal(filters, whitening_filters(Pixels((0.5,), (0.25,))(whole.train.images[10:])))
