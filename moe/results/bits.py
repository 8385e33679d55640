"""Which images were classified right, as text that is short enough for `results.json`.

Legend: N images.
"""

import base64
import binascii

import numpy as np
import torch
from torch import Tensor

from moe.errors import StoreError


def pack(right: Tensor) -> str:
    """A bit an image of `right` (N,), the first image in the first byte's highest bit, as base64."""
    return base64.b64encode(np.packbits(right.numpy()).tobytes()).decode()


def unpack(text: str, count: int) -> Tensor:
    """Whether each of `count` images was right (N,), from what `pack` made. Raises StoreError where it did not."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StoreError("`right` of a results.json is damaged: it is no base64") from None
    if len(content) != -(-count // 8):
        raise StoreError(f"`right` of a results.json is damaged: it holds {len(content)} bytes for {count} images")
    return torch.from_numpy(np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=count).astype(bool))
