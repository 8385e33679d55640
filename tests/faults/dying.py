"""`python dying.py CLASS EPOCH BATCH OVERRIDES...`: moe.train that sends itself a signal in the middle of an epoch.

It does so where a LightningModule of that class begins that batch (from 0) of that epoch (from 0). The signal's name
is in MOE_TEST_SIGNAL.
"""

import os
import signal
import sys
from typing import Any

from moe import train
from moe.modules.recipe import RecipeModule

begins = RecipeModule.on_train_batch_start


def dies(module: RecipeModule, batch: Any, batch_index: int) -> None:
    if [type(module).__name__, str(module.current_epoch), str(batch_index)] == place:
        os.kill(os.getpid(), getattr(signal, os.environ["MOE_TEST_SIGNAL"]))
    begins(module, batch, batch_index)


if __name__ == "__main__":
    place, sys.argv[1:] = sys.argv[1:4], sys.argv[4:]
    RecipeModule.on_train_batch_start = dies  # type: ignore[method-assign]
    train.main()
