import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from tiny import NAMES, config, pictures, same, write_class_folders

from moe.data import folders
from moe.data.folders import decode
from moe.data.sources import load
from moe.errors import DataError


def save(path: Path, size: tuple[int, int] = (5, 4), mode: str = "RGB") -> Path:
    Image.new(mode, size).save(path)
    return path


def test_class_folders_must_be_the_classes(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "folders")
    with pytest.raises(DataError, match=r"train has no folder for class dog, emu$"):
        load(config("folder", root, classes=[*NAMES, "emu", "dog"]), tmp_path)
    with pytest.raises(DataError, match=r"train has a folder that is no class: ant, cow$"):
        load(config("folder", root, classes=["bee"]), tmp_path)
    (root / "test" / "dog").mkdir()
    with pytest.raises(DataError, match=r"test has a folder that is no class: dog$"):
        load(config("folder", root, classes=None), tmp_path)
    (root / "train" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train/dog holds no image \(\.png"):
        load(config("folder", root, classes=None), tmp_path)
    (root / "train" / "dog").rmdir()
    (root / "test").rename(root / "tset")
    with pytest.raises(DataError, match=r"folders/test does not exist; it should hold a folder for each"):
        load(config("folder", root), tmp_path)


def test_other_files_in_class_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_class_folders(tmp_path / "folders")
    expected = load(config("folder", root), tmp_path)
    (root / "train" / "ant" / ".hidden.png").write_text("")
    assert same(load(config("folder", root), tmp_path), expected) and not caplog.text
    (root / "train" / "ant" / "notes.txt").write_text("")
    (root / "train" / "ant" / "more").mkdir()
    assert same(load(config("folder", root), tmp_path), expected)
    assert "train/ant: 2 entries are no images: more ..." in caplog.text
    (root / "train" / "ant" / "upper.PNG").symlink_to(tmp_path / "absent.png")
    with pytest.raises(DataError, match=r"train/ant/upper\.PNG cannot be decoded .*No such file"):
        load(config("folder", root), tmp_path)


def test_an_animated_image_is_refused_and_not_taken_by_its_first_frame(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "folders")
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (0, 200)]
    frames[0].save(root / "train" / "ant" / "film.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"train/ant/film\.webp is animated \(2 frames\)"):
        load(config("folder", root), tmp_path)


def test_class_folders_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_class_folders(tmp_path / "folders")
    calls = []
    decode = folders.decode

    def counted(paths: Sequence[Path]) -> torch.Tensor:
        calls.append(len(paths))
        return decode(paths)

    monkeypatch.setattr(folders, "decode", counted)
    first = load(config("folder", root), tmp_path / "data")
    assert same(load(config("folder", root), tmp_path / "data"), first) and calls == [36]
    [kept] = (tmp_path / "data" / ".cache").iterdir()
    assert kept.suffix == ".safetensors"

    # A damaged cache is made again, in silence.
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    assert same(load(config("folder", root), tmp_path / "data"), first) and len(calls) == 2
    assert same(load(config("folder", root), tmp_path / "data"), first) and len(calls) == 2

    # Another file time, another order of classes or another file is another cache.
    changed = next((root / "train" / "ant").iterdir())
    os.utime(changed, ns=(0, 0))
    assert same(load(config("folder", root), tmp_path / "data"), first) and len(calls) == 3
    load(config("folder", root, classes=list(NAMES[::-1])), tmp_path / "data")
    assert len(calls) == 4
    changed.unlink()
    assert len(load(config("folder", root), tmp_path / "data").train.labels) == 29


def test_another_folder_with_files_of_the_same_names_sizes_and_times_is_another_cache(tmp_path: Path) -> None:
    first, other = (write_class_folders(tmp_path / name) for name in ("folders", "others"))
    for root, turn in ((first, ImageOps.exif_transpose), (other, ImageOps.mirror)):
        for path in list(root.rglob("*.*")):
            bitmap = path.with_suffix(".bmp")  # whose size says nothing of what it shows
            with Image.open(path) as image:
                turn(image).save(bitmap)
            path.unlink()
            os.utime(bitmap, ns=(0, 0))
    assert not same(load(config("folder", first), tmp_path / "data"), load(config("folder", other), tmp_path / "data"))
    assert len(list((tmp_path / "data" / ".cache").iterdir())) == 2


def test_decode_turns_an_image_as_its_camera_says(tmp_path: Path) -> None:
    expected = pictures(1)[0]
    said = Image.Exif()
    said[0x0112] = 6  # a quarter turn to the right before it is looked at
    Image.fromarray(expected.permute(1, 2, 0).numpy()).save(tmp_path / "turned.png", exif=said)
    assert torch.equal(decode([tmp_path / "turned.png"])[0], torch.rot90(expected, -1, (1, 2)))


def test_decode_gives_channels_first_pixels(tmp_path: Path) -> None:
    expected = pictures(2)
    paths = [tmp_path / "0.png", tmp_path / "1.bmp"]
    for path, image in zip(paths, expected, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    assert torch.equal(decode(paths), expected)


def test_decode_takes_greyscale_where_all_are(tmp_path: Path) -> None:
    grey = [save(tmp_path / f"{i}.png", mode="L") for i in range(2)]
    assert decode(grey).shape == (2, 1, 4, 5)
    with pytest.raises(DataError, match=r"2\.png is 5x4 RGB, but most images are 5x4 greyscale"):
        decode([*grey, save(tmp_path / "2.png")])


def test_decode_names_the_image_unlike_most_even_if_it_is_the_first(tmp_path: Path) -> None:
    odd = save(tmp_path / "0.png", size=(6, 4))
    others = [save(tmp_path / f"{i}.png") for i in range(1, 4)]
    with pytest.raises(DataError, match=r"0\.png is 6x4 RGB, but most images are 5x4 RGB$"):
        decode([odd, *others])


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_decode_names_the_first_fault_and_counts_the_rest(tmp_path: Path) -> None:
    good = save(tmp_path / "0.png")
    truncated = save(tmp_path / "1.png", size=(50, 50))
    truncated.write_bytes(truncated.read_bytes()[:60])
    text = tmp_path / "2.png"
    text.write_text("no picture")
    with pytest.raises(DataError, match=r"1\.png cannot be decoded .*\(and 3 more images are") as e:
        decode([good, truncated, text, tmp_path / "absent.png", save(tmp_path / "4.png", (9, 9))])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA", "I;16"])
def test_decode_refuses_other_modes(tmp_path: Path, mode: str) -> None:
    with pytest.raises(DataError, match=rf"0\.png has mode {mode}; images must be RGB"):
        decode([save(tmp_path / "0.png", mode=mode)])


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_decode_refuses_a_huge_image_before_decoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "0.png", (4097, 4096), "L")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(DataError, match=r"0\.png has 4097x4096 pixels, more than 4096x4096"):
        decode([path])
