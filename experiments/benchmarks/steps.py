"""What the parts of a network's training step cost as they are, beside how they are commonly written.

    python experiments/benchmarks/steps.py [--short]

For batches of random images of CIFAR-10's shape and `fast_vgg` of size s by its recipe, on the device that `moe.train`
would take, writes steps.json beside this file, of a GPU steps_gpu.json: milliseconds a batch of each part, both ways in
turns.

- network: forward and backward passes in channels-last memory; beside it in PyTorch's own order
- images: a batch picked from one resident uint8 tensor and normalised; beside a DataLoader of single images
- augmentation: a batch at once, each image by its own draw; beside torchvision's transforms, image by image
- guard: whether loss and gradients are finite, in one pass that nothing waits for, and the weights kept until that is
  known; beside a question for each gradient whose answer is waited for
- optimiser: Muon for kernels, on a CPU in fp32, and SGD for the rest; beside the same in bf16, or on a GPU, where that
  is how it is, in fp32
- average: of the weights, kept on the device by one call for all; beside a loop over them

`--short` is for seeing that it works.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2
from turns import CLASSES, DEVICE, SHAPE, file_of, over, random_images, seconds

import moe
from moe import memory
from moe.data.augment import augment
from moe.data.batches import Batches, Examples, Pixels
from moe.modules.callbacks import FiniteGuard
from moe.modules.expert import Expert
from moe.modules.fit import precision_for
from moe.modules.recipe import optimizer_of
from moe.provenance import git_revision
from moe.schema import Config
from moe.sizes import resolved
from moe.training import machine

Step = Callable[[], object]
# A GPU that waits for a part takes longer to begin it than it takes within a step.
TIMES = 20 if DEVICE.type == "cuda" else 1


def network(config: Config, images: Tensor, labels: Tensor, format: torch.memory_format) -> Step:
    module = Expert(config.base.net, list(SHAPE), CLASSES, asdict(config.base.recipe)).to(DEVICE).train()
    module.net.to(memory_format=format)
    images, bf16 = images.contiguous(memory_format=format), precision_for(config.trainer) == "bf16-mixed"

    def step() -> None:
        module.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
            loss = module.loss(module.net(images).float(), labels)
        loss.backward()

    return step


def picked(examples: Examples, pixels: Pixels, size: int) -> Step:
    """The next batch as training takes it, without augmentation."""
    made = Batches(examples, pixels, size, seed=0)

    def endless() -> Iterator[tuple[Tensor, ...]]:
        while True:
            yield from made

    batches = endless()
    return lambda: next(batches)


def loaded(examples: Examples, pixels: Pixels, size: int) -> Step:
    """The next batch of a DataLoader in this process, its images put together one by one."""
    loader = DataLoader(TensorDataset(examples.images.cpu(), examples.targets.cpu()), size, shuffle=True)

    def endless() -> Iterator[Tensor]:
        while True:
            yield from (pixels(images.to(DEVICE)) for images, _ in loader)

    batches = endless()
    return lambda: next(batches)


def one_by_one(images: Tensor, shift: int) -> Step:
    own = v2.Compose([v2.RandomCrop(SHAPE[1:], padding=shift, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    return lambda: torch.stack([own(image) for image in images]).to(DEVICE)


def averages(module: Expert) -> dict[str, Step]:
    weights = [parameter.detach() for parameter in module.to(DEVICE).parameters()]
    mean, move = [weight.clone() for weight in weights], get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]

    def plain() -> None:
        for averaged, weight in zip(mean, weights, strict=True):
            averaged.mul_(0.9).add_(weight, alpha=0.1)

    return {"as it is": lambda: move(mean, weights, 1), "plain": plain}


def learning(config: Config) -> Expert:
    """A module all of whose learned parameters have a gradient."""
    module = Expert(config.base.net, list(SHAPE), CLASSES, asdict(config.base.recipe)).to(DEVICE).train()
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
    return module


def guards(config: Config) -> dict[str, Step]:
    module = learning(config)
    optimizer, guard = optimizer_of(module, module.recipe), FiniteGuard("base")
    loss = torch.zeros((), device=DEVICE)
    trainer: Any = SimpleNamespace(world_size=1, global_step=1, is_last_batch=False)
    guard.every = 2  # never a point at which it looks

    def own() -> None:
        guard.on_before_backward(trainer, module, loss)
        guard.on_before_optimizer_step(trainer, module, optimizer)
        guard.on_train_batch_end(trainer, module, None, None, 0)

    def plain() -> None:
        for tensor in (loss, *(p.grad for p in module.parameters() if p.grad is not None)):
            if not torch.isfinite(tensor).all():
                raise ValueError("not finite")

    return {"as it is": own, "plain": plain}


def optimisers(config: Config) -> dict[str, Step]:
    recipe = asdict(config.base.recipe)
    plain = {**recipe, "muon": {**recipe["muon"], "bf16": not recipe["muon"]["bf16"]}}
    return {name: optimizer_of(learning(config), how).step for name, how in (("as it is", recipe), ("plain", plain))}


def parts(config: Config, size: int) -> dict[str, dict[str, Step]]:
    """Each part of a step on batches of `size`, as it is and as it is commonly written."""
    # As many as CIFAR-10 has to learn from: of fewer, all would be normalised once.
    found, pixels = random_images(45 * size), Pixels(tuple(config.data.mean), tuple(config.data.std))
    examples = Examples(found.images.contiguous(memory_format=torch.channels_last), found.labels).to(DEVICE)
    images, labels = pixels(examples.images[:size]), examples.targets[:size]
    how, drawn = config.base.recipe.augment, Generator(DEVICE).manual_seed(0)
    mirrored = torch.arange(size, device=DEVICE) % 2 == 0
    formats = {"as it is": torch.channels_last, "plain": torch.contiguous_format}
    module = Expert(config.base.net, list(SHAPE), CLASSES, asdict(config.base.recipe))
    return {
        "network": {name: network(config, images, labels, format) for name, format in formats.items()},
        "images": {"as it is": picked(examples, pixels, size), "plain": loaded(examples, pixels, size)},
        "augmentation": {
            "as it is": lambda: augment(images, how, drawn, mirrored),
            "plain": one_by_one(images.cpu(), how.shift),
        },
        "guard": guards(config),
        "optimiser": optimisers(config),
        "average": averages(module),
    }


def main() -> None:
    memory.keep_freed()  # as every command does
    size, turns = (20, 2) if "--short" in sys.argv else (1000, 5)
    config, load = resolved(moe.compose("base.net.size=s"), say=False), os.getloadavg()[0]
    measured: dict[str, Any] = {}
    for name, sides in parts(config, size).items():
        spent: dict[str, list[float]] = {side: [] for side in sides}
        for turn in range(turns + 1):
            for side, step in sides.items():
                took = 1000 * seconds(step, TIMES)
                spent[side] += [took] if turn else []  # the first turn warms up
        middle = {side: statistics.median(times) for side, times in spent.items()}
        measured[name] = {"milliseconds": middle, "plain over as it is": over(spent["plain"], spent["as it is"])}
    found = {
        "machine": machine(DEVICE),
        "git": git_revision(),
        "load": load,
        "short": "--short" in sys.argv,
        "precision": precision_for(config.trainer),
        "batch": size,
        "turns": turns,
        "parts": measured,
    }
    file_of(__file__).write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
