import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from moe.modules.callbacks import FiniteGuard
from tests.modules.scripts import NAN, OPTIMIZERS, Line, plain_recipe, rows, trained

# What Lightning 2.6.6 asks of torch 2.15 and what torch says of it; moe.modules.fit keeps it from users.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


@pytest.mark.parametrize("fault", ["NaN loss", "infinite loss", "NaN gradient", "infinite gradient"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.fault("NaN or infinite loss or gradient")
def test_nothing_that_is_not_finite_changes_a_weight(optimizer: str, fault: str) -> None:
    module = Line(plain_recipe(optimizer), bad_step=2, fault=fault)
    seen = trained(module, rows(8), FiniteGuard("natural", every=5))
    # Seen before the first step and after steps 0 to 3; step 4 is the fifth, a logging point, and stops the run.
    assert len(seen) == 5
    assert torch.equal(seen[3], seen[2])
    assert torch.isfinite(seen[4]).all()
    assert not torch.equal(seen[1], seen[0]) and not torch.equal(seen[2], seen[1]) and not torch.equal(seen[4], seen[3])
    assert "natural" in module.error and "at step 2;" in module.error


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
def test_a_fused_optimiser_goes_on_as_if_the_bad_step_had_not_been(optimizer: str) -> None:
    bad = trained(Line(plain_recipe(optimizer), bad_step=2, fault="NaN loss"), rows(8), FiniteGuard("x", every=6))
    batches = rows(8)
    without = trained(Line(plain_recipe(optimizer)), batches[:2] + batches[3:])
    assert len(bad) == 6
    assert torch.equal(torch.stack(bad[3:]), torch.stack(without[2:5]))


def test_the_first_of_several_bad_steps_is_named() -> None:
    module = Line(plain_recipe("Adam"), bad_step=1, fault="NaN loss")
    batches = rows(8)
    batches[3] = batches[3] * NAN
    trained(module, batches, FiniteGuard("x", every=6))
    assert "at step 1;" in module.error


@pytest.mark.parametrize("every", [1, 50])
def test_the_run_stops_at_the_next_logging_point_or_the_epochs_end(every: int) -> None:
    module = Line(plain_recipe("Adam"), bad_step=4, fault="NaN loss")
    seen = trained(module, rows(3), FiniteGuard("base", every=every), epochs=5)
    # Three steps an epoch: step 4 is the second of the second epoch. Where every step is a logging point it stops
    # there, having seen steps 0 to 3; else at the end of that epoch, having seen step 4 too.
    assert len(seen) == {1: 5, 50: 6}[every]
    assert module.error.startswith("base: the loss or a gradient was NaN or infinite at step 4;")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_finite_training_is_the_same_with_the_guard(optimizer: str) -> None:
    guarded = trained(Line(plain_recipe(optimizer)), rows(6), FiniteGuard("x"), epochs=2)
    alone = trained(Line(plain_recipe(optimizer)), rows(6), epochs=2)
    assert len(guarded) == 13
    assert torch.equal(torch.stack(guarded), torch.stack(alone))


def test_gradients_are_clipped_to_their_norm() -> None:
    clip, recipe = 0.5, plain_recipe("SGD")
    found = trained(Line(recipe), rows(5), FiniteGuard("x", clip=clip))
    module = Line(recipe)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, weight_decay=0.1)
    norms = []
    for place, batch in enumerate(rows(5)):
        optimizer.zero_grad()
        (batch @ module.weight.T + module.bias).pow(2).mean().backward()
        norms.append(clip_grad_norm_(module.parameters(), clip).item())
        optimizer.step()
        torch.testing.assert_close(found[place + 1], nn.utils.parameters_to_vector(module.parameters()).detach())
    assert max(norms) > clip  # some gradient was clipped
