"""A decoded image: the pixels that may change, and all that is needed to write another one like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 8


@dataclass(frozen=True)
class Decoded:
    """An image the way up in which it is displayed.

    pixels: (H, W, C) uint8 or uint16, C = 1 or 3: what the refiner may change.
    alpha: (H, W) uint8 that is carried through, or None.
    info: what encoding needs beside them, by the format's own rules.
    orientation: EXIF's number for how the file stores the pixels, 1 to 8; `encode` turns them back.
    colour_key: the value of the C channels that is transparent, where one is.
    left_out: what the file says or shows of its old pixels and a new one will not hold, in words.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16] = field(repr=False)
    format: str
    mode: str
    alpha: NDArray[np.uint8] | None = field(default=None, repr=False)
    info: dict[str, Any] = field(default_factory=dict, repr=False)
    orientation: int = 1
    colour_key: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in px, as displayed."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 16 if self.pixels.dtype == np.uint16 else 8
