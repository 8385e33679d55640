"""A finished run, opened again."""

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from moe import assembly, inference, results
from moe.config import Config, Plain, from_plain
from moe.data.batches import Pixels
from moe.errors import StoreError
from moe.nets.mixture import Mixture
from moe.stages import plan
from moe.store import Entry, Store
from moe.taxonomy import Tree, parse


@dataclass(frozen=True)
class Ensemble:
    """A finished run's mixture, ready to predict.

    `tree` is its taxonomy, `mixture` the networks, `pixels` how images become their input, `results` what
    `results.json` holds.
    """

    config: Config
    tree: Tree
    mixture: Mixture
    pixels: Pixels
    results: Plain

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The images' (C, H, W)."""
        channels, height, width = self.results["data"]["shape"]
        return channels, height, width

    def predict(self, images: Tensor, device: str | None = None) -> inference.Predictions:
        """Images uint8 (N, C, H, W) through the mixture; see `moe.inference.Predictions`.

        Raises ValueError where the images are of another shape or type than those it learnt from.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != self.in_shape:
            shape = "x".join(map(str, self.in_shape))
            raise ValueError(f"images must be uint8 of shape (N, {shape}), not {images.dtype} {tuple(images.shape)}")
        return inference.predict(self.mixture, images, self.pixels, device or inference.best_device("auto"))


def load(run: str | Path) -> Ensemble:
    """The ensemble of a finished run's folder; its networks come from the run's store.

    Raises StoreError where the folder is no finished run of a mixture, or the store lacks a network.
    """
    found = results.read(Path(run))
    config = from_plain(found["config"])
    if config.target != "gates":
        raise StoreError(f"{run} trained {config.target} and has no mixture; give a run with target=gates")
    data = found["data"]
    tree = parse(config.taxonomy.branches, data["classes"])
    stages = plan(config, tree, data["fingerprint"], data["shape"], found["precision"])
    store = Store(_store_folder(Path(run), config))
    entries: dict[str, Entry] = {}
    for stage in stages:
        entry = store.get(stage.key)
        if entry is not None:
            entries[stage.name] = entry
    mixture = assembly.mixture(config, tree, stages, entries)
    pixels = Pixels(tuple(config.data.mean), tuple(config.data.std))
    return Ensemble(config, tree, mixture, pixels, found)


def _store_folder(run: Path, config: Config) -> Path:
    """The run's store: a relative path is seen from here or, where it is not there, from where the run started."""
    here = Path(config.paths.store)
    if here.is_dir():
        return here
    try:
        started_in = OmegaConf.load(run / "hydra" / "hydra.yaml").hydra.runtime.cwd
    except (OSError, OmegaConfBaseException):
        return here
    return Path(started_in) / here
