"""Image files of every kind given to predict: each bad one named, the others go on, exit code 1."""

import json
import os
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moe import predict

pytestmark = pytest.mark.fault("predict: images of every kind")
Tally = Counter[tuple[str, str]]


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    with pytest.raises(SystemExit) as ended:
        predict.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out.splitlines(), said.err.splitlines()


def bomb(path: Path, width: int, height: int) -> None:
    """A PNG of some hundred bytes that says it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def write_all(folder: Path) -> dict[Path, str | None]:
    """One file of every kind, and what is wrong with it, or None."""
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    kinds: dict[Path, str | None] = {}

    def keep(name: str, image: Image.Image, fault: str | None = None, **options: object) -> Path:
        path = folder / name
        image.save(path, **options)  # type: ignore[arg-type]
        kinds[path] = fault
        return path

    whole = keep("grey.png", grey)
    keep("rgb.png", grey.convert("RGB"))
    keep("alpha.png", grey.convert("RGBA"))
    keep("cmyk.jpg", grey.convert("CMYK"))
    keep("palette.png", grey.convert("P"))
    keep("16bit.png", Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 257))
    keep("a\nline.png", grey)
    keep("tall.png", grey.resize((8, 9)), "is 8x9 pixels, but the run takes 8x8; --resize makes it so")
    frames = {"save_all": True, "append_images": [grey.rotate(90)]}
    keep("moving.webp", grey, "is animated (2 frames); give a still image", **frames)
    keep("moving.gif", grey, "is no image (PNG, JPEG, BMP, WEBP)")
    for name, content, fault in (
        ("text.png", b"no image", "is no image (PNG, JPEG, BMP, WEBP)"),
        ("empty.png", b"", "is no image (PNG, JPEG, BMP, WEBP)"),
        ("cut.png", whole.read_bytes()[:45], "cannot be read ("),
    ):
        (folder / name).write_bytes(content)
        kinds[folder / name] = fault
    bomb(folder / "bomb.png", 8000, 5000)  # 40 megapixels
    kinds[folder / "bomb.png"] = "has 8000x5000 pixels, more than 24 million"
    bomb(folder / "larger.png", 60_000, 60_000)  # beyond Pillow's own limit
    kinds[folder / "larger.png"] = "million"
    kinds[folder / "gone.png"] = "does not exist"
    kinds[folder / ("x" * 300)] = "cannot be read (File name too long)"
    kinds[folder] = "is a folder; give image files"
    os.mkfifo(folder / "pipe.png")
    kinds[folder / "pipe.png"] = "is no ordinary file"
    return kinds


def test_every_kind(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally) -> None:
    kinds = write_all(tmp_path)
    code, out, err = command(capsys, run, *kinds, "--json")
    assert code == 1
    assert [json.loads(line)["path"] for line in out] == [str(path) for path, fault in kinds.items() if fault is None]
    wrong = [(path, fault) for path, fault in kinds.items() if fault is not None]
    for line, (path, fault) in zip(err, wrong, strict=True):
        assert line.startswith(f"moe: {path}: ") and fault in line
    for path, fault in kinds.items():
        name = "a folder" if path == tmp_path else path.name.replace("\n", "\\n")
        tally[
            name if len(name) < 99 else "a name of 300 characters",
            "predicted" if fault is None else "named, the others go on",
        ] += 1
    code, out, err = command(capsys, run, tmp_path / "tall.png", tmp_path / "a\nline.png", "--resize")
    assert (code, len(out), err) == (0, 2, []) and "a\\nline.png" in out[1]
    tally["tall.png with --resize", "predicted"] += 1


def test_a_thousand_of_which_three_are_bad(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(1000)]
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 8, 8), dtype=np.uint8)
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    bad = [paths[number] for number in (0, 499, 999)]
    bad[0].write_bytes(b"")
    bad[1].unlink()
    bad[2].write_bytes(bad[2].read_bytes()[:40])
    code, out, err = command(capsys, run, *paths, "--json")
    assert code == 1
    assert [line.split(": ")[1] for line in err] == [str(path) for path in bad]
    assert [json.loads(line)["path"] for line in out] == [str(path) for path in paths if path not in bad]
    tally["a thousand files, three bad", "997 predicted, three named"] += 1
