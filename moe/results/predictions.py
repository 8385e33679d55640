"""What a run says of the test images, `predictions.safetensors`, there whole or not at all.

Of a mixture its `leaves` are the probability of every leaf, under hard routing, too.
"""

from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from moe.errors import StoreError
from moe.inference import Averaged, Predictions
from moe.store.files import write_whole

PREDICTIONS = "predictions.safetensors"


def write_predictions(folder: Path, predictions: Predictions | Averaged, labels: Tensor) -> None:
    """Write `predictions.safetensors` into `folder`, whole or not at all, with the images' labels (N,)."""
    tensors = {field.name: getattr(predictions, field.name).contiguous() for field in fields(predictions)}
    write_whole(folder / PREDICTIONS, save({**tensors, "labels": labels.contiguous()}))


def read_predictions(folder: Path) -> tuple[Predictions | Averaged, Tensor]:
    """What `write_predictions` wrote. Raises StoreError where there is none or it cannot be read."""
    file = folder / PREDICTIONS
    try:
        tensors = load(file.read_bytes())
        kind = Averaged if "asked" in tensors else Predictions
        return kind(**{field.name: tensors[field.name] for field in fields(kind)}), tensors["labels"]
    except OSError:
        raise StoreError(f"{folder} holds no {PREDICTIONS}") from None
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise StoreError(f"{file} is damaged: it does not hold the predictions of a run") from None
