"""A real `rival=kernels` on digits beside the mixture that it costs as much as: trained, opened again, timed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import moe
from moe import runs
from moe.comparison import collect
from moe.data import sources
from moe.nets.cond_vgg import CondVGG
from moe.results.bits import unpack
from moe.verdict import contests, measure, rivals
from moe.verdict.contests import WITHIN

QUICK = [
    *("data=digits", "taxonomy=digits", "logger=none", "report=false", "trainer.enable_progress_bar=false"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "base.net.widths=[8,16]"),
    *(f"{name}.recipe.{key}" for name in ("base", "expert") for key in ("epochs=2", "batch_size=128")),
    *("gate.recipe.epochs=2", "base.views=flip", "expert.views=flip"),
]


@pytest.fixture(scope="module")
def sweep(process: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished verdict of three rivals."""
    where = tmp_path_factory.mktemp("kernels")
    which = ["rival=hard,wider,kernels", "seed=0", "hydra.sweep.subdir=${rival}", "hydra.sweep.dir=sweep"]
    done = process("moe.train", "experiment=verdict", *QUICK, *which, "paths.store=store", cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "sweep"


def results(folder: Path, rival: str) -> Any:
    return json.loads((folder / rival / "results.json").read_text())


def test_it_costs_what_the_mixture_costs_and_is_held_against_what_is_none(sweep: Path) -> None:
    hard, kernels = (results(sweep, rival) for rival in ("hard", "kernels"))
    costs = [found["cost"]["flops_per_image"]["routed"] for found in (hard, kernels)]
    assert costs[1] == pytest.approx(costs[0], rel=0.1)
    assert kernels["matched"]["net"]["_target_"] == "moe.nets.cond_vgg.CondVGG"
    held = contests(rivals(collect([sweep])[0]))
    assert [(one.one, one.other) for one in held if one.question == WITHIN] == [("kernels", "wider")]


def test_it_is_opened_again_as_it_was_tested(sweep: Path) -> None:
    found = results(sweep, "kernels")
    opened = moe.load(sweep / "kernels")
    assert isinstance(opened, runs.Bases)
    (net,) = opened.members.nets
    assert any(isinstance(module, CondVGG) for module in net.modules())
    test = sources.load(opened.config.data, Path()).test
    right = opened.predict(test.images).probabilities.argmax(dim=1) == test.labels
    assert torch.equal(unpack(found["test"]["right"], len(test.labels)), right)
    # Two epochs are few, but more than chance, one in ten.
    assert found["test"]["accuracy"] == pytest.approx(right.double().mean().item()) and right.double().mean() > 0.3


def test_what_muon_costs_it_is_of_all_its_kernels(sweep: Path) -> None:
    # Of a matrix (A, B), A the less, five iterations of 2 A A B, 2 A A A and 2 A A B; the first group's two kernels
    # are one each, the second's eight each. So many steps as batches, in two epochs.
    found = results(sweep, "kernels")
    first, second = found["matched"]["net"]["widths"]
    matrices = [(1, first, 8 * 9), (1, first, first * 9), (8, second, first * 9), (8, second, second * 9)]
    turned = sum(count * 5 * (4 * min(a, b) ** 2 * max(a, b) + 2 * min(a, b) ** 3) for count, a, b in matrices)
    steps = 2 * -(-found["data"]["sizes"]["train"] // 128)
    assert found["cost"]["training_flops"]["optimizer"] == steps * turned


def test_it_is_timed_beside_the_others(sweep: Path) -> None:
    timed = measure(rivals(collect([sweep])[0]), repeats=1)
    assert set(timed.seconds) == {"hard", "wider", "kernels"}
    assert timed.keys["kernels"] == results(sweep, "kernels")["key"]
