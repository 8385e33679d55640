"""What Lightning's Trainer is given: arguments, device, precision."""

from typing import Any

import pytest
import torch
from pytorch_lightning.accelerators import CPUAccelerator, MPSAccelerator
from pytorch_lightning.profilers import SimpleProfiler
from quick import TRAINER

from moe import cpus
from moe.errors import ConfigError
from moe.inference import best_device
from moe.modules.fit import make_trainer, precision_for
from moe.modules.place import Place
from moe.modules.unprofiled import Unprofiled


@pytest.mark.parametrize(
    ("key", "value"), [("acelerator", "cpu"), ("enable_model_summary", True), ("accelerator", "gpuu"), ("devices", 0)]
)
def test_what_lightnings_trainer_does_not_take_is_a_config_error(key: str, value: Any) -> None:
    # A misspelt key, one that is given by the command as well, and values that are none.
    with pytest.raises(ConfigError, match=rf"^trainer: .*{key}"):
        make_trainer({**TRAINER, key: value})


def test_what_torch_does_not_take_of_the_trainer_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^trainer: "):
        make_trainer({**TRAINER, "benchmark": "abc"})


def test_hooks_are_profiled_where_that_is_asked_for() -> None:
    assert isinstance(make_trainer({**TRAINER, "profiler": "simple"}).profiler, SimpleProfiler)
    for trainer in (TRAINER, {**TRAINER, "profiler": None}):
        profiler = make_trainer(trainer).profiler
        assert isinstance(profiler, Unprofiled)
        with profiler.profile("one"), profiler.profile("another within it"):
            pass
        with pytest.raises(ZeroDivisionError), profiler.profile("fails"):
            raise ZeroDivisionError


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only GPU is Apple's, as far as torch and Lightning ask."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # It asks torch.backends.mps once and for all.
    monkeypatch.setattr("lightning_fabric.accelerators.mps.MPSAccelerator.is_available", lambda: True)


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize("place", [None, Place()])
@pytest.mark.filterwarnings("error:GPU available")
def test_where_the_only_gpu_is_apples_the_cpu_trains(place: Place | None) -> None:
    assert MPSAccelerator.is_available()
    trainer = make_trainer({**TRAINER, "accelerator": "auto"}, place=place)
    assert isinstance(trainer.accelerator, CPUAccelerator)
    # As where all else runs, by which a machine is named and sizes are chosen.
    assert best_device("auto") == torch.device("cpu")
    with pytest.raises(
        ConfigError, match=r"^trainer\.accelerator=gpu: this machine has no CUDA GPU that torch can use"
    ):
        make_trainer({**TRAINER, "accelerator": "gpu"}, place=place)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_that_is_named_is_taken(precision: str) -> None:
    assert precision_for({"precision": precision, "accelerator": "auto"}) == precision


@pytest.mark.parametrize(
    ("accelerator", "cuda", "gpu_bf16", "cpu_has", "lacks_amx", "expected"),
    [
        ("cpu", False, False, None, False, "32-true"),
        ("cpu", False, False, "_is_amx_tile_supported", False, "bf16-mixed"),
        ("cpu", False, False, "_is_avx512_bf16_supported", False, "bf16-mixed"),
        ("cpu", False, False, "_is_avx512_bf16_supported", True, "32-true"),  # slower than in fp32
        ("cpu", False, False, "_is_avx512_supported", False, "32-true"),  # AVX-512 alone does not multiply in bf16
        ("cpu", True, True, None, False, "32-true"),  # a GPU that is not asked for says nothing
        ("auto", True, True, None, True, "bf16-mixed"),
        ("gpu", True, False, "_is_amx_tile_supported", False, "32-true"),
        ("auto", False, True, "_is_amx_tile_supported", False, "bf16-mixed"),
    ],
)
def test_auto_is_bf16_where_the_hardware_gains_by_it(
    accelerator: str,
    cuda: bool,
    gpu_bf16: bool,
    cpu_has: str | None,
    lacks_amx: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_bf16 or including_emulation)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported", "_is_avx512_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == cpu_has)
    monkeypatch.setattr(cpus, "lacks_amx", lambda: lacks_amx)
    assert precision_for({"precision": "auto", "accelerator": accelerator}) == expected
