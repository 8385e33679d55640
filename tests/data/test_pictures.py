"""Single image files: what each kind of picture becomes, and the sentence for each that cannot be used."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moe.data import pictures
from moe.errors import DataError, printable


def save(path: Path, pixels: object, **options: object) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.array(pixels, dtype=np.uint8))
    image.save(path, **options)
    return path


def rgb(path: Path, height: int = 1, width: int = 2) -> list[list[int]]:
    """Each channel's values."""
    return [channel.flatten().tolist() for channel in pictures.read(path, (3, height, width))]


def grey(path: Path, height: int = 1, width: int = 2) -> list[int]:
    values: list[int] = pictures.read(path, (1, height, width)).flatten().tolist()
    return values


def test_rgb_and_greyscale_come_as_they_are(tmp_path: Path) -> None:
    colours = save(tmp_path / "colours.png", [[[1, 2, 3], [4, 5, 6]]])
    read = pictures.read(colours, (3, 1, 2))
    assert read.dtype == torch.uint8 and read.is_contiguous()
    assert read.tolist() == [[[1, 4]], [[2, 5]], [[3, 6]]]
    assert pictures.read(save(tmp_path / "grey.png", [[7], [8]]), (1, 2, 1)).tolist() == [[[7], [8]]]


def test_greyscale_and_rgb_become_each_other(tmp_path: Path) -> None:
    assert rgb(save(tmp_path / "grey.png", [[7, 255]])) == [[7, 255]] * 3
    # ITU-R 601: 0.299 * 255 = 76.2 for red, 0.587 * 255 = 149.7 for green.
    assert grey(save(tmp_path / "colours.png", [[[255, 0, 0], [0, 255, 0]]])) == [76, 150]


def test_palettes_become_their_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert rgb(save(tmp_path / "palette.png", image)) == [[10, 40], [20, 50], [30, 60]]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    path = save(tmp_path / "bits.png", image)
    assert grey(path) == [0, 255] and rgb(path) == [[0, 255]] * 3


def test_16_bit_greyscale_is_scaled_by_1_in_257(tmp_path: Path) -> None:
    # 65535 / 257 = 255; 25828 / 257 = 100.498; 25829 / 257 = 100.502.
    image = Image.fromarray(np.array([[65535, 25828, 25829]], dtype=np.uint16))
    assert grey(save(tmp_path / "deep.png", image), width=3) == [255, 100, 101]


def test_what_is_transparent_is_laid_on_black(tmp_path: Path) -> None:
    # Half of 200 over black: 200 * 128 / 255 = 100.4.
    half = save(tmp_path / "half.png", [[[200, 100, 0, 128], [9, 9, 9, 0]]])
    assert rgb(half) == [[100, 0], [50, 0], [0, 0]]
    assert grey(save(tmp_path / "grey.png", [[[200, 255], [200, 0]]])) == [200, 0]
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert rgb(save(tmp_path / "palette.png", image, transparency=1)) == [[10, 0], [20, 0], [30, 0]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    red, green, blue = pictures.read(save(tmp_path / "print.jpg", image, quality=100), (3, 16, 16))
    assert red.min() > 250 and max(green.max(), blue.max()) < 5


def test_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    path = save(tmp_path / "phone.png", [[1, 2]], exif=exif)
    assert pictures.read(path, (1, 2, 1)).tolist() == [[[1], [2]]]


def test_other_sizes_are_refused_or_stretched(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", [[0, 0, 100, 100]] * 2)
    sentence = f"{path}: is 4x2 pixels, but the run takes 2x2; --resize makes it so"
    with pytest.raises(DataError, match=f"^{sentence}$"):
        pictures.read(path, (1, 2, 2))
    # Antialiased: halving by the triangle filter, which reaches two pixels, weighs a row's pixels 3 3 1 for each
    # half: (0 * 3 + 0 * 3 + 100 * 1) / 7 = 14.3 and (0 * 1 + 100 * 3 + 100 * 3) / 7 = 85.7.
    assert pictures.read(path, (1, 2, 2), resize=True).tolist() == [[[14, 86]] * 2]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_animated_images_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (2, 2), value) for value in (0, 100, 200)]
    path = save(tmp_path / f"film.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"film.*: is animated \(3 frames\); give a still image"):
        pictures.read(path, (1, 2, 2))


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that says it has so many pixels, and has none."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 0) + data + struct.pack(">I", zlib.crc32(data))


def test_what_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(6000, 4001))
    with pytest.raises(DataError, match="has 6000x4001 pixels, more than 24 million"):
        pictures.read(path, (3, 2, 2), resize=True)
    path.write_bytes(png_header(60000, 60000))
    with pytest.raises(DataError, match="has more than 24 million pixels"):
        pictures.read(path, (3, 2, 2), resize=True)
    path.write_bytes(png_header(6000, 4000))  # as large as may be, but there is nothing behind the header
    with pytest.raises(DataError, match=r"large.png: cannot be read \("):
        pictures.read(path, (3, 2, 2), resize=True)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    text, cut, film = tmp_path / "text.png", tmp_path / "cut.jpg", tmp_path / "film.gif"
    text.write_text("no image")
    whole = save(tmp_path / "whole.jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))
    cut.write_bytes(whole.read_bytes()[:2000])
    save(film, [[1, 2]])
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        text: r"is no image \(PNG, JPEG, BMP, WEBP\)",
        cut: r"cannot be read \(.*truncated.*\)",
        film: r"is no image \(PNG, JPEG, BMP, WEBP\)",
        tmp_path: "is a folder; give image files",
        tmp_path / "none.png": "does not exist",
        tmp_path / "pipe": "is no ordinary file",
    }
    for path, reason in reasons.items():
        with pytest.raises(DataError, match=f"^{path}: {reason}$"):
            pictures.read(path, (3, 64, 64))


def test_paths_are_printed_on_one_line() -> None:
    assert printable("a b/ü\n\x1b[1m.png") == "a b/ü\\n\\x1b[1m.png"
    assert printable(os.fsdecode(b"\xff.png")) == "\\udcff.png"
