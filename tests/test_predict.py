"""`python -m moe.predict` on a real run and on pictures of the images it was tested on."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

import moe
from moe import predict
from moe.data import batches, sources
from moe.inference import Predictions
from moe.results.predictions import read_predictions
from moe.runs import Ensemble
from moe.taxonomy import parse

COUNT = 7


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        predict.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first test images of digits as files."""
    folder = tmp_path_factory.mktemp("pictures")
    test = sources.load(moe.compose("experiment=demo").data, folder).test
    paths = [folder / f"{index}.png" for index in range(COUNT)]
    for path, image in zip(paths, test.images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    return paths


def test_json_says_what_the_run_recorded_of_the_same_images(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "EVALUATED", 3)  # so many at once
    code, out, err = command(capsys, run, *pictures, "--json")
    assert (code, err) == (0, "")
    said = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in said] == list(map(str, pictures))
    recorded, _ = read_predictions(run)
    branches = ["curved", "straight"]
    # An expert's part is what of the mixture comes from it, over all classes.
    mass = torch.einsum("nke,nek->ne", recorded.weights, recorded.experts)
    for row, probabilities, leaf, leaves, parts in zip(
        said,
        recorded.probabilities,
        recorded.route,
        recorded.leaves,
        mass / mass.sum(dim=1, keepdim=True),
        strict=False,
    ):
        label = int(probabilities.argmax())
        assert (row["label"], row["class"]) == (label, str(label))
        assert list(row["probabilities"]) == [str(digit) for digit in range(10)]
        assert list(row["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
        assert row["probability"] == row["probabilities"][str(label)]
        assert row["route"] == branches[leaf]
        assert row["route_probability"] == pytest.approx(leaves[leaf].item(), abs=1e-5)
        assert row["weights"] == pytest.approx(
            {"base": parts[0].item(), row["route"]: parts[1 + int(leaf)].item()}, abs=1e-5
        )
    assert {row["route"] for row in said} == set(branches)


def test_a_line_has_path_class_probability_route_and_weights(
    run: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capsys, run, *pictures)
    rows = [json.loads(line) for line in command(capsys, run, *pictures, "--json")[1].splitlines()]
    assert code == 0
    for line, path, row in zip(out.splitlines(), pictures, rows, strict=True):
        weights = [word for expert, part in row["weights"].items() for word in (expert, f"{part:.3f}")]
        assert line.split() == [str(path), row["class"], f"{row['probability']:.3f}", row["route"], *weights]


def test_what_cannot_be_used_is_named_and_the_others_go_on(
    run: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, wide = tmp_path / "no\nimage.png", tmp_path / "wide.png"
    text.write_text("no image")
    Image.new("RGB", (20, 10), (255, 0, 0)).save(wide)
    given = [text, pictures[0], tmp_path, wide, tmp_path / "none.png", pictures[1]]
    code, out, err = command(capsys, run, *given)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == [str(pictures[0]), str(pictures[1])]
    assert err.splitlines() == [
        f"moe: {tmp_path}/no\\nimage.png: is no image (PNG, JPEG, BMP, WEBP)",
        f"moe: {tmp_path}: is a folder; give image files",
        f"moe: {wide}: is 20x10 pixels, but the run takes 8x8; --resize makes it so",
        f"moe: {tmp_path / 'none.png'}: does not exist",
    ]
    code, out, err = command(capsys, run, wide, "--resize", "--json")
    assert (code, err, json.loads(out)["path"]) == (0, "", str(wide))
    assert command(capsys, run, text)[:2] == (1, "")


def test_explain_draws_each_path_under_a_name_of_its_own(
    run: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a" / "drawn"
    twin = tmp_path / "0.PNG"
    twin.write_bytes(pictures[0].read_bytes())
    code, out, err = command(capsys, run, pictures[0], twin, pictures[2], "--explain", folder)
    assert (code, err, len(out.splitlines())) == (0, "", 3)
    assert sorted(path.name for path in folder.iterdir()) == ["0-2.png", "0.png", "2.png"]
    for path in folder.iterdir():
        with Image.open(path) as drawn:
            assert drawn.format == "PNG" and min(drawn.size) > 400
    # The same picture took the same path, another one another.
    assert (folder / "0.png").read_bytes() == (folder / "0-2.png").read_bytes()
    assert (folder / "0.png").read_bytes() != (folder / "2.png").read_bytes()


def test_a_drawing_overwrites_nothing(
    run: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, other = tmp_path / "0.png", tmp_path / "1.png"
    image.write_bytes(pictures[0].read_bytes())
    other.write_bytes(b"another's")
    assert command(capsys, run, image, pictures[1], "--explain", tmp_path)[0] == 0
    assert (image.read_bytes(), other.read_bytes()) == (pictures[0].read_bytes(), b"another's")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-2.png", "0.png", "1-2.png", "1.png"]


def test_an_output_folder_that_cannot_be_made_is_found_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code, out, err = command(capsys, tmp_path / "no-run", "x.png", "--explain", tmp_path / "file")
    assert (code, out, err) == (2, "", f"moe: --explain={tmp_path / 'file'} is a file; give a folder\n")
    assert command(capsys, tmp_path / "no-run", "x.png", "--explain", tmp_path / "new")[0] == 1
    assert not (tmp_path / "new").exists()


def handmade() -> Predictions:
    """Two images, three classes, experts base, left and right."""
    said = [[[0.5, 0.3, 0.2], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]], [[0.1, 0.2, 0.7], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]]
    weights = torch.zeros(2, 3, 3)
    # Of the first image .3 * (.5 + .3 + .2) = .3 comes from the base and .1*.5 + .1*.5 = .1 from the left: 3 to 1.
    weights[0, :, 0], weights[0, :, 1] = 0.3, torch.tensor([0.05, 0.1, 0.1])
    weights[1] = 0.2  # each expert the same
    return Predictions(
        probabilities=torch.tensor([[0.125, 0.5, 0.375], [0.25, 0.25, 0.5]]),
        route=torch.tensor([0, 1]),
        weights=weights,
        leaves=torch.tensor([[0.75, 0.0], [0.0, 0.625]]),
        experts=torch.tensor(said),
    )


def rows(routing: str, predictions: Predictions) -> list[dict[str, Any]]:
    tree = parse({"left": ["a", "b"], "right": ["c"]}, ("a", "b", "c"))
    nothing, mixture = SimpleNamespace(), SimpleNamespace(routing=routing)
    return list(predict.rows(Ensemble(nothing, tree, nothing, {}, mixture), predictions))


def test_under_hard_routing_the_experts_on_the_way_have_weights() -> None:
    first, second = rows("hard", handmade())
    assert first == {
        "class": "b",
        "label": 1,
        "probability": 0.5,
        "probabilities": {"a": 0.125, "b": 0.5, "c": 0.375},
        "route": "left",
        "route_probability": 0.75,
        "weights": pytest.approx({"base": 0.75, "left": 0.25}),
    }
    assert (second["route"], second["route_probability"], list(second["weights"])) == (
        "right",
        0.625,
        ["base", "right"],
    )


def test_without_routing_every_expert_has_a_weight_and_there_is_no_route() -> None:
    flat = handmade()
    flat.route.fill_(-1)
    row = rows("none", flat)[1]
    assert (row["route"], row["route_probability"]) == (None, None)
    assert row["weights"] == pytest.approx({"base": 1 / 3, "left": 1 / 3, "right": 1 / 3})


def test_under_soft_routing_every_expert_has_a_weight() -> None:
    row = rows("soft", handmade())[0]
    assert (row["route"], row["route_probability"]) == ("left", 0.75)
    assert row["weights"] == pytest.approx({"base": 0.75, "left": 0.25, "right": 0.0})


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, tmp_path, "x.png")
    assert (code, out, err) == (1, "", f"moe: {tmp_path} holds no results.json: it is no finished run\n")


def test_a_wrong_command_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, run)
    assert code == 2 and "the following arguments are required: IMAGE" in err


def test_help_says_what_becomes_of_images(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "--help")
    assert code == 0
    for word in ("greyscale", "CMYK", "palette", "transparent", "24 megapixels", "EXIF", "--resize", "--explain DIR"):
        assert word in out


def test_as_a_command_of_its_own(
    run: Path, pictures: list[Path], process: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = process("moe.predict", run, pictures[0], run / "results.json", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["path"] == str(pictures[0])
    assert done.stderr == f"moe: {run / 'results.json'}: is no image (PNG, JPEG, BMP, WEBP)\n"
