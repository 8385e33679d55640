"""What a recipe decides of a LightningModule: its optimiser and the learning rate's schedule."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from moe.errors import ConfigError
from moe.modules.muon import Muon, MuonBeside

# These take found_inf, and so skip on the device an update that is not finite.
FUSED = ("Adam", "AdamW", "SGD")
CONVOLUTION = nn.modules.conv._ConvNd
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class RecipeModule(LightningModule):
    """A LightningModule that learns by a recipe: a `moe.schema.Recipe` as plain nested values.

    Its training loss is a mean over the batch's images. Of several processes each has its part of a batch; `share` is
    what that part counts (see `moe.data.batches.Batches.share`), so that the mean of their gradients is the batch's.

    Optimiser, schedule and loss are the recipe's under any Trainer. What else a recipe says (`epochs`, `clip`,
    `averaging`, `lookahead`, `early_epochs`, `select`, `patience`, `compile`) is of `moe.modules.fit`: another Trainer
    wants Lightning's own for it.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.share = 1.0

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            # Lightning writes down before and after each hook which it is in; PyTorch would look each time whether that
            # is a parameter, a buffer or a network.
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def on_train_start(self) -> None:
        # Lightning leaves every module in the mode that it finds it in. What is frozen has one of its own: see `train`.
        self.train()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.trainer.world_size > 1:
            share = getattr(self.trainer.train_dataloader, "share", None)  # a loader of the user's own has none
            self.share = 1.0 if share is None else share(batch_idx)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        super().backward(loss if self.share == 1 else loss * self.share, *args, **kwargs)

    @property
    def lr(self) -> float:
        """The learning rate of all but what learns by Muon; Lightning's Tuner sets it before training."""
        return float(self.recipe["optimizer"]["lr"])

    @lr.setter
    def lr(self, rate: float) -> None:
        self.recipe = {**self.recipe, "optimizer": {**self.recipe["optimizer"], "lr": rate}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """As a Trainer of the user's own asks: else `FiniteGuard` clips by the recipe, or `GatesTogether` each gate."""
        if gradient_clip_val is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self, self.recipe)
        if self.recipe["schedule"] == "constant" and not self.recipe["warmup"]:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _factor(self, step: int, steps: int) -> float:
        return learning_rate_factor(self.recipe["schedule"], self.recipe["warmup"], step, steps)


def optimizer_of(module: nn.Module, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimiser of all that a module learns; with `muon` that of its kernels, beside `optimizer` for the rest."""
    if recipe.get("muon") is None:
        return build_optimizer(recipe["optimizer"], parameter_groups(module, recipe))
    own = kernels(module)
    other = build_optimizer(recipe["optimizer"], parameter_groups(module, recipe, {id(kernel) for kernel, _ in own}))
    return MuonBeside(Muon(own, **recipe["muon"]), other)


def kernels(module: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """The kernels (O, I, h, w) of convolutions that a module learns, but the first's, and how many a parameter stacks.

    That is one, or what its layer says (`stacked`). The first sees the image, and may have no normalisation behind it.
    Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks, which leaves the first layer
    and the last to another optimiser.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, CONVOLUTION) or hasattr(layer, "stacked")]
    weights: list[tuple[Any, int]] = [(layer.weight, getattr(layer, "stacked", 1)) for layer in layers]
    found = [(weight, stacked) for weight, stacked in weights if weight.ndim == 4]
    return [(kernel, stacked) for kernel, stacked in found[1:] if kernel.requires_grad]


def has_norms(module: nn.Module) -> bool:
    """Whether a network normalises anywhere what its layers say."""
    return any(isinstance(layer, NORMS) for layer in module.modules())


def parameter_groups(module: nn.Module, recipe: Mapping[str, Any], but: Collection[int] = ()) -> list[Any]:
    """What a module learns, in groups where normalisations' biases learn at a rate of their own (`bias_lr`).

    Parameters whose ids are in `but` are left out.
    `decay` is what a step at the full rate takes of a weight, whatever that rate: the weight decay that the
    optimiser multiplies by it is `decay` over it. Source: Jordan 2024, arXiv 2404.00498, section 3.4.
    """
    factor, decay = recipe["bias_lr"], recipe.get("decay")
    fast = {id(m.bias) for m in module.modules() if isinstance(m, NORMS) and m.bias is not None and factor != 1}
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad and id(parameter) not in but]
    if decay is None and factor == 1:
        return learned
    parts = [(1.0, [p for p in learned if id(p) not in fast]), (factor, [p for p in learned if id(p) in fast])]
    groups: list[dict[str, Any]] = []
    for multiple, params in parts:
        rate = recipe["optimizer"]["lr"] * multiple
        own = {} if decay is None else {"weight_decay": decay / rate}
        groups += [{"params": params, "lr": rate, **own}] if params else []
    return groups


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """What kernels that learn by Muon learn at (`lr/muon`), and all else does, but for `bias_lr` (`lr/optimizer`)."""
    if isinstance(optimizer, MuonBeside):
        return {"lr/muon": optimizer.muon.param_groups[0]["lr"], **learning_rates(optimizer.other)}
    return {"lr/optimizer": optimizer.param_groups[0]["lr"]}


def build_optimizer(
    config: Mapping[str, Any], learned: Iterable[Any], key: str = "recipe.optimizer"
) -> torch.optim.Optimizer:
    """The optimiser of a recipe, fused where it can be. Raises ConfigError, naming `key`, for wrong arguments."""
    arguments = dict(config)
    target = arguments.pop("_target_")
    name = target.rpartition(".")[2]
    # Fused SGD starts its momentum from whatever memory holds where its first step is skipped.
    if name in FUSED and not any(arguments.get(other) for other in ("momentum", "foreach", "differentiable")):
        arguments.setdefault("fused", True)
    try:
        optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(learned, **arguments)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {target} cannot be built: {error}") from None
    return optimizer


def learning_rate_factor(schedule: str, warmup: float, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at `step` of `steps`: up to 1 in the warm-up, then the schedule."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    done = min(1.0, (step - rising) / max(1.0, steps - rising))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0 - done if schedule == "linear" else 1.0
