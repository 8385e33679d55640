"""A finished run, opened again."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from yaml import YAMLError

from moe import assembly, inference, results
from moe.config import from_plain
from moe.data.batches import Pixels
from moe.errors import StoreError
from moe.nets.mixture import Mixture
from moe.schema import Config, Plain
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
    found, config, tree = _read(run)
    if config.target != "gates":
        raise StoreError(f"{run} trained {config.target} and has no mixture; give a run with target=gates")
    mixture = assembly.mixture(config, tree, _entries(run, found, config))
    pixels = Pixels(tuple(config.data.mean), tuple(config.data.std))
    return Ensemble(config, tree, mixture, pixels, found)


def network(run: str | Path) -> tuple[nn.Module, Config]:
    """What classifies in a finished run, a `Mixture` or, of target=base, its `Members`, and the run's config.

    Raises StoreError where the folder is no finished run of either, or the store lacks a network.
    """
    found, config, tree = _read(run)
    if config.target not in ("gates", "base"):
        raise StoreError(f"{run} trained {config.target} and classifies nothing; give a run with target=gates or base")
    entries = _entries(run, found, config)
    if config.target == "base":
        temperatures = [found["stages"][name].get("temperature", 1.0) for name in entries]
        return assembly.members(config, entries, temperatures), config
    return assembly.mixture(config, tree, entries), config


def _read(run: str | Path) -> tuple[Plain, Config, Tree]:
    found = results.read(Path(run))
    try:
        config = from_plain(found["config"])
        return found, config, parse(config.taxonomy.branches, found["data"]["classes"])
    except (AttributeError, KeyError, TypeError) as error:
        raise StoreError(f"{run} holds results without {error}: it is no run that this version can open") from None


def _entries(run: str | Path, found: Plain, config: Config) -> dict[str, Entry]:
    """The run's networks by stage."""
    try:
        keys = {name: stage["key"] for name, stage in found["stages"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{run} holds results without {error}: it is no run that this version can open") from None
    # MOE_STORE says where a store has been moved to.
    store = Store(Path(os.environ.get("MOE_STORE") or seen(run, Path(config.paths.store))))
    found_there = {name: store.get(key) for name, key in keys.items()}
    gone = [keys[name] for name, entry in found_there.items() if entry is None]
    if gone:
        raise StoreError(f"the store {store.root} no longer holds {', '.join(gone)}; train the run again")
    return {name: entry for name, entry in found_there.items() if entry is not None}


def seen(run: str | Path, path: Path) -> Path:
    """A path of the run's config, seen from where the run started or, where it is not there any more, from here.

    Not from here first: another folder has a store of its own.
    """
    try:
        started_in = Path(OmegaConf.load(Path(run) / "hydra" / "hydra.yaml").hydra.runtime.cwd)
    except (OSError, OmegaConfBaseException, YAMLError, AttributeError, TypeError, ValueError, RecursionError):
        return path
    return started_in / path if (started_in / path).exists() else path
