"""A finished run, opened again: an `Ensemble` where it trained a mixture, `Bases` where it trained none."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from yaml import YAMLError

from moe import assembly, inference, metrics, results
from moe.config import from_plain
from moe.data.batches import Pixels
from moe.errors import StoreError
from moe.nets.gates import shares
from moe.nets.members import Members
from moe.nets.mixture import Frozen, Mixture
from moe.results.measure import measure, measure_classifier
from moe.schema import Config, Plain
from moe.store import Entry, Store
from moe.taxonomy import Tree, parse

Said = TypeVar("Said", inference.Predictions, inference.Averaged)


@dataclass(frozen=True, repr=False)
class Finished(ABC, Generic[Said]):
    """A finished run whose networks say classes, ready to predict.

    `tree` is its taxonomy, `pixels` how images become the networks' input, `results` what `results.json` holds.
    """

    config: Config
    tree: Tree
    pixels: Pixels
    results: Plain

    def __repr__(self) -> str:
        said = self.results["experiment"], self.results["seed"], 100 * self.results["test"]["accuracy"]
        return "<{}, seed {}: {:.2f} % right>".format(*said)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The images' (C, H, W)."""
        channels, height, width = self.results["data"]["shape"]
        return channels, height, width

    def predict(self, images: Tensor, device: str | None = None) -> Said:
        """What is said of images uint8 (N, C, H, W); see `moe.inference.Predictions` and `Averaged`.

        Raises ValueError where the images are of another shape or type than those it learnt from.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != self.in_shape:
            shape = "x".join(map(str, self.in_shape))
            raise ValueError(f"images must be uint8 of shape (N, {shape}), not {images.dtype} {tuple(images.shape)}")
        return self._said(images, torch.device(device) if device else inference.best_device("auto"))

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What classifies."""

    @abstractmethod
    def how(self, said: Said) -> Iterator[Plain]:
        """How each image came to its class, as plain values."""

    @abstractmethod
    def tested(self, images: Tensor, labels: Tensor, device: torch.device) -> tuple[Plain, Said]:
        """Sections as in `results.json` for images uint8 (N, C, H, W) of labels (N,), and what was said of them."""

    @abstractmethod
    def _said(self, images: Tensor, device: torch.device) -> Said: ...


@dataclass(frozen=True, repr=False)
class Ensemble(Finished[inference.Predictions]):
    """A finished run's mixture."""

    mixture: Mixture

    @property
    def network(self) -> Mixture:
        return self.mixture

    def how(self, said: inference.Predictions) -> Iterator[Plain]:
        """The way through the tree, and who spoke.

        `weights` are the parts in the mixture of the experts that had a say, `route` the leaf, None where
        there is no routing; under soft routing it is the most probable one.
        """
        tree, everyone = self.tree, range(len(self.tree.experts))
        for leaf, leaves, share, given in zip(
            said.route.tolist(),
            said.leaves.tolist(),
            shares(said.weights, said.experts).tolist(),
            said.weights.sum(dim=1).tolist(),
            strict=True,
        ):
            # Of a cascade it may be the base alone.
            asked = [e for e in tree.paths[leaf] if given[e] > 0] if self.mixture.routing == "hard" else everyone
            yield {
                "route": tree.leaves[leaf].name if leaf >= 0 else None,
                "route_probability": leaves[leaf] if leaf >= 0 else None,
                "weights": {tree.experts[e].name: share[e] for e in asked},
            }

    def tested(self, images: Tensor, labels: Tensor, device: torch.device) -> tuple[Plain, inference.Predictions]:
        frozen = self._frozen(images, device)
        said = self._said(images, device)
        return measure(self.tree, self.mixture, images, labels, self.pixels, said, frozen), said

    def _said(self, images: Tensor, device: torch.device) -> inference.Predictions:
        return inference.predict(self.mixture, images, self.pixels, device)

    def _frozen(self, images: Tensor, device: torch.device) -> Frozen:
        """What every frozen network says of every image (N, C, H, W), on the CPU."""
        mixture, routed = self.mixture.to(device).eval(), self.mixture.routing != "none"
        with inference.exact():
            parts = [
                mixture.dense(self.pixels(batch.to(device)), routed).to("cpu") for batch in inference.batches(images)
            ]
        return Frozen(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Frozen)))


@dataclass(frozen=True, repr=False)
class Bases(Finished[inference.Averaged]):
    """A finished run's base or bases: one network, several averaged, or a cascade of them."""

    members: Members

    @property
    def network(self) -> Members:
        return self.members

    def how(self, said: inference.Averaged) -> Iterator[Plain]:
        """Of a cascade, how many of its `members` were `asked`; of what always asks all there is nothing to say."""
        count, cascade = len(self.members.nets), self.members.cascade is not None
        for asked in said.asked.tolist():
            yield {"asked": asked, "members": count} if cascade else {}

    def tested(self, images: Tensor, labels: Tensor, device: torch.device) -> tuple[Plain, inference.Averaged]:
        said, each = inference.average_dense(self.members, images, self.pixels, device)
        stages = {
            name: {**stage, "test": {"accuracy": metrics.accuracy(each[:, place], labels), "count": len(labels)}}
            for place, (name, stage) in enumerate(self.results["stages"].items())
        }
        test = measure_classifier(self.tree, said.probabilities, labels)
        return {"test": test, "baselines": None, "verdict": None, "stages": stages}, said

    def _said(self, images: Tensor, device: torch.device) -> inference.Averaged:
        return inference.average(self.members, images, self.pixels, device)


def folder(run: str | Path) -> Path:
    """A run's folder, also where its results file is given."""
    return Path(run).parent if Path(run).name == results.RESULTS else Path(run)


def load(run: str | Path) -> Finished:
    """What a finished run of a mixture or a base trained, from its folder; the networks come from the run's store.

    Raises StoreError where the folder is no finished run of either, or the store lacks a network.
    """
    run = folder(run)
    found = results.read(run)
    with _of_this_version(run):
        config = from_plain(found["config"])
        tree = parse(config.taxonomy.branches, found["data"]["classes"])
    if config.target not in ("gates", "base"):
        raise StoreError(f"{run} trained {config.target} alone; give a run with target=gates or target=base")
    needed = assembly.needed(config, tree)
    with _of_this_version(run):
        results.check_tested(found, needed)
    # What specialists began as and what spoke of folds is not asked again. All stages of a run of bases are bases.
    entries = _entries(run, found["stages"], needed if config.target == "gates" else found["stages"], config)
    opened = (config, tree, Pixels(tuple(config.data.mean), tuple(config.data.std)), found)
    if config.target == "gates":
        return Ensemble(*opened, assembly.mixture(config, tree, entries))
    temperatures = [found["stages"][name].get("temperature", 1.0) for name in entries]
    return Bases(*opened, assembly.members(config, entries, temperatures))


@contextmanager
def _of_this_version(run: str | Path) -> Iterator[None]:
    """Turn what is missing in a run's results into a StoreError of one sentence."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        raise StoreError(f"{run} holds results without {error}: it is no run that this version can open") from None


def _entries(run: str | Path, stages: Plain, names: Iterable[str], config: Config) -> dict[str, Entry]:
    """The networks of a run's stages of these names, which `results.check_tested` has looked at."""
    keys = {name: stages[name]["key"] for name in names}
    moved = os.environ.get("MOE_STORE")  # where it has been moved to; or that of other runs
    lacking: dict[Path, list[str]] = {}
    for root in dict.fromkeys([*([Path(moved).expanduser()] if moved else []), seen(run, Path(config.paths.store))]):
        found_there = {name: Store(root).get(key) for name, key in keys.items()}
        lacking[root] = [keys[name] for name, entry in found_there.items() if entry is None]
        if not lacking[root]:
            found = {name: entry for name, entry in found_there.items() if entry is not None}
            for entry in found.values():
                if entry.outdated(found.values()):
                    raise StoreError(f"{entry.path} learnt from weights that are gone; train {run} again")
            return found
    fewest = min(lacking.values(), key=len)
    raise StoreError(
        f"{run}: its networks {', '.join(fewest)} are not in {', nor in '.join(map(str, lacking))}; "
        "MOE_STORE=DIR says where the store is, else train the run again"
    )


def seen(run: str | Path, path: Path) -> Path:
    """A path of the run's config, seen from where the run started or, where it is not there any more, from here.

    Not from here first: another folder has a store of its own.
    """
    try:
        started_in = Path(OmegaConf.load(Path(run) / "hydra" / "hydra.yaml").hydra.runtime.cwd)
    except (OSError, OmegaConfBaseException, YAMLError, AttributeError, TypeError, ValueError, RecursionError):
        return path
    return started_in / path if (started_in / path).exists() else path
