"""What is measured of six images, every number worked out by hand."""

import math

import pytest
import torch

from moe.errors import StoreError
from moe.inference import predict, predict_stored
from moe.nets.class_expert import ClassExpert
from moe.nets.gates import UniformGate
from moe.nets.mixture import Mixture
from moe.results.bits import pack, unpack
from moe.results.measure import _regret, measure, measure_classifier, measure_router
from moe.schema import Plain
from moe.taxonomy import parse
from tests.nets.tables import Table, pictures
from tests.results.worked import BASE, GATES, IMAGES, LABELS, PIXELS, TREE, measured, mixture


@pytest.mark.parametrize("routing", ["hard", "soft", "none"])
def test_from_stored_outputs_the_mixture_says_what_it_says_live(routing: str) -> None:
    network = mixture(routing, [[[0.2] * 5] * 6] if routing == "none" else GATES)
    frozen = network.dense(PIXELS(IMAGES), routed=routing != "none")
    live, stored = predict(network, IMAGES, PIXELS), predict_stored(network, IMAGES, PIXELS, frozen)
    for name, said in vars(live).items():
        torch.testing.assert_close(getattr(stored, name), said)


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
    out = measure(TREE, network, IMAGES[few], LABELS[few], PIXELS, predictions, frozen)
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
    assert out["verdict"]["uniform"] == {"difference": 0.0, "ci95": None, "mcnemar_p": 1.0}
    assert out["baselines"]["oracle_expert"]["accuracy"] == 1.0


def test_classifier_and_router_alone() -> None:
    base = measure_classifier(TREE, torch.tensor(BASE), LABELS)
    assert base["accuracy"] == 0.5 and base["router"] is None and base["gate"] is None
    router = measure_router(TREE, torch.tensor([0, 0, 1, 1, 2, 0]), LABELS)
    assert router["router"]["accuracy"] == pytest.approx(5 / 6)
    assert set(router) == set(base)
    assert all(router[name] is None for name in router if name != "router")


def test_which_images_were_right_goes_into_text_and_back() -> None:
    # 1010 0000 1 and seven bits that are none: bytes A0 and 80.
    right = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0, 1], dtype=torch.bool)
    assert pack(right) == "oIA="
    assert torch.equal(unpack("oIA=", 9), right)
    for text, count in (("oIA=", 17), ("oIA=", 8), ("?", 1), ("oIA", 9)):
        with pytest.raises(StoreError, match="`right` of a results"):
            unpack(text, count)


def test_every_accuracy_says_of_which_images_it_is(hard: Plain) -> None:
    for said in (hard["test"], *filter(None, hard["baselines"].values())):
        assert unpack(said["right"], 6).double().mean().item() == pytest.approx(said["accuracy"])


def test_of_a_cascade_all_that_is_measured_leaves_the_base_alone_where_it_is_sure() -> None:
    # At .7 the base speaks alone for the first image, right, and the last, wrong: it is the last's alone, and a perfect
    # router would change nothing there. The second goes to low, .3 and .8 for its label, .6 and .2 for the other.
    tree = parse({"low": [0, 1], "high": [2]}, "xyz")
    base = Table([[0.75, 0.2, 0.05], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
    low = Table([[0.1, 0.9], [0.8, 0.2], [1.0, 0.0]])
    experts = [ClassExpert(base, range(3), 3), ClassExpert(low, [0, 1], 3), ClassExpert(None, [2], 3)]
    gates = [UniformGate(in_shape=(1, 1, 1), num_classes=3, num_experts=2, weights="joint") for _ in range(2)]
    mixture = Mixture(tree, experts, [], gates, "hard", cascade=0.7).eval()
    images, labels = pictures(3).byte(), torch.tensor([0, 0, 0])
    with torch.no_grad():
        frozen = mixture.dense(PIXELS(images))
    found = measure(tree, mixture, images, labels, PIXELS, predict(mixture, images, PIXELS), frozen)
    assert found["test"]["accuracy"] == pytest.approx(2 / 3)
    assert {name: found["baselines"][name]["accuracy"] for name in ("base", "uniform", "oracle_router")} == (
        pytest.approx({"base": 1 / 3, "uniform": 2 / 3, "oracle_router": 2 / 3})
    )
    assert found["test"]["regret"] == pytest.approx({"alone": 1 / 3, "router": 0, "experts": 0, "outvoted": 0})
