"""Muon for kernels beside another optimiser: by its definition, against torch's own, and what it should do."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from moe.errors import NonFiniteError
from moe.modules.callbacks import FiniteGuard
from moe.modules.muon import Muon, MuonBeside, orthogonal
from moe.modules.recipe import RecipeModule, kernels, optimizer_of
from moe.nets.fast_vgg import FastVGG
from tests.modules.scripts import Batches, Weights, plain_recipe, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")
RECIPE = {**plain_recipe("SGD with momentum"), "muon": {"lr": 0.2, "momentum": 0.6}}


def network() -> nn.Sequential:
    """One kernel for Muon behind a first convolution, which is not for it, and here does not learn."""
    torch.manual_seed(0)
    first = nn.Conv2d(1, 2, 1).requires_grad_(False)
    layers = nn.Sequential(first, nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    return layers.to(memory_format=torch.channels_last)


def give_gradients(net: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in (parameter for parameter in net.parameters() if parameter.requires_grad):
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(memory_format=torch.preserve_format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 18), (18, 4)])
def test_the_iteration_changes_singular_values_alone_and_those_by_its_polynomial(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrices, dtype)
    assert found.dtype == torch.float32
    # bf16 has 8 bits: a few roundings of 2^-9 each.
    allowed = 1e-5 if dtype == torch.float32 else 0.02
    for matrix, one in zip(matrices, found, strict=True):
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
        torch.testing.assert_close(one.double(), left @ values.diag() @ right, rtol=0, atol=allowed)
        assert values.min() > 0.6 and values.max() < 1.25  # 0.68 to 1.13 (Jordan 2024) for what starts not too small


def test_kernels_learn_by_muon_as_matrices_and_all_else_by_the_recipes_optimiser() -> None:
    net = network()
    optimizer = optimizer_of(net, {**RECIPE, "decay": None})
    assert isinstance(optimizer, MuonBeside)
    matrix = nn.Parameter(net[1].weight.detach().flatten(1).clone())
    others = copy.deepcopy([net[1].bias, *net[2].parameters(), *net[4].parameters()])
    alone = torch.optim.Muon([matrix], lr=0.2, momentum=0.6, weight_decay=0.0)
    rest = torch.optim.SGD(others, lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        give_gradients(net, step)
        matrix.grad = net[1].weight.grad.flatten(1)
        for mine, its in zip(others, [net[1].bias, *net[2].parameters(), *net[4].parameters()], strict=True):
            mine.grad = its.grad.clone()
        with torch.no_grad():
            matrix.mul_(2 / matrix.norm())  # four outputs: a norm of the square root of 4
        alone.step()
        rest.step()
        optimizer.step()
        # Torch's iteration is in bf16, of which three steps of 0.2 may differ in the third digit.
        torch.testing.assert_close(net[1].weight.flatten(1), matrix, rtol=0, atol=0.01)
    learned = [net[1].bias, *net[2].parameters(), *net[4].parameters()]
    assert all(torch.equal(mine, its) for mine, its in zip(others, learned, strict=True))


def test_a_kernels_first_update_is_nearly_orthogonal_whatever_its_gradients_size() -> None:
    for size in (1e-3, 1e3):
        net = network()
        before = net[1].weight.detach().clone()
        give_gradients(net, 0)
        net[1].weight.grad.mul_(size)
        optimizer_of(net, RECIPE).step()
        values = torch.linalg.svdvals((before * 2 / before.norm() - net[1].weight.detach()).flatten(1) / 0.2)
        assert values.min() > 0.6 and values.max() < 1.25


def test_a_kernel_has_the_norm_of_an_update_before_each_step_and_so_no_decay() -> None:
    net = network()
    before = net[1].weight.detach().clone()
    net[1].weight.grad = torch.zeros_like(net[1].weight)
    # Of no gradient Muon's update is zero: what is left is the kernel at the norm of 4 orthonormal rows, 2.
    recipe = {**RECIPE, "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}, "decay": 0.05}
    optimizer_of(net, recipe).step()
    torch.testing.assert_close(net[1].weight, before * 2 / before.norm())


def test_a_tall_kernel_has_the_norm_of_its_update_too() -> None:
    kernel = nn.Parameter(torch.randn(6, 1, 1, 2, generator=torch.Generator().manual_seed(0)))
    kernel.grad = torch.zeros_like(kernel)
    Muon([(kernel, 1)], lr=0.1, momentum=0.5).step()
    assert kernel.norm().item() == pytest.approx(2**0.5)  # two orthonormal columns


def test_each_of_stacked_kernels_learns_as_it_would_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    alone = [nn.Parameter(torch.randn(4, 2, 3, 3, generator=generator) * size) for size in (1, 3, 0.1)]
    stacked = nn.Parameter(torch.cat([kernel.detach() for kernel in alone]).to(memory_format=torch.channels_last))
    optimizers = Muon([(stacked, 3)], 0.1, 0.6), Muon([(kernel, 1) for kernel in alone], 0.1, 0.6)
    for size in (1, 100):
        for kernel in alone:
            kernel.grad = torch.randn(kernel.shape, generator=generator) * size
        stacked.grad = torch.cat([kernel.grad for kernel in alone]).to(memory_format=torch.channels_last)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(stacked.detach(), torch.cat([kernel.detach() for kernel in alone]))


def test_a_schedule_moves_both_rates() -> None:
    net = network()
    optimizer = optimizer_of(net, RECIPE)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    kernel, *others = [parameter.detach().clone() for parameter in net[1:].parameters()]
    give_gradients(net, 0)
    optimizer.step()
    now, *rest = net[1:].parameters()
    torch.testing.assert_close(now, kernel * 2 / kernel.norm())  # of another size, but not turned
    assert all(torch.equal(a, b) for a, b in zip(others, rest, strict=True))


def test_it_goes_on_from_its_own_state() -> None:
    through, cut = network(), network()
    optimizer = optimizer_of(through, RECIPE)
    for step in range(4):
        give_gradients(through, step)
        optimizer.step()
    first = optimizer_of(cut, RECIPE)
    for step in range(2):
        give_gradients(cut, step)
        first.step()
    second = optimizer_of(cut, RECIPE)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in range(2, 4):
        give_gradients(cut, step)
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), cut.parameters(), strict=True))


class Convolution(RecipeModule):
    """Learns a kernel and a bias; the kernel's gradient is NaN at step 2."""

    def __init__(self) -> None:
        super().__init__(RECIPE)
        torch.manual_seed(0)
        self.first, self.conv = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, (1, 3))
        self.conv.weight.register_hook(lambda g: g.clone().fill_(float("nan")) if self.global_step == 2 else None)

    def training_step(self, batch: Tensor, batch_index: int) -> Tensor:
        loss: Tensor = self.conv(self.first(batch[:, None, None])).pow(2).mean()
        return loss


@pytest.mark.fault("NaN or infinite loss or gradient")
def test_nothing_that_is_not_finite_changes_a_weight() -> None:
    module: Any = Convolution()
    seen = Weights()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[FiniteGuard("x", every=5), seen],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(NonFiniteError, match="at step 2;"):
        trainer.fit(module, Batches(rows(8)))
    weights = seen.seen
    assert torch.equal(weights[3], weights[2]) and not torch.equal(weights[2], weights[1])
    # Step 3 has a momentum that took nothing in.
    assert torch.isfinite(weights[4]).all() and not torch.equal(weights[4], weights[3])


def test_the_kernels_are_those_of_all_convolutions_but_the_first() -> None:
    assert kernels(nn.Linear(2, 2)) == [] and kernels(nn.Conv2d(1, 2, 3)) == []
    net = network().requires_grad_(True)
    assert [kernel is net[1].weight for kernel, _ in kernels(net)] == [True]
    # What is not whitened learns, and is the first all the same.
    one, other = (FastVGG((3, 9, 9), 2, widths=(2, 2, 2), whitening=whitening) for whitening in (True, False))
    assert len(kernels(one)) == len(kernels(other)) == 6
    assert other.whitening.weight.requires_grad
    assert not any(kernel is other.whitening.weight for kernel, _ in kernels(other))


@pytest.mark.parametrize(("said", "dtype"), [({"bf16": True}, torch.bfloat16), ({}, torch.float32)])
def test_it_multiplies_in_fp32_unless_told_otherwise(said: dict[str, bool], dtype: torch.dtype) -> None:
    module: Any = Convolution()
    module.recipe = {**RECIPE, "muon": {**RECIPE["muon"], **said}}
    module.trainer = SimpleNamespace(precision="bf16-mixed")
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, MuonBeside) and optimizer.muon.dtype == dtype


def test_normalisations_biases_have_their_rate_beside_muon_too() -> None:
    net = network()
    optimizer = optimizer_of(net, {**RECIPE, "decay": None, "bias_lr": 64.0})
    assert isinstance(optimizer, MuonBeside)
    rates = {id(p): group["lr"] for group in optimizer.other.param_groups for p in group["params"]}
    slow = RECIPE["optimizer"]["lr"]
    assert rates[id(net[2].bias)] == 64 * slow and rates[id(net[2].weight)] == rates[id(net[4].weight)] == slow
