"""What a command gives each of its stages: images, seeds, starts, and what the frozen networks say."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moe import calibration
from moe import job as jobs
from moe.job import Job, planned
from moe.nets.fast_vgg import whitening_filters
from moe.trial import network
from tests.jobs import job

FOLDS = ("gate.fit_on=folds", "gate.folds=2", "data.splits.gate=0")


@pytest.mark.parametrize(("overrides", "expected"), [((), "gate"), (("gate.fit_on=train",), "train"), (FOLDS, "folds")])
def test_gates_learn_from_what_is_said_of_the_images_that_they_learn_from(
    overrides: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def said(self: Job, entries: Any, split: str, temperatures: Any = None) -> Any:
        asked.append(split)
        return SimpleNamespace(experts=split, leaves=split, route=split)

    monkeypatch.setattr(Job, "frozen", said)
    made = job(*overrides)
    data = jobs.datamodule(made, planned(made)[-1], {}, None)
    assert asked == [expected, "val"]
    # Out of fold it is said of the images to learn from.
    assert data.along == {"train" if expected == "folds" else expected: (expected,) * 3, "val": ("val",) * 3}


@pytest.mark.parametrize(
    ("overrides", "split", "count"),
    [((), "gate", 10), (("gate.fit_on=train",), "gate", 10), (FOLDS, "folds", 90)],
)
def test_temperatures_are_of_images_that_no_expert_has_learnt_from(
    overrides: tuple[str, ...], split: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def noted(config: Any, store: Any, tree: Any, entries: Any, split: str, held: Any, *rest: Any) -> torch.Tensor:
        asked.append((split, len(held.labels)))
        return torch.ones(3)

    monkeypatch.setattr(calibration, "temperatures", noted)
    job(*overrides).temperatures({})
    assert asked == [(split, count)]
    assert job(*overrides, "gate.calibrate=false").temperatures({}) is None and len(asked) == 1


def test_members_see_their_images_in_orders_of_their_own() -> None:
    made = job("target=base", "base.members=3", "seed=4")
    stages = planned(made)
    seeds = [jobs.datamodule(made, stage, {}, None).seed for stage in stages]
    assert seeds == [stage.seed for stage in stages] and len(set(seeds)) == 3


def test_gates_are_built_as_the_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moe.job.assembly.experts", lambda *given: ())
    monkeypatch.setattr("moe.job.assembly.routers", lambda *given: ())
    nothing: Any = None
    for frozen in ("stored", "live", "live_dropout"):
        made = job("gate.weights=per_class", "mixture.cascade=0.9", f"gate.frozen={frozen}")
        ensemble: Any
        ensemble, prefix = jobs.module(made, planned(made)[-1], {}, nothing, None)
        assert prefix == "mixture.gates." and ensemble.hparams["weights"] == "per_class"
        assert ensemble.mixture.cascade == 0.9 and ensemble.mixture.routing == "hard"
        assert ensemble.frozen_dropout == (frozen == "live_dropout")


@pytest.mark.parametrize("name", ["base", "router"])
def test_a_network_that_starts_from_the_data_starts_from_its_own(name: str) -> None:
    made = job("router=network", "net@router.net=fast_vgg", "expert.init=scratch", "recipe@expert.recipe=fast")
    stages = {stage.name: stage for stage in planned(made)}
    data = jobs.datamodule(made, stages[name], {}, None)
    network: Any = jobs.module(made, stages[name], {}, data, None)[0].net
    assert torch.equal(network.whitening.weight, whitening_filters(made.pixels(made.images("train").images)))
    specialist: Any
    data = jobs.datamodule(made, stages["artificial"], {}, None)
    specialist = jobs.module(made, stages["artificial"], {}, data, None)[0].net
    own = made.images("train").images[torch.isin(made.images("train").labels, torch.tensor([0, 1, 8, 9]))]
    assert torch.equal(specialist.whitening.weight, whitening_filters(made.pixels(own)))


@pytest.mark.parametrize(
    ("overrides", "name", "start"),
    [
        (("expert.init=member",), "natural", "base-2"),
        (FOLDS, "natural/1", "base/1"),
        ((), "natural", "base"),
    ],
)
def test_a_specialist_starts_as_the_network_that_it_is_to(overrides: tuple[str, ...], name: str, start: str) -> None:
    made = job("base.net.widths=[4,6,8]", *overrides)
    stages = {stage.name: stage for stage in planned(made)}
    shapes = network(stages["base"]).state_dict()
    # Every number of each base's is its place in the plan.
    entries: Any = {
        stage.name: SimpleNamespace(
            key=stage.key,
            record={"inputs": stage.inputs, "kind": "base"},
            tensors=lambda said=place: {name: torch.full(own.shape, said) for name, own in shapes.items()},
        )
        for place, stage in enumerate(stages.values())
        if stage.kind == "base"
    }
    assert len(entries) == {"base": 1, "base-2": 2, "base/1": 3}[start]
    built, _ = jobs.module(made, stages[name], entries, jobs.datamodule(made, stages[name], {}, None), None)
    found = {int(number) for tensor in built.net.state_dict().values() for number in tensor.flatten().unique()}
    assert found == {list(stages).index(start)}


def test_live_experts_speak_at_their_temperatures() -> None:
    made = job("base.net.widths=[4,6,8]", "gate.frozen=live")
    stages = {stage.name: stage for stage in planned(made)}
    entries: Any = {}
    for name in ("base", "artificial", "natural"):
        weights = {key: torch.zeros(tensor.shape) for key, tensor in network(stages[name]).state_dict().items()}
        record = {"inputs": stages[name].inputs, "kind": stages[name].kind}
        entries[name] = SimpleNamespace(key=stages[name].key, record=record, tensors=lambda said=weights: said)
    data = jobs.datamodule(made, stages["gates"], entries, None)
    built, _ = jobs.module(made, stages["gates"], entries, data, torch.tensor([2.0, 3.0, 0.5]))
    assert [expert.temperature for expert in built.mixture.experts] == [2.0, 3.0, 0.5]
