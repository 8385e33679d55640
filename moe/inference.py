"""Networks and mixtures run over many images, always in fp32 and evaluation mode.

Legend: N images, K classes, E experts, L leaves.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from moe.data.batches import EVALUATED, Pixels, at_once
from moe.errors import ConfigError
from moe.nets.members import Members
from moe.nets.mixture import Frozen, Mixed, Mixture


@contextmanager
def full_precision() -> Iterator[None]:
    """fp32 convolutions in fp32: of itself cuDNN rounds what they take to TensorFloat-32, of 10 bits and not 23."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def exact() -> Iterator[None]:
    """Without gradients and in fp32."""
    with full_precision(), torch.inference_mode():
        yield


def batches(images: Tensor) -> tuple[Tensor, ...]:
    """Images (N, C, H, W) in parts that go through a network together."""
    return torch.split(images, at_once(EVALUATED, images.shape[-2:]))


@dataclass(frozen=True)
class Predictions:
    """What a mixture says of N images, on the CPU."""

    probabilities: Tensor  # (N, K)
    route: Tensor  # (N,) the leaf that hard routing finds; -1 without routing
    weights: Tensor  # (N, K, E) the gates' weights, zero for experts that had no say
    leaves: Tensor  # (N, L) probability of each leaf; under hard routing of the one that was reached
    experts: Tensor  # (N, E, K) the experts' probabilities, zero for experts that were not run


@dataclass(frozen=True)
class Averaged:
    """What bases without a mixture say of N images, on the CPU: nothing routes, and no gate weighs."""

    probabilities: Tensor  # (N, K)
    asked: Tensor  # (N,) how many of them spoke; of a cascade the first so many
    route: ClassVar[None] = None
    weights: ClassVar[None] = None


def predict(mixture: Mixture, images: Tensor, pixels: Pixels, device: torch.device | str = "cpu") -> Predictions:
    """Images uint8 (N, C, H, W) through the mixture: under hard routing only the named branch's networks run."""
    mixture = mixture.to(device).eval()
    with exact():
        return _joined(mixture(pixels(batch.to(device))) for batch in batches(images))


def predict_stored(mixture: Mixture, images: Tensor, pixels: Pixels, frozen: Frozen) -> Predictions:
    """As `predict`, from what every frozen network has already said of the same images; only gates run.

    What is said of an image by networks off its way is left out, as they would not have run.
    """
    if mixture.routing == "hard":
        tree, rows = mixture.tree, torch.arange(len(images))
        on_way = torch.tensor([[float(e in path) for e in range(len(tree.experts))] for path in mixture.paths])
        reached = torch.zeros_like(frozen.leaves)
        reached[rows, frozen.route] = frozen.leaves[rows, frozen.route]
        run = on_way[frozen.route]
        run[mixture.alone(frozen.experts[:, 0]), 1:] = 0.0
        frozen = Frozen(frozen.experts * run[:, :, None], reached, frozen.route)
    return mix_stored(mixture, images, pixels, frozen)


def mix_stored(mixture: Mixture, images: Tensor, pixels: Pixels, frozen: Frozen) -> Predictions:
    """As `predict`, from what the frozen networks have already said of the same images; only gates run."""
    mixture.cpu().eval()
    with exact():
        rows = torch.split(torch.arange(len(images)), at_once(EVALUATED, images.shape[-2:]))
        return _joined(mixture.combine(pixels(images[index]), frozen[index]) for index in rows)


def average(members: Members, images: Tensor, pixels: Pixels, device: torch.device | str = "cpu") -> Averaged:
    """Images uint8 (N, C, H, W) through bases: of a cascade no more of them run than an image needs."""
    members = members.to(device).eval()
    with exact():
        parts = [members(pixels(batch.to(device))) for batch in batches(images)]
    probabilities, asked = (torch.cat([part.cpu() for part in said]) for said in zip(*parts, strict=True))
    return Averaged(probabilities, asked)


def average_dense(
    members: Members, images: Tensor, pixels: Pixels, device: torch.device | str = "cpu"
) -> tuple[Averaged, Tensor]:
    """As `average`, from what every base says, and that (N, M, K): of a cascade too all of them run."""
    members = members.to(device).eval()
    with exact():
        each = torch.cat([members.dense(pixels(batch.to(device))).cpu() for batch in batches(images)])
        return Averaged(*members.combine(each)), each


def logits(net: nn.Module, images: Tensor, pixels: Pixels, device: torch.device | str = "cpu") -> Tensor:
    """One network's logits (N, outputs) on the CPU for images uint8 (N, C, H, W)."""
    net = net.to(device).eval()
    with exact():
        parts = [net(pixels(batch.to(device))).float().cpu() for batch in batches(images)]
    return torch.cat(parts)


def best_device(accelerator: str, devices: Any = "auto") -> torch.device:
    """Where inference runs: the GPU where there is one and `trainer.accelerator` does not say otherwise.

    Of several it is the first, or the first that `trainer.devices` lists, as [1].
    """
    if accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(devices[0])) if isinstance(devices, list) and devices else torch.device("cuda")


def device_again(trainer: Mapping[str, Any]) -> torch.device:
    """Where what was trained by `trainer` is asked again: its GPU, or the first where this machine has not so many."""
    device = best_device(trainer["accelerator"], trainer["devices"])
    return torch.device("cuda") if (device.index or 0) >= max(torch.cuda.device_count(), 1) else device


def check_accelerator(accelerator: str) -> None:
    """Raise ConfigError where `trainer.accelerator` asks for a GPU and torch has none: Apple's is not one here."""
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator={accelerator}: this machine has no CUDA GPU that torch can use; give auto or cpu"
        )


def _joined(batches: Iterator[Mixed]) -> Predictions:
    parts = [
        Predictions(m.probabilities, m.frozen.route, m.weights, m.frozen.leaves, m.frozen.experts) for m in batches
    ]
    names = [field.name for field in fields(Predictions)]
    return Predictions(*(torch.cat([getattr(part, name).cpu() for part in parts]) for name in names))
