"""What saves computing: a trunk that experts share, and a cascade that ends with a sure base."""

import copy

import pytest
import torch
from tables import Table, constant, pictures
from torch import nn

from moe.cost import cost, flops, mixture_flops
from moe.data.batches import Pixels
from moe.inference import predict_stored
from moe.nets.class_expert import ClassExpert
from moe.nets.fast_vgg import FastVGG
from moe.nets.gates import LinearGate
from moe.nets.initial import start_from_, tie
from moe.nets.mixture import Frozen, Mixture
from moe.nets.views import Views
from moe.taxonomy import parse


@pytest.mark.parametrize("views", ["none", "flip", "flip_shift"])
def test_a_shared_trunk_equals_whole_networks_and_runs_once(views: str) -> None:
    torch.manual_seed(0)
    shape, tree = (1, 16, 16), parse({"low": [0, 1], "high": [2, 3]}, "wxyz")

    def seen(net: nn.Module) -> nn.Module:
        return net if views == "none" else Views(net, views)

    def net(outputs: int) -> FastVGG:
        return FastVGG(shape, outputs, widths=[4, 4, 4])

    base = net(4).eval()
    wholes = [ClassExpert(seen(base), range(4), 4)]
    shared = [ClassExpert(seen(base), range(4), 4)]
    for node in tree.leaves:
        own = net(2).eval()
        start_from_(own, base.state_dict(), node.labels, {"head.weight"})
        nn.init.normal_(own.groups[-1].convs[1].weight)  # what it has learnt
        wholes.append(ClassExpert(seen(copy.deepcopy(own)), node.labels, 4))
        tied = seen(own)
        tie(tied, shared[0].net)
        shared.append(ClassExpert(tied, node.labels, 4, shared=True))
    gates = [LinearGate(in_shape=shape, num_classes=4, num_experts=2, weights="joint") for _ in tree.leaves]
    images = torch.rand(40, *shape)
    runs = []
    for expert in shared:
        whitening = next(module for name, module in expert.named_modules() if name.endswith("whitening"))
        whitening.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        expected = Mixture(tree, wholes, [], gates, "hard").eval()(images)
        runs.clear()
        mixture = Mixture(tree, shared, [], gates, "hard").eval()
        said, dense = mixture(images), mixture.combine(images, mixture.dense(images))
    assert len(runs) == 2 * {"none": 1, "flip": 2, "flip_shift": 6}[views]  # once each, for all three experts
    torch.testing.assert_close(said.probabilities, expected.probabilities, rtol=0, atol=1e-5)
    torch.testing.assert_close(dense.probabilities, expected.probabilities, rtol=0, atol=1e-5)
    # The trunk's numbers are there once: beside the base, two last groups (4 x 4 x 9 twice, two norms) and heads of 2.
    own = sum(p.numel() for p in base.parameters()) + 2 * (2 * 4 * 4 * 9 + 2 * 2 * 4 + 4 * 2)
    assert sum(p.numel() for p in mixture.experts.parameters()) == own
    # Asked by itself a specialist takes the trunk, too, and so what a whole network does.
    found = mixture_flops(mixture, shape, tree)
    alone = [part + trunk for part, trunk in zip(found.experts[1:], found.trunks, strict=True)]
    assert alone == [flops(whole, images[:1]) for whole in wholes[1:]]


def test_a_cascade_by_hand() -> None:
    # The base is .9, .6 and .7 sure of three images; at .7 the first and the last are its own.
    tree = parse({"low": [0, 1], "high": [2]}, "xyz")
    base = Table([[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])
    low = Table([[0.5, 0.5], [0.8, 0.2], [0.5, 0.5]])
    experts = [ClassExpert(base, range(3), 3), ClassExpert(low, [0, 1], 3), ClassExpert(None, [2], 3)]
    gates = [constant([[0.5, 0.5]] * 3), constant([[0.5, 0.5]] * 3)]
    mixture = Mixture(tree, experts, [], gates, "hard", cascade=0.7).eval()
    with torch.no_grad():
        mixed = mixture(pictures(3))
    # The second image: .5 x .3 + .5 x .8 = .55, .5 x .6 + .5 x .2 = .4, .5 x .1 = .05.
    expected = torch.tensor([[0.9, 0.05, 0.05], [0.55, 0.4, 0.05], [0.1, 0.2, 0.7]])
    torch.testing.assert_close(mixed.probabilities, expected)
    assert low.seen == [1]  # no other network ran for the others
    assert mixed.frozen.route.tolist() == [0, 0, 1]
    # Where each image would have gone: .9 + .05, .3 + .6, .7.
    torch.testing.assert_close(mixed.frozen.leaves, torch.tensor([[0.95, 0.0], [0.9, 0.0], [0.0, 0.7]]))
    # The base's weights there sum to one over the classes, as joint ones do.
    torch.testing.assert_close(mixed.weights[0], torch.tensor([[1 / 3, 0.0, 0.0]] * 3))
    dense = mixture.combine(pictures(3), mixture.dense(pictures(3)))
    torch.testing.assert_close(dense.probabilities, expected)


def test_a_cascades_cost_is_the_mean_of_both_ways() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))  # 16 operations
    tree = parse({"low": [0], "high": [1]}, "xy")
    experts = [ClassExpert(net, [0, 1], 2), ClassExpert(None, [0], 2), ClassExpert(None, [1], 2)]
    gates = [LinearGate(in_shape=(1, 2, 2), num_classes=2, num_experts=2, weights="per_expert") for _ in range(2)]
    mixture = Mixture(tree, experts, [], gates, "hard", cascade=0.8)
    said = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    frozen = Frozen(torch.stack([said, said, said], dim=1), torch.zeros(4, 2), torch.tensor([0, 0, 1, 0]))
    predictions = predict_stored(mixture, torch.zeros(4, 1, 2, 2).byte(), Pixels((0.0,), (1.0,)), frozen)
    # Two of four images end at the base, 16; the others go on to a gate of 4 x 2 x 2 = 16 more.
    each = mixture_flops(mixture, (1, 2, 2), tree)
    assert cost(mixture, each, predictions, tree)["flops_per_image"] == {"dense": 16 + 2 * 16, "routed": 24}
    # What did not run says nothing.
    assert predictions.experts[:, 1:].sum(dim=(1, 2)).tolist() == [0, 1, 0, 1]


def test_a_trunk_that_is_not_the_bases_is_not_tied() -> None:
    torch.manual_seed(0)
    base, own = (FastVGG((1, 16, 16), 4, widths=[4, 4, 4]).eval() for _ in range(2))
    own.load_state_dict(base.state_dict())
    tie(own, base)
    assert own.whitening.weight is base.whitening.weight
    for name in ("whitening.bias", next(n for n, _ in base.groups[0].named_buffers(prefix="groups.0") if "mean" in n)):
        other = FastVGG((1, 16, 16), 4, widths=[4, 4, 4]).eval()
        other.load_state_dict(base.state_dict())
        other.state_dict()[name].add_(1e-3)
        with pytest.raises(ValueError, match="its trunk is not the base's"):
            tie(other, base)


def test_where_the_base_is_sure_of_an_image_each_of_its_routers_still_says_where_it_would_go() -> None:
    # .9 sure of class 1: root .05 + .9 to the left, there .9 / .95 to the right; of class 0 in the second image.
    tree = parse({"left": {"a": [0], "b": [1]}, "c": [2]}, "xyz")
    base = Table([[0.05, 0.9, 0.05], [0.8, 0.15, 0.05]])
    experts = [ClassExpert(base, range(3), 3), ClassExpert(Table([[0.5, 0.5]] * 2), [0, 1], 3)]
    experts = [
        experts[tree.experts.index(node)] if len(node.labels) > 1 else ClassExpert(None, node.labels, 3)
        for node in tree.experts
    ]
    gates = [constant([[1 / len(path)] * len(path)] * 3) for path in tree.paths]
    mixture = Mixture(tree, experts, [], gates, "hard", cascade=0.7).eval()
    with torch.no_grad():
        said = mixture(pictures(2)).frozen
    assert [tree.leaves[leaf].name for leaf in said.route.tolist()] == ["b", "a"]
    torch.testing.assert_close(said.leaves.max(dim=1).values, torch.tensor([0.9, 0.8]))
