"""Where networks run, and on how many images at once."""

from typing import Any

import pytest
import torch

from moe.data.batches import Pixels
from moe.inference import batches, best_device, exact, logits


@pytest.mark.parametrize(
    ("devices", "expected"),
    [("auto", "cuda"), (1, "cuda"), ([1], "cuda:1"), ([2, 0], "cuda:2")],
)
def test_inference_runs_where_training_did(monkeypatch: pytest.MonkeyPatch, devices: Any, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device("auto", devices) == torch.device(expected)
    assert best_device("cpu", devices) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device("auto", devices) == torch.device("cpu")


def test_larger_images_go_through_in_smaller_batches() -> None:
    def sizes(count: int, side: int) -> list[int]:
        return [len(part) for part in batches(torch.empty(count, 1, side, side, dtype=torch.uint8))]

    assert sizes(1200, 32) == [500, 500, 200]
    assert sizes(600, 8) == [500, 100]
    # Twice the side is four times the pixels: 125 images; of 750 pixels a side none is small enough, so one by one.
    assert sizes(300, 64) == [125, 125, 50]
    assert sizes(2, 750) == [1, 1]


def test_what_is_said_is_in_full_32_bit_and_training_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.is_inference_mode_enabled()))
            return images.flatten(1)

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen: list[tuple[bool, bool]] = []
    logits(Asked(), torch.zeros(2, 1, 2, 2, dtype=torch.uint8), Pixels((0.0,), (1.0,)))
    assert seen == [(False, True)] and torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), exact():
        raise ZeroDivisionError
    assert torch.backends.cudnn.allow_tf32 and not torch.is_inference_mode_enabled()
