"""`python -m moe.predict RUN IMAGE...`: what a finished run says of image files, and how it came to that.

Torch is imported late, so that `--help` and a wrong command line answer at once.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moe import command
from moe.errors import ConfigError, DataError, printable
from moe.schema import Plain

if TYPE_CHECKING:
    from torch import Tensor

    from moe.inference import Averaged, Predictions
    from moe.runs import Finished
    from moe.taxonomy import Tree

EPILOG = """\
Each line is the file, its class and that class's probability; of a mixture also the branch that routing chose
and each expert's part, under a cascade often the base's alone; of a cascade of bases how many of them were asked.
A file that cannot be used is named on stderr, the others go on, and the exit code is 1.

Images are PNG, JPEG, BMP or WEBP, still, of at most 24 megapixels. They are turned as their EXIF says. 16-bit
greyscale is scaled by 1/257; CMYK, palette and one-bit images become plain colours; what is transparent is laid
on black. Greyscale becomes RGB where the run learnt from RGB images; RGB becomes greyscale (ITU-R 601 luma) where
it learnt from greyscale ones.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where an image or the run cannot be used, 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if args.explain and args.explain.exists() and not args.explain.is_dir():
        raise ConfigError(f"--explain={args.explain} is a file; give a folder")

    from moe import runs
    from moe.data.batches import EVALUATED, at_once

    finished = runs.load(args.run)
    count = at_once(EVALUATED, finished.in_shape[1:])
    width = min(60, max(len(str(path)) for path in args.images))
    drawings = _Drawings(args.explain, finished) if args.explain else None
    unusable = 0
    for start in range(0, len(args.images), count):
        paths, images, failed = _read(args.images[start : start + count], finished.in_shape, args.resize)
        unusable += failed
        if not paths:
            continue
        predictions = finished.predict(images)
        for path, row in zip(paths, rows(finished, predictions), strict=True):
            print(json.dumps({"path": str(path), **row}) if args.json else _line(finished.tree, path, row, width))
        if drawings:
            drawings.draw(paths, images, predictions)
    return 1 if unusable else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.predict",
        description="Classify image files with a finished run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run of a mixture or a base")
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="an image file")
    parser.add_argument(
        "--resize",
        action="store_true",
        help="stretch images of other sizes to the run's (bilinear, antialiased); without it they are refused",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with all probabilities")
    parser.add_argument(
        "--explain",
        metavar="DIR",
        type=Path,
        help="draw each image's path through a mixture's tree into DIR/STEM.png, numbered where there is one",
    )
    return parser


def _read(paths: Sequence[Path], in_shape: tuple[int, int, int], resize: bool) -> "tuple[list[Path], Tensor, int]":
    """The paths that can be used, their images (N, C, H, W), and how many cannot, each named on stderr."""
    import torch

    from moe.data import pictures

    used, images = [], []
    for path in paths:
        try:
            images.append(pictures.read(path, in_shape, resize))
            used.append(path)
        except DataError as error:
            print(f"moe: {error}", file=sys.stderr)
    stacked = torch.stack(images) if images else torch.empty(0, *in_shape, dtype=torch.uint8)
    return used, stacked, len(paths) - len(used)


def rows(finished: "Finished", predictions: "Predictions | Averaged") -> Iterator[Plain]:
    """What is said of each image, as plain values, and how it came to that."""
    classes = finished.tree.classes
    for probabilities, how in zip(predictions.probabilities.tolist(), finished.how(predictions), strict=True):
        label = max(range(len(probabilities)), key=probabilities.__getitem__)
        yield {
            "class": classes[label],
            "label": label,
            "probability": probabilities[label],
            "probabilities": dict(zip(classes, probabilities, strict=True)),
            **how,
        }


def _line(tree: "Tree", path: Path, row: Plain, width: int) -> str:
    name = row["class"].ljust(max(map(len, tree.classes)))
    said = [printable(path).ljust(width), name, f"{row['probability']:.3f}"]
    if "route" in row:
        said.append((row["route"] or "-").ljust(max(len(leaf.name) for leaf in tree.leaves)))
        said += [f"{expert} {weight:.3f}" for expert, weight in row["weights"].items()]
    if "asked" in row:
        said.append(f"{row['asked']} of {row['members']} asked")
    return "  ".join(said)


class _Drawings:
    """Draws images' paths through a mixture into a folder, each under its own file's stem, made unique.

    What lies in the folder stays, be it an image or an earlier drawing. Raises ConfigError where the run has no
    mixture, OSError where the folder cannot be made.
    """

    def __init__(self, folder: Path, finished: "Finished") -> None:
        if finished.config.target != "gates":
            raise ConfigError("--explain draws an image's path through a mixture, and a base has none; leave it out")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.tree = folder, finished.tree
        self.taken = {path.stem.lower() for path in folder.iterdir() if path.suffix.lower() == ".png"}

    def draw(self, paths: Sequence[Path], images: "Tensor", predictions: "Predictions") -> None:
        """Write one PNG an image (N, C, H, W)."""
        from moe.report.figure import style
        from moe.report.paths import draw_path, only
        from moe.store import write_whole

        for index, path in enumerate(paths):
            figure, drawn = draw_path(self.tree, images[index], only(predictions, index)), io.BytesIO()
            with style():
                figure.savefig(drawn, format="png", dpi=150)
            write_whole(self.folder / f"{self._name(path.stem)}.png", drawn.getvalue())

    def _name(self, stem: str) -> str:
        plain = "".join(c if c.isprintable() else "_" for c in stem)[:60]
        name, number = plain, 1
        while name.lower() in self.taken:  # some file systems do not tell A from a
            number += 1
            name = f"{plain}-{number}"
        self.taken.add(name.lower())
        return name


if __name__ == "__main__":
    main()
