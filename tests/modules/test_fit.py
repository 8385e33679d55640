"""Whole trainings by a recipe: schedule, averaging, selection, seeds."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pytorch_lightning import seed_everything
from quick import TRAINER
from torch import Tensor, nn

from moe.data.batches import Pixels
from moe.data.module import ImageDataModule
from moe.errors import ConfigError, NonFiniteError
from moe.modules.callbacks import KeepBest
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit, run
from moe.modules.recipe import RecipeModule
from moe.modules.router import Router
from moe.nets.fast_vgg import whitening_filters
from moe.schema import Augment, Recipe
from tests.modules.tiny import NET, SHAPE, data, recipe


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


def test_where_the_last_epochs_weights_are_kept_no_others_are_held() -> None:
    net = nn.Linear(2, 1)
    looks, keeps = KeepBest("base", keep=False), KeepBest("base")
    for best in (looks, keeps):
        best.on_validation_epoch_end(None, net)  # type: ignore[arg-type]
        trainer = SimpleNamespace(callback_metrics={"val/nll": 0.5}, current_epoch=3)
        best.on_validation_end(trainer, net)  # type: ignore[arg-type]
    assert (looks.epoch, looks.weights) == (3, {}) and keeps.weights.keys() == {"weight", "bias"}


def test_what_a_device_cannot_do_the_same_twice_is_one_sentence() -> None:
    def fails(*given: Any, **named: Any) -> None:
        assert not torch.backends.cudnn.allow_tf32  # 32-bit convolutions are such
        raise RuntimeError(said)

    said = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set 'torch.use_"
    lightning: Any = SimpleNamespace(fit=fails)
    module, images = cast(Any, None), cast(Any, None)
    before = torch.backends.cudnn.allow_tf32
    with pytest.raises(ConfigError, match=r"^trainer\.deterministic=true: adaptive_avg_pool2d_backward_cuda, which "):
        run(lightning, module, images, None)
    said = "Deterministic behavior was enabled, but this operation uses CuBLAS; set CUBLAS_WORKSPACE_CONFIG=:4096:8"
    with pytest.raises(ConfigError, match=r"^trainer\.deterministic=true: export CUBLAS_WORKSPACE_CONFIG=:4096:8 "):
        run(lightning, module, images, None)
    said = "another"
    with pytest.raises(RuntimeError, match=r"^another$"):
        run(lightning, module, images, None)
    assert torch.backends.cudnn.allow_tf32 == before


def test_kept_weights_are_the_networks_alone_and_on_the_cpu(tmp_path: Path) -> None:
    fitted, module = train(recipe(select="best"), tmp_path)
    assert set(fitted.weights) == {f"net.{name}" for name in module.net.state_dict()}
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in fitted.weights.values())
    assert not any(tensor.requires_grad for tensor in fitted.weights.values())


@pytest.mark.parametrize("early", [1, 2])
def test_early_parameters_learn_in_the_first_epochs_alone(early: int, tmp_path: Path) -> None:
    learns = recipe(early_epochs=early, epochs=early + 1)
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
    last = 4 * early - 1
    assert len(biases) == 4 * early + 4
    assert not torch.equal(before, biases[0]) and not torch.equal(biases[last - 1], biases[last])
    assert all(torch.equal(biases[last], later) for later in biases[last + 1 :])
    assert torch.equal(module.seen[-1]["net.whitening.weight"], filters)
    assert torch.equal(filters, whitening_filters(Pixels((0.5,), (0.25,))(whole.train.images[10:])))


def test_a_rate_that_blows_up_stops_the_training(tmp_path: Path) -> None:
    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 1e30})
    with pytest.raises(NonFiniteError, match=r"^base: the loss or a gradient was NaN or infinite at step 1;"):
        train(learns, tmp_path)


def test_a_rate_that_blows_up_in_the_only_step_leaves_nothing(tmp_path: Path) -> None:
    # One batch an epoch: the first step is finite, and only the choice that follows sees what it did.
    learns = recipe(optimizer={"_target_": "torch.optim.SGD", "lr": 1e38}, batch_size=30, epochs=1, select="best")
    with pytest.raises(NonFiniteError, match=r"^base: "):
        train(learns, tmp_path)
