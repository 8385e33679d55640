"""`python -m moe.predict RUN IMAGE...`: what a finished run says of image files, and how it came to that.

Torch is imported late, so that `--help` and a wrong command line answer at once.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moe import command
from moe.errors import DataError, printable
from moe.schema import Plain

if TYPE_CHECKING:
    from torch import Tensor

    from moe.inference import Predictions
    from moe.runs import Ensemble

AT_ONCE = 500
EPILOG = """\
Each line is the file, its class and that class's probability, the branch that routing sent it to, and each
expert's part of the mixture. A file that cannot be used is named on stderr, the others go on, and the
exit code is 1.

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
    if args.explain:
        args.explain.mkdir(parents=True, exist_ok=True)

    from moe import runs

    ensemble = runs.load(args.run)
    width = min(60, max(len(str(path)) for path in args.images))
    drawings = _Drawings(args.explain) if args.explain else None
    unusable = 0
    for start in range(0, len(args.images), AT_ONCE):
        paths, images, failed = _read(args.images[start : start + AT_ONCE], ensemble.in_shape, args.resize)
        unusable += failed
        if not paths:
            continue
        predictions = ensemble.predict(images)
        for path, row in zip(paths, rows(ensemble, predictions), strict=True):
            print(json.dumps({"path": str(path), **row}) if args.json else _line(ensemble, path, row, width))
        if drawings:
            drawings.draw(ensemble, paths, images, predictions)
    return 1 if unusable else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.predict",
        description="Classify image files with a finished run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run of a mixture")
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="an image file")
    parser.add_argument(
        "--resize",
        action="store_true",
        help="stretch images of other sizes to the run's (bilinear, antialiased); without it they are refused",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with all probabilities")
    parser.add_argument(
        "--explain", metavar="DIR", type=Path, help="draw each image's path through the tree into DIR/STEM.png"
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


def rows(ensemble: "Ensemble", predictions: "Predictions") -> Iterator[Plain]:
    """What is said of each image, as plain values.

    `weights` are the parts in the mixture of the experts that had a say, `route` the leaf, None where
    there is no routing; under soft routing it is the most probable one.
    """
    from moe.nets.gates import shares

    tree, mixture = ensemble.tree, ensemble.mixture
    everyone = range(len(tree.experts))
    for probabilities, leaf, leaves, share, given in zip(
        predictions.probabilities.tolist(),
        predictions.route.tolist(),
        predictions.leaves.tolist(),
        shares(predictions.weights, predictions.experts).tolist(),
        predictions.weights.sum(dim=1).tolist(),
        strict=True,
    ):
        label = max(range(len(probabilities)), key=probabilities.__getitem__)
        # Of a cascade it may be the base alone.
        asked = [e for e in tree.paths[leaf] if given[e] > 0] if mixture.routing == "hard" else everyone
        yield {
            "class": tree.classes[label],
            "label": label,
            "probability": probabilities[label],
            "probabilities": dict(zip(tree.classes, probabilities, strict=True)),
            "route": tree.leaves[leaf].name if leaf >= 0 else None,
            "route_probability": leaves[leaf] if leaf >= 0 else None,
            "weights": {tree.experts[e].name: share[e] for e in asked},
        }


def _line(ensemble: "Ensemble", path: Path, row: Plain, width: int) -> str:
    tree = ensemble.tree
    name = row["class"].ljust(max(map(len, tree.classes)))
    route = (row["route"] or "-").ljust(max(len(leaf.name) for leaf in tree.leaves))
    weights = "  ".join(f"{expert} {weight:.3f}" for expert, weight in row["weights"].items())
    return f"{printable(path).ljust(width)}  {name}  {row['probability']:.3f}  {route}  {weights}"


class _Drawings:
    """Draws images' paths into a folder, each under its own file's stem, made unique."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.taken = folder, set[str]()

    def draw(self, ensemble: "Ensemble", paths: Sequence[Path], images: "Tensor", predictions: "Predictions") -> None:
        """Write one PNG an image (N, C, H, W)."""
        from moe.report.figure import style
        from moe.report.paths import draw_path, only

        for index, path in enumerate(paths):
            figure = draw_path(ensemble.tree, images[index], only(predictions, index))
            with style():
                figure.savefig(self.folder / f"{self._name(path.stem)}.png", dpi=150)

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
