"""PNG pictures: grids of images with captions, enlarged without blur."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from refinery.errors import OutputError
from refinery.image import as_channels

_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_CAPTION_PX = 22


def save_png(image: NDArray[np.uint8] | Image.Image, path: Path, smallest_width: int = 960) -> None:
    """Write an image (H, W, C) uint8, enlarged by a whole factor to about `smallest_width` px, whole or not at all."""
    picture = image if isinstance(image, Image.Image) else _enlarge(image, smallest_width)
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: the picture cannot be written ({error.strerror})") from error


def labelled_rows(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], width: int = 1280) -> Image.Image:
    """Rows of images (H, W, C) uint8 under a caption each; all images are brought to the first one's size."""
    first = rows[0][1][0]
    channels = max(image.shape[2] for _, images in rows for image in images)
    across = max(len(images) for _, images in rows)
    cell = max(1, width // across)
    cell_height = max(1, round(cell * first.shape[0] / first.shape[1]))
    canvas = Image.new("RGB", (cell * across, (cell_height + _CAPTION_PX) * len(rows)), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, (caption, images) in enumerate(rows):
        top = row * (cell_height + _CAPTION_PX)
        draw.text((6, top + 4), caption, fill=_INK, font=ImageFont.load_default(14))
        for column, image in enumerate(images):
            tile = to_pillow(as_channels(image, channels)).convert("RGB")
            tile = tile.resize((cell, cell_height), Image.Resampling.NEAREST)
            canvas.paste(tile, (column * cell, top + _CAPTION_PX))
    return canvas


def to_pillow(image: NDArray[Any]) -> Image.Image:
    """(H, W, 1 or 3) uint8 as a Pillow image."""
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    return Image.fromarray(np.ascontiguousarray(flat))


def _enlarge(image: NDArray[np.uint8], smallest_width: int) -> Image.Image:
    factor = max(1, round(smallest_width / image.shape[1]))
    height, width = image.shape[0] * factor, image.shape[1] * factor
    return to_pillow(image).resize((width, height), Image.Resampling.NEAREST)
