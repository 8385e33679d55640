"""What a run says of the test images, `predictions.safetensors`, there whole or not at all.

Of a mixture its `leaves` are the probability of every leaf, under hard routing, too.
"""

from dataclasses import fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from moe.errors import StoreError
from moe.inference import Averaged, Predictions
from moe.schema import Mixture
from moe.store.files import write_whole
from moe.taxonomy import Tree

PREDICTIONS = "predictions.safetensors"
# Another device, or another number of threads, sums in another order: by less than this probabilities may differ.
ROUNDING = 1e-4


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


def rounding_decides(
    recorded: Predictions | Averaged, now: Predictions | Averaged, tree: Tree, mixture: Mixture
) -> Tensor:
    """Whether (N,) an image's class now may be another than recorded by rounding alone.

    That is where both classes were as probable, where both ways were at the node at which they part, or where the base
    was as sure as the mixture's cascade asks. Of a cascade of bases it is not recorded how sure each was.
    """
    before, after = recorded.probabilities.argmax(dim=1), now.probabilities.argmax(dim=1)
    rows = torch.arange(len(before))
    near = recorded.probabilities[rows, before] - recorded.probabilities[rows, after] < ROUNDING
    if mixture.routing != "hard" or not (isinstance(recorded, Predictions) and isinstance(now, Predictions)):
        return near
    sure, elsewhere = recorded.experts[:, 0].amax(dim=1), (before != after) & (recorded.route != now.route)
    if mixture.cascade is not None:
        near |= (sure - mixture.cascade).abs() < ROUNDING
        elsewhere &= sure < mixture.cascade  # of others the base alone spoke, wherever it would have sent them
    for image in elsewhere.nonzero().flatten().tolist():
        one, other = (tree.ways[int(said.route[image])] for said in (recorded, now))
        node, *children = next((a[0], a[1], b[1]) for a, b in zip(one, other, strict=False) if a != b)
        leaves = [[leaf for leaf, way in enumerate(tree.ways) if (node, child) in way] for child in children]
        first, second = (recorded.leaves[image, below].sum() for below in leaves)
        near[image] |= (first - second).abs() < ROUNDING * (first + second)
    return near
