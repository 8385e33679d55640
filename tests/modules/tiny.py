"""A tiny network and two classes of random images to train it on."""

from functools import partial

import torch
from quick import short_recipe

from moe.data.canonical import DataSet, assemble
from moe.data.splits import SplitIndices

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
