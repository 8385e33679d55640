"""One rank of two, of which some have a loss that is NaN at step 2: `python spoilt.py RANK PORT FOLDER SPOILT...`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from quick import TRAINER, short_recipe
from torch import Tensor

from moe.data.batches import Pixels
from moe.data.canonical import assemble
from moe.data.module import ImageDataModule
from moe.data.splits import SplitIndices
from moe.errors import NonFiniteError
from moe.modules.expert import Expert
from moe.modules.fit import fit
from moe.modules.place import Place

NET = {"_target_": "moe.nets.vgg.VGG", "blocks": [[2]], "hidden": 4, "conv_dropout": 0.0, "dropout": 0.0}


class Spoilt(Expert):
    """The NaN is added, so that every gradient stays finite: nothing but the loss tells of it."""

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = super().training_step(batch, batch_index)
        bad = str(self.trainer.global_rank) in sys.argv[4:] and self.global_step == 2
        return loss + (float("nan") if bad else 0.0)


def main(rank: int, port: int, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (24, 1, 4, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(24) % 2
    data = assemble("tiny", "ab", (images[:20], labels[:20], images[20:], labels[20:]))
    indices = SplitIndices(torch.arange(16), torch.arange(16, 18), torch.arange(18, 20))
    recipe = short_recipe(optimizer={"_target_": "torch.optim.Adam", "lr": 0.01})
    torch.manual_seed(0)
    module = Spoilt(NET, [1, 4, 4], 2, {"optimizer": recipe.optimizer, **vars(recipe)})
    said = ""
    try:
        # Four steps an epoch; the guard looks at its end, so the fourth step is still taken.
        trainer = {**TRAINER, "devices": 2, "log_every_n_steps": 50}
        place = Place(rank, 2, port)
        fit("x", module, ImageDataModule(data, indices, Pixels((0.5,), (0.5,)), {0: 0, 1: 1}, recipe, 3), recipe,
            trainer, None, folder, place)  # fmt: skip
    except NonFiniteError as error:
        said = str(error)
    weights = torch.nn.utils.parameters_to_vector(module.parameters()).tolist()
    print(json.dumps({"said": said, "weights": weights}), flush=True)
    os._exit(0)  # as `moe.rank` ends: where one of two ends first, gloo may abort the other that still ends


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
