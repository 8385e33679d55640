"""A temperature for each expert, so that its probabilities are as sure as it is right.

Legend: N images, K outputs, E experts.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from moe import frozen
from moe.data.batches import Pixels
from moe.data.canonical import Images
from moe.data.subset import among, filter_labels
from moe.schema import Config
from moe.store import Entry, Store
from moe.taxonomy import Tree

COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature at which logits (N, K) divided by it give targets (N,) the least negative log-likelihood.

    Between 0.05 and 20; 1 for no images. Source: Guo et al. 2017, On Calibration of Modern Neural Networks, 4.2.
    """
    from scipy.optimize import minimize_scalar  # late: its import is slow

    if not len(targets):
        return 1.0
    exact = logits.double()

    def nll(logarithm: float) -> float:
        return torch.nn.functional.cross_entropy(exact / math.exp(logarithm), targets).item()

    bounds = (math.log(COLDEST), math.log(HOTTEST))
    return math.exp(minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)


def temperatures(
    config: Config,
    store: Store,
    tree: Tree,
    entries: Mapping[str, Entry],
    split: str,
    held: Images,
    pixels: Pixels,
    device: torch.device,
) -> Tensor:
    """Each expert's temperature (E,), from the images `held` of its own classes, a split; 1 where it is constant."""
    found = []
    for node in tree.experts:
        network = entries.get(node.name)
        if network is None:
            found.append(1.0)
            continue
        index, targets = filter_labels(held.labels, among(network.record["inputs"]["outputs"], node.labels))
        said = frozen.said_of(config, store, entries, node.name, split, held, pixels, device)
        found.append(fit_temperature(said[index], targets))
    return torch.tensor(found)
