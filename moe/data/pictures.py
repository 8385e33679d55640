"""Single image files as a run's input: pictures of any kind become uint8 (C, H, W), one at a time.

Shapes: C channels, H height, W width.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from moe.data.folders import FORMATS
from moe.errors import DataError, printable

LARGEST = 24_000_000  # pixels, asked of the header before anything is decoded


def read(path: Path, in_shape: tuple[int, int, int], resize: bool = False) -> Tensor:
    """The picture in a file as uint8 (C, H, W) of `in_shape`, turned as its EXIF says.

    Transparent parts are laid on black, 16-bit greyscale is scaled by 1/257, any other mode becomes RGB or, for
    one channel, greyscale (ITU-R 601 luma). With `resize` a picture of another size is stretched to H x W,
    bilinear and antialiased. Raises DataError, naming the file and why it cannot be used.
    """
    channels, height, width = in_shape
    try:
        _check_file(path)
        picture = _decoded(path, channels)
        if picture.size != (width, height):
            if not resize:
                size = f"{picture.width}x{picture.height}"
                raise DataError(f"is {size} pixels, but the run takes {width}x{height}; --resize makes it so")
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    except DataError as error:
        raise DataError(f"{printable(path)}: {error}") from None
    pixels = np.array(picture)
    return torch.from_numpy(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1).copy())


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError("is a folder; give image files")
        if not path.is_file():
            raise DataError("is no ordinary file" if path.exists() else "does not exist")
    except OSError as error:  # a name too long, a folder that may not be searched
        raise DataError(f"cannot be read ({error.strerror})") from None


def _decoded(path: Path, channels: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limits are above this module's
            with Image.open(path, formats=FORMATS) as image:
                _check(image)
                return _with_channels(ImageOps.exif_transpose(image), channels)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"is no image ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise DataError(f"has more than {LARGEST // 10**6} million pixels") from None
    # On damaged bytes decoders raise OSError, SyntaxError, ValueError, struct.error and more.
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"cannot be read ({printable(str(reason))})") from None


def _check(image: Image.Image) -> None:
    if image.width * image.height > LARGEST:
        raise DataError(f"has {image.width}x{image.height} pixels, more than {LARGEST // 10**6} million")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"is animated ({frames} frames); give a still image")


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image as RGB, or as greyscale for one channel."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.array(image) / 257).round().clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")
