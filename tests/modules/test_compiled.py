"""A network that is compiled while it learns: with a compiler that changes nothing, the same weights bit for bit."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import seed_everything
from torch import nn

from moe.data.batches import Pixels
from moe.data.module import ImageDataModule
from moe.errors import ConfigError
from moe.modules.expert import Expert
from moe.modules.fit import Fitted, fit
from tests.modules.quick import TRAINER
from tests.modules.tiny import NET, SHAPE, data, recipe

compile_with = nn.Module.compile


def trained(folder: Path, **learns: Any) -> Fitted:
    seed_everything(0, verbose=False)
    how = recipe(averaging=0.9, select="best", **learns)
    module = Expert(NET, SHAPE, 2, asdict(how))
    whole, indices = data()
    datamodule = ImageDataModule(whole, indices, Pixels((0.5,), (0.25,)), {0: 0, 1: 1}, how, 0)
    return fit("base", module, datamodule, how, TRAINER, None, folder)


def use(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any]) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_with(module, backend=backend))


def test_it_learns_the_same_by_its_compiled_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = []

    def counted(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            ran.append(torch.is_grad_enabled())
            return graph.forward(*given)

        return run

    use(monkeypatch, counted)
    plain = trained(tmp_path)
    assert ran == []
    compiled = trained(tmp_path, compile=True)
    # Two epochs of four steps each, and a batch of validation after each.
    assert ran.count(True) == 8 and ran.count(False) >= 2
    assert compiled.weights.keys() == plain.weights.keys()
    assert all(torch.equal(compiled.weights[name], plain.weights[name]) for name in plain.weights)


def test_a_compiler_that_fails_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        raise RuntimeError("no C++ compiler is here")

    use(monkeypatch, fails)
    with pytest.raises(ConfigError, match=r"^torch\.compile failed: .*; set recipe\.compile of this network to null$"):
        trained(tmp_path, compile=True)


def test_pooling_forgets_its_input_unless_a_compiler_decides_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forgot: list[nn.Module] = []
    monkeypatch.setattr("moe.modules.fit.forget_inputs", forgot.append)
    use(monkeypatch, lambda graph, inputs: graph.forward)
    trained(tmp_path, compile=True)
    assert forgot == []
    trained(tmp_path)
    assert [type(module) for module in forgot] == [Expert]
