"""Six images through a tree of three leaves, every number worked out by hand.

An image is one pixel, its own number; experts, routers and gates are tables that look it up.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moe import results
from moe.config import Plain
from moe.data.batches import Pixels
from moe.errors import NonFiniteError, StoreError
from moe.inference import Predictions, predict, predict_stored
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import Gate
from moe.nets.mixture import Mixture
from moe.results.measure import _regret
from moe.taxonomy import Tree, parse

CLASSES = ("plane", "ship", "cat", "dog", "frog")
# Experts in preorder: base, made, alive, furry, wet. Leaves: made, furry, wet.
TREE = parse({"made": ["plane", "ship"], "alive": {"furry": ["cat", "dog"], "wet": ["frog"]}}, CLASSES)
LABELS = torch.tensor([0, 1, 2, 3, 4, 2])
IMAGES = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
PIXELS = Pixels((0.0,), (1 / 255,))  # back to the image's number

BASE = [
    [0.5, 0.2, 0.1, 0.1, 0.1],  # right
    [0.5, 0.3, 0.1, 0.05, 0.05],  # plane for ship
    [0.1, 0.1, 0.4, 0.3, 0.1],  # right
    [0.1, 0.1, 0.5, 0.2, 0.1],  # cat for dog
    [0.1, 0.1, 0.1, 0.1, 0.6],  # right
    [0.4, 0.1, 0.3, 0.1, 0.1],  # plane for cat
]
MADE = [[0.4, 0.6], [0.2, 0.8], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]
ALIVE = [[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]
FURRY = [[0.5, 0.5], [0.5, 0.5], [0.45, 0.55], [0.52, 0.48], [0.5, 0.5], [0.9, 0.1]]
# made or alive; furry or wet. The routes: made, made, furry, furry (a tie, the first), wet, made (a stray cat).
ROUTER = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9], [0.7, 0.3]]
ALIVE_ROUTER = [[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.8, 0.2]]
# Shares: of base and made (by image); of base, alive, furry; of base, alive, wet.
MADE_GATE = [[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]
FURRY_GATE = [[0.8, 0.1, 0.1]] * 6
WET_GATE = [[0.25, 0.25, 0.5]] * 6


class Table(nn.Module):
    """Looks an image's logits up by its number."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(probabilities).log(), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.table[images.flatten(1)[:, 0].round().long()]


class TableGate(Gate):
    """A gate that looks its shares up."""

    def __init__(self, shares: list[list[float]]) -> None:
        super().__init__((1, 1, 1), len(CLASSES), len(shares[0]), "per_expert")
        self.table = Table(shares)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.table(images)
        return out


def mixture(routing: str, gates: list[list[list[float]]]) -> Mixture:
    nets = [Table(BASE), Table(MADE), Table(ALIVE), Table(FURRY), None]
    experts = [ClassExpert(net, node.labels, 5) for net, node in zip(nets, TREE.experts, strict=True)]
    routers = [] if routing == "none" else [Table(ROUTER), Table(ALIVE_ROUTER)]
    return Mixture(TREE, experts, routers, [TableGate(gate) for gate in gates], routing)


def measured(routing: str, gates: list[list[list[float]]]) -> tuple[Plain, Predictions]:
    network = mixture(routing, gates)
    predictions = predict(network, IMAGES, PIXELS)
    frozen = network.dense(PIXELS(IMAGES), routed=routing != "none")
    return results.measure(TREE, network, IMAGES, LABELS, PIXELS, predictions, frozen), predictions


GATES = [MADE_GATE, FURRY_GATE, WET_GATE]


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_from_stored_outputs_the_mixture_says_what_it_says_live(routing: str) -> None:
    network = mixture(routing, [[[0.2] * 5] * 6] if routing == "none" else GATES)
    frozen = network.dense(PIXELS(IMAGES), routed=routing != "none")
    live, stored = predict(network, IMAGES, PIXELS), predict_stored(network, IMAGES, PIXELS, frozen)
    for name, said in vars(live).items():
        torch.testing.assert_close(getattr(stored, name), said)


@pytest.fixture(scope="module")
def hard() -> Plain:
    return measured("hard", GATES)[0]


def test_hard_test_section(hard: Plain) -> None:
    # The mixtures, the label's probability first:
    # 0 made:  plane .6*.5+.4*.4 = .46, ship .6*.2+.4*.6 = .36                             right
    # 1 made:  ship .6*.3+.4*.8 = .50, plane .6*.5+.4*.2 = .38                             right
    # 2 furry: cat .8*.4+.1*.3+.1*.45 = .395, dog .8*.3+.1*.6+.1*.55 = .355                right
    # 3 furry: dog .8*.2+.1*.7+.1*.48 = .278, cat .8*.5+.1*.2+.1*.52 = .472                wrong
    # 4 wet:   frog .25*.6+.25*.8+.5*1 = .85                                               right
    # 5 made:  cat .6*.3+.4*0 = .18, plane .6*.4+.4*.9 = .60                               wrong
    test = hard["test"]
    assert test["accuracy"] == pytest.approx(4 / 6)
    given = [0.46, 0.5, 0.395, 0.278, 0.85, 0.18]
    assert test["nll"] == pytest.approx(-sum(map(math.log, given)) / 6, abs=1e-6)
    # Confidences .46 (right) and .395 (right), .50, .472 (wrong), .85, .60: in fifteen bins .395 is alone in
    # [.333, .4), .46 in [.4, .467), .472 and .50 in [.467, .533) with accuracy 1/2, .60 in [.6, .667), .85 in
    # [.8, .867). Gaps: .605 + .54 + 2 * |.5 - .486| + .6 + .15 = 1.923, over six.
    assert test["ece"] == pytest.approx(1.923 / 6, abs=1e-5)
    assert test["branch"] == {
        "made": {"accuracy": 1.0, "count": 2},
        "furry": {"accuracy": pytest.approx(1 / 3), "count": 3},
        "wet": {"accuracy": 1.0, "count": 1},
    }
    accuracies = {name: value["accuracy"] for name, value in test["class"].items()}
    assert accuracies == {"plane": 1.0, "ship": 1.0, "cat": 0.5, "dog": 0.0, "frog": 1.0}


def test_hard_router_section(hard: Plain) -> None:
    # Only the cat of image 5 goes astray, to made.
    assert hard["test"]["router"] == {
        "accuracy": pytest.approx(5 / 6),
        "recall": {"made": 1.0, "furry": pytest.approx(2 / 3), "wet": 1.0},
        "confusion": [[2, 0, 0], [1, 2, 0], [0, 0, 1]],
    }


def test_hard_regret(hard: Plain) -> None:
    # Image 3 stayed on its way, where alive said dog and was outvoted; image 5 was sent to made.
    assert hard["test"]["regret"] == {
        "alone": 0.0,
        "router": pytest.approx(1 / 6),
        "experts": 0.0,
        "outvoted": pytest.approx(1 / 6),
    }


def test_regret_where_no_expert_was_right() -> None:
    # Of five images one is right; of the others, one astray, whom an expert would have known; two that no expert
    # knew, one of them astray; one outvoted.
    mine = torch.tensor([True, False, False, False, False])
    known = torch.tensor([True, True, False, False, True])
    labels, route = torch.tensor([0, 0, 2, 2, 4]), torch.tensor([0, 1, 0, 1, 2])
    alone = torch.zeros(5, dtype=torch.bool)

    def parts(route: torch.Tensor | None) -> list[float]:
        return list(_regret(TREE, mine, known, route, alone, labels).values())

    assert parts(route) == [0.0, 0.4, 0.2, 0.2]
    assert parts(None) == [0.0, 0.0, 0.4, 0.4]
    # The base spoke alone for the first, which is right, and for the second and the last.
    alone = torch.tensor([True, True, False, False, True])
    assert parts(route) == [0.4, 0.2, 0.2, 0.0]


def test_hard_gate_section(hard: Plain) -> None:
    # made's gate saw images 0, 1 and 5 only: (.6, .4) each, of entropy -.6 ln .6 - .4 ln .4 = .67301;
    # (.8, .1, .1) has .63903; (.25, .25, .5) has 1.5 ln 2 = 1.03972.
    gate = hard["test"]["gate"]
    assert gate["made"]["weight"] == pytest.approx({"base": 0.6, "made": 0.4})
    assert gate["made"]["entropy"] == pytest.approx(0.67301, abs=1e-5)
    assert gate["furry"]["weight"] == pytest.approx({"base": 0.8, "alive": 0.1, "furry": 0.1})
    assert gate["furry"]["entropy"] == pytest.approx(0.63903, abs=1e-5)
    assert gate["wet"]["weight"] == pytest.approx({"base": 0.25, "alive": 0.25, "wet": 0.5})
    assert gate["wet"]["entropy"] == pytest.approx(1.5 * math.log(2), abs=1e-6)


def test_hard_baselines(hard: Plain) -> None:
    # base: 0 2 4. specialists: 0 ship, 1 ship (right), 2 dog, 3 cat, 4 frog (right), 5 plane.
    # uniform: 0 plane .45 to .40 (right), 1 ship .55 (right), 2 dog 1.45/3 to 1.15/3, 3 dog 1.38/3 to 1.22/3
    # (right), 4 frog (right), 5 plane. oracle_router: 5 becomes cat .8*.3+.1*.8+.1*.9 = .41 to plane .32, so five.
    # oracle_expert: 0 base, 1 made, 2 base, 3 alive, 4 all, 5 alive.
    expected = {"base": 3, "specialists": 2, "uniform": 4, "oracle_router": 5, "oracle_expert": 6}
    assert {name: 6 * value["accuracy"] for name, value in hard["baselines"].items()} == pytest.approx(expected)
    # Only the dog and one cat are furry's that the uniform average gets right or wrong: 3 right, 2 and 5 wrong.
    assert hard["baselines"]["uniform"]["branch"]["furry"] == {"accuracy": pytest.approx(1 / 3), "count": 3}
    assert hard["baselines"]["base"]["class"]["ship"] == {"accuracy": 0.0}


def test_hard_verdict(hard: Plain) -> None:
    # Against the base only image 1 differs: variance (1 - 6/36) / 5 = 1/6, half 1.95996 * .40825 / 2.44949 = .32666.
    assert hard["verdict"]["base"]["difference"] == pytest.approx(1 / 6)
    assert hard["verdict"]["base"]["ci95"] == pytest.approx([1 / 6 - 0.32666, 1 / 6 + 0.32666], abs=1e-5)
    assert hard["verdict"]["base"]["mcnemar_p"] == 1.0
    # Against the specialists 0 and 2, both for the mixture: p = 2 / 2^2.
    assert hard["verdict"]["specialists"]["mcnemar_p"] == 0.5
    # Against the uniform average 2 for, 3 against.
    assert hard["verdict"]["uniform"]["difference"] == 0.0
    assert hard["verdict"]["oracle_expert"]["difference"] == pytest.approx(-2 / 6)


def test_a_leaf_that_no_image_reaches_has_null_weights() -> None:
    network = mixture("hard", GATES)
    few = torch.tensor([0, 1])
    frozen = network.dense(PIXELS(IMAGES))[few]
    predictions = predict(network, IMAGES[few], PIXELS)
    out = results.measure(TREE, network, IMAGES[few], LABELS[few], PIXELS, predictions, frozen)
    assert out["test"]["gate"]["wet"] == {"weight": {"base": None, "alive": None, "wet": None}, "entropy": None}
    assert out["test"]["router"]["recall"] == {"made": 1.0, "furry": None, "wet": None}
    assert out["test"]["branch"]["wet"] == {"accuracy": None, "count": 0}


def test_soft() -> None:
    out, predictions = measured("soft", GATES)
    # made's gate counts on all six images: base (3 * .6 + 3 * .9) / 6 = .75; (.9, .1) has entropy .32508.
    gate = out["test"]["gate"]["made"]
    assert gate["weight"] == pytest.approx({"base": 0.75, "made": 0.25})
    assert gate["entropy"] == pytest.approx((0.67301 + 0.32508) / 2, abs=1e-5)
    # Leaves: 0 (.9 .05 .05), 1 (.6 .2 .2), 2 (.2 .6 .2), 3 (.3 .35 .35), 4 (.1 .225 .675), 5 (.7 .24 .06).
    assert predictions.leaves[4].tolist() == pytest.approx([0.1, 0.225, 0.675])
    # specialists: 0 ship .54; 1 ship .48 (right); 2 dog .33; 3 frog .35; 4 frog .675 (right); 5 plane .63.
    assert out["baselines"]["specialists"]["accuracy"] == pytest.approx(2 / 6)
    # uniform, the label against its rival: 0 plane .9*.45+.1*.5/3 = .4217, ship .9*.4+.1*.2/3 = .3667 (right);
    # 1 ship .6*.55+.4*.3/3 = .37, plane .6*.35+.4*.5/3 = .2767 (right); 2 cat .2*.2+.6*1.15/3+.2*.7/3 = .3167,
    # dog .2*.15+.6*1.45/3+.2*.9/3 = .38; 3 dog .3*.1+.35*1.38/3+.35*.9/3 = .296, cat .3*.25+.35*1.22/3+.35*.7/3
    # = .299, frog .3*.05+.35*.2/3+.35*1.2/3 = .1783; 4 frog, surely (right); 5 plane.
    assert out["baselines"]["uniform"]["accuracy"] == pytest.approx(3 / 6)
    # The true path's gate alone, as under hard routing.
    assert out["baselines"]["oracle_router"]["accuracy"] == pytest.approx(5 / 6)
    assert out["test"]["router"]["confusion"] == [[2, 0, 0], [1, 2, 0], [0, 0, 1]]


def test_flat() -> None:
    out, _ = measured("none", [[[0.2, 0.2, 0.2, 0.2, 0.2]] * 6])
    assert out["test"]["router"] is None
    assert out["test"]["regret"] == {"alone": 0.0, "router": 0.0, "experts": 0.0, "outvoted": 0.5}
    assert out["baselines"]["specialists"] is None and out["baselines"]["oracle_router"] is None
    assert set(out["verdict"]) == {"base", "uniform", "oracle_expert"}
    assert list(out["test"]["gate"]) == ["all"]
    assert out["test"]["gate"]["all"]["weight"] == pytest.approx(
        dict.fromkeys(["base", "made", "alive", "furry", "wet"], 0.2)
    )
    assert out["test"]["gate"]["all"]["entropy"] == pytest.approx(math.log(5))
    # Five times the plain average: 0 frog .1+.3+1 = 1.4; 1 ship .3+.8 = 1.1, frog .05+.3+1 = 1.35; 2 cat 1.15, dog
    # 1.45; 3 dog 1.38; 4 frog 2.4; 5 cat 2.0, plane 1.3, frog 1.2. Right: 3, 4, 5.
    assert out["test"]["accuracy"] == out["baselines"]["uniform"]["accuracy"] == 0.5
    assert out["verdict"]["uniform"] == {"difference": 0.0, "ci95": [0.0, 0.0], "mcnemar_p": 1.0}
    assert out["baselines"]["oracle_expert"]["accuracy"] == 1.0


def test_classifier_and_router_alone() -> None:
    base = results.measure_classifier(TREE, torch.tensor(BASE), LABELS)
    assert base["accuracy"] == 0.5 and base["router"] is None and base["gate"] is None
    router = results.measure_router(TREE, torch.tensor([0, 0, 1, 1, 2, 0]), LABELS)
    assert router["router"]["accuracy"] == pytest.approx(5 / 6)
    assert set(router) == set(base)
    assert all(router[name] is None for name in router if name != "router")


def test_which_images_were_right_goes_into_text_and_back() -> None:
    # 1010 0000 1 and seven bits that are none: bytes A0 and 80.
    right = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0, 1], dtype=torch.bool)
    assert results.pack(right) == "oIA="
    assert torch.equal(results.unpack("oIA=", 9), right)
    for text, count in (("oIA=", 17), ("oIA=", 8), ("?", 1), ("oIA", 9)):
        with pytest.raises(StoreError, match="`right` of a results"):
            results.unpack(text, count)


def test_every_accuracy_says_of_which_images_it_is(hard: Plain) -> None:
    for said in (hard["test"], *filter(None, hard["baselines"].values())):
        assert results.unpack(said["right"], 6).double().mean().item() == pytest.approx(said["accuracy"])


def priced(tree: Tree, routing: str, route: list[int]) -> Plain:
    """The cost with experts of 2*12*5 = 120 FLOPs (the last without a network), routers 2*12*2 = 48, gates by path."""

    def linear(out: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, out))

    nets = [*(linear(5) for _ in TREE.experts[1:]), None]
    experts = [ClassExpert(net, range(5), 5) for net in nets]
    routers = [] if routing == "none" else [linear(2), linear(2)]
    sizes = [5] if routing == "none" else [2, 3, 3]
    gates = [LinearGateOfPixels(size) for size in sizes]
    nothing = torch.zeros(len(route), 1)
    predictions = Predictions(nothing, torch.tensor(route), nothing, nothing, nothing)
    return results.cost(Mixture(tree, experts, routers, gates, routing), (3, 2, 2), predictions, tree)


class LinearGateOfPixels(Gate):
    def __init__(self, experts: int) -> None:
        super().__init__((3, 2, 2), 5, experts, "per_expert")
        self.net = nn.Linear(12, experts, bias=False)

    def logits(self, images: Tensor, experts: Tensor) -> Tensor:
        out: Tensor = self.net(images.flatten(1))
        return out


def test_cost_by_hand() -> None:
    # Ways: made 2*120 + 48 + 2*12*2 = 336; furry 3*120 + 2*48 + 2*12*3 = 528; wet, whose expert is free, 408.
    out = priced(TREE, "hard", [0, 0, 1, 2])
    assert out["flops_per_image"]["routed"] == (336 + 336 + 528 + 408) / 4
    # All: 4*120 + 2*48 + 2*12*(2+3+3) = 768. Parameters: 4*(60+5) + 2*(24+2) + 12*8 = 408.
    assert out["flops_per_image"]["dense"] == 768
    assert out["parameters"] == 408
    assert out["gate_parameters"] == 96


def test_cost_without_hard_routing_is_dense() -> None:
    assert priced(TREE, "soft", [0])["flops_per_image"] == {"dense": 768.0, "routed": 768.0}
    # No routers, one gate over five: 480 + 2*12*5 = 600.
    assert priced(TREE, "none", [-1])["flops_per_image"] == {"dense": 600.0, "routed": 600.0}


def test_a_convolution_costs_two_flops_a_multiply_add() -> None:
    from moe.cost import flops

    # 1 to 2 channels, 3x3, at 4x4 places: 2 * 9 * 2 * 16.
    assert flops(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 4, 4)) == 576


def complete(sections: Plain, **changes: Any) -> Plain:
    """A whole `results.json` around the measured sections."""
    stages = {
        "base": {"key": "base-1", "kind": "base", "test": {"accuracy": 0.5, "count": 6}},
        "made": {"key": "expert-1", "kind": "expert", "test": {"accuracy": 0.5, "count": 2}},
        "gates": {"key": "gates-1", "kind": "gates", "test": None},
    }
    return {
        "schema": results.SCHEMA,
        "experiment": "gates",
        "target": "gates",
        "seed": 3,
        "key": "gates-1",
        "config": {"mixture": {"routing": "hard"}},
        "versions": {"moe": "0"},
        "git": None,
        "machine": {"cores": 2},
        "seconds": {"base": {"seconds": 0.0, "reused": True}, "made": {"seconds": 12.34, "reused": False}},
        "data": {"fingerprint": "f", "sizes": {"test": 6}, "protocol": "held_out", "name": "toy", "classes": CLASSES},
        "val": {"accuracy": 0.5, "nll": 1.0},
        "stages": stages,
        "cost": {"parameters": 408, "flops_per_image": {"dense": 768.0, "routed": 402.0}},
        **sections,
        **changes,
    }


NOTHING = {"test": None, "baselines": None, "verdict": None, "cost": None}


def test_write_and_read(tmp_path: Path, hard: Plain) -> None:
    whole = json.loads(json.dumps(complete(hard)))
    results.write(tmp_path, whole)
    assert results.read(tmp_path) == results.read(tmp_path / "results.json") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_number_that_is_none_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"val\.nll came out as nan"):
        results.write(tmp_path, complete(NOTHING, val={"nll": math.nan}))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results.write(tmp_path, complete(NOTHING, seed=1))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moe.store.files.os.replace", fail)
    with pytest.raises(StoreError, match=r"results\.json cannot be written: No space left"):
        results.write(tmp_path, complete(NOTHING, seed=2))
    assert results.read(tmp_path)["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"run holds no results\.json: it is no finished run"),
        ("{", r"results\.json is damaged"),
        ("[]", r"results\.json is damaged"),
        ("{}", r"results\.json is damaged"),
        ("\xff\xfe", r"results\.json is damaged"),
        ('{"schema": 99}', "has schema 99; this version of moe reads schema 1"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, content: str | None, message: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    if content is not None:
        (run / "results.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=message):
        results.read(run)


def test_predictions_come_back(tmp_path: Path) -> None:
    _, predictions = measured("hard", GATES)
    results.write_predictions(tmp_path, predictions, LABELS)
    back, labels = results.read_predictions(tmp_path)
    assert torch.equal(labels, LABELS)
    for name, tensor in vars(predictions).items():
        assert torch.equal(getattr(back, name), tensor)


def test_missing_and_damaged_predictions(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no predictions"):
        results.read_predictions(tmp_path)
    (tmp_path / "predictions.safetensors").write_bytes(b"no tensors")
    with pytest.raises(StoreError, match="is damaged"):
        results.read_predictions(tmp_path)


def test_table(hard: Plain) -> None:
    text = results.table(complete(hard))
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    assert lines[0] == "gates, seed 3, toy: test accuracy in %"
    assert "all          6    66.67   50.00        33.33    66.67   83.33  100.00" in lines
    assert "furry        3    33.33   33.33         0.00    33.33   66.67  100.00" in lines
    flat = " ".join(text.split())
    assert (
        "the mixture is 16.67 points above the base alone (95% interval -16.00 to +49.33, McNemar p = 1): "
        "no clear difference"
    ) in flat
    assert "the gates are level with the uniform average" in flat
    assert (
        "Of the mixture's 33.33 points of error: 16.67 where the router's first choice was another branch, "
        "16.67 where one was right but outvoted."
    ) in flat
    assert "Routers: 83.33% of the images reach their own branch (made 100.00, furry 66.67, wet 100.00)." in flat
    assert "Cost: 408 parameters; 402 FLOP an image as routed, 768 FLOP with every network." in flat
    assert "base 6 50.00 reused made 2 50.00 12.3 gates - - -" in flat
    assert "WARNING" not in text


def test_table_warns_of_selection_on_the_test_set(hard: Plain) -> None:
    whole = complete(hard)
    whole["data"] = {**whole["data"], "protocol": "notebook"}
    assert results.table(whole).startswith("WARNING: data.splits.protocol=notebook")


def test_table_of_long_names_stays_within_80_columns(hard: Plain) -> None:
    name = "a-branch-with-a-name-that-goes-on-and-on-and-on"
    hard = copy.deepcopy(hard)
    for section in (hard["test"], *hard["baselines"].values()):
        section["branch"][name] = section["branch"]["wet"]
    text = results.table(complete(hard))
    assert max(map(len, text.splitlines())) <= 80
    assert "a-branch-" in text


@pytest.mark.parametrize("target", ["base", "router", "experts"])
def test_table_of_other_targets(target: str) -> None:
    test = {
        "base": results.measure_classifier(TREE, torch.tensor(BASE), LABELS),
        "router": results.measure_router(TREE, torch.tensor([0, 0, 1, 1, 2, 0]), LABELS),
        "experts": None,
    }[target]
    text = results.table(complete({**NOTHING, "test": test}, target=target))
    assert ("branch  " in text) == (target == "base")
    assert ("Routers: 83.33%" in text) == (target == "router")
    assert "points" not in text


@pytest.mark.parametrize(
    ("name", "difference", "ci95", "p", "sentence"),
    [
        (
            "uniform",
            0.004,
            [-0.001, 0.009],
            0.12,
            "the gates are 0.40 points above the uniform average (95% interval -0.10 to +0.90, McNemar p = 0.12): "
            "no clear difference",
        ),
        (
            "base",
            -0.02,
            [-0.03, -0.01],
            0.0001,
            "the mixture is 2.00 points below the base alone (95% interval -3.00 to -1.00, McNemar p < 0.001): worse",
        ),
        (
            "oracle_router",
            -0.02,
            [-0.03, -0.01],
            0.004,
            "the mixture is 2.00 points below its own gates behind a perfect router (95% interval -3.00 to -1.00, "
            "McNemar p = 0.004): room for better routing",
        ),
        # The interval and the test must agree before it is called a difference.
        (
            "base",
            0.02,
            [0.001, 0.039],
            0.06,
            "the mixture is 2.00 points above the base alone (95% interval +0.10 to +3.90, McNemar p = 0.06): "
            "no clear difference",
        ),
    ],
)
def test_verdicts_in_words(name: str, difference: float, ci95: list[float], p: float, sentence: str) -> None:
    verdict = {"difference": difference, "ci95": ci95, "mcnemar_p": p}
    assert results.verdict_sentence(name, verdict) == sentence
