"""`moe.evaluate` called in this process, and images as class folders for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moe import evaluate


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        evaluate.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def export(images: Any, labels: Any, folder: Path, names: list[str]) -> None:
    """Class folders of PNGs."""
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        path = folder / names[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(path)


def part_of(pictures: Path, folder: Path, count: int = 3) -> Path:
    """The first `count` images of each class and split, by their files' names."""
    for split in ("train", "test"):
        for name in map(str, range(10)):
            (folder / split / name).mkdir(parents=True)
            for path in sorted((pictures / split / name).iterdir())[:count]:
                shutil.copy(path, folder / split / name)
    return folder


def recorded(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found
