"""One expert: a network whose outputs stand at its classes."""

import math

import torch
from tables import Table, pictures
from torch import nn

from moe.nets.class_expert import ClassExpert


def test_a_class_expert_puts_its_outputs_at_its_labels_and_zero_elsewhere() -> None:
    expert = ClassExpert(Table([[0.2, 0.3, 0.5]]), [4, 0, 2], num_classes=6)
    torch.testing.assert_close(expert(pictures(1)), torch.tensor([[0.3, 0.0, 0.5, 0.0, 0.2, 0.0]]))


def test_logits_become_probabilities() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0], [0.0]]))
        net[1].bias.zero_()
    # Logits ln 3 and 0: three to one.
    said = ClassExpert(net, [1, 2], num_classes=3)(torch.full((1, 1, 1, 1), math.log(3)))
    torch.testing.assert_close(said, torch.tensor([[0.0, 0.75, 0.25]]))


def test_a_temperature_divides_the_logits() -> None:
    # Logits log .8 and log .2 at a temperature of 2 are log sqrt .8 and log sqrt .2: odds of 4 become odds of 2.
    expert = ClassExpert(Table([[0.8, 0.2]]), [1, 2], 3, temperature=2.0)
    torch.testing.assert_close(expert(pictures(1)), torch.tensor([[0.0, 2 / 3, 1 / 3]]))


def test_the_expert_of_a_single_class_is_constant() -> None:
    said = ClassExpert(None, [2], num_classes=4)(pictures(3))
    assert said.tolist() == [[0.0, 0.0, 1.0, 0.0]] * 3


def test_an_experts_probabilities_are_fp32_under_bf16_autocast() -> None:
    torch.manual_seed(0)
    expert = ClassExpert(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), [0, 1, 2, 3, 5], num_classes=6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = expert(torch.rand(20, 1, 8, 8))
    assert said.dtype == torch.float32
    torch.testing.assert_close(said.sum(dim=1), torch.ones(20), rtol=0, atol=1e-6)


def test_what_an_expert_says_of_all_other_classes_is_no_classs() -> None:
    expert = ClassExpert(Table([[0.5, 0.2, 0.3]]), [2, 0], 3)
    torch.testing.assert_close(expert(pictures(1)), torch.tensor([[0.2, 0.0, 0.5]]))
