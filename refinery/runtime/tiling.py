"""Large images are refined in tiles, so that memory holds the features of a tile and not those of the image.

Tiles overlap by what the network sees, and what a tile's own border has touched is left out; tiles at the image's
border see that border.

Local networks (`cell_px` of 1: the resnet refiner) give what the whole image gives, bit for bit where a kernel computes
a pixel alike wherever it lies: so measured on the CPU provider in fp32 and on OpenVINO in fp32 and bf16, in tiles of
any size and place. CUDA chooses kernels by shape: expect last bits to differ.

Other networks (a U-Net) are cut where their cells lie and blended over 64 px. With running batch norm that is what the
whole image gives up to rounding, as far as the network sees no more than 385 px (a U-Net of 6 levels). A norm by the
image's own statistics takes those of a tile, dropout noise lies otherwise in each tile, and where the cell is not known
it is taken as 256 px: then tiles differ from the whole image, and the blend sees to it that no seam shows. Measured on
a small U-Net that bends contrast, 512 px tiles, light falling off to 0.6 across the image: norms by the image's own
statistics differ by 0.025 in the mean of a range of 2 (3 of 255) and 0.24 at most, noise by 0.006 and 0.06.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from refinery.runtime.fit import Fit
from refinery.sample import FloatArray

TILE_PX = 2_000_000
WHOLE_PX = 9_000_000
"""A little more than 3840x2160: 64 features of that many pixels are 2.3 GB."""
CELL_PX = 256
"""A U-Net halves the size 8 times at most."""
FEATHER_PX, MOST_HALO_PX = 64, 192


@dataclass(frozen=True)
class Span:
    """A tile along one axis: where it starts, may be before the image, and what of the image it gives: [first, last).

    weights: (last - first,) float32, those of all spans together 1 everywhere.
    """

    start: int
    first: int
    last: int
    weights: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Tiles:
    """Tiles of one size, row by row; what of them lies outside of the image is filled by reflection."""

    tile_hw: tuple[int, int]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    blended: bool


def takes(size_hw: tuple[int, int], fit: Fit) -> bool:
    """True if images of a size can be refined, in one piece or in tiles."""
    return size_hw[0] * size_hw[1] <= WHOLE_PX or plan(size_hw, fit) is not None


def plan(size_hw: tuple[int, int], fit: Fit, tile_px: int = 0) -> Tiles | None:
    """Tiles for images of a size; None where they are refined in one piece or cannot be cut.

    tile_px: pixels of a tile at most, whatever the image's size; 0: TILE_PX for images that are too large in one piece,
    for local networks all those that are larger than a tile.
    """
    local = fit.cell_px == fit.multiple == 1
    if not fit.receptive_px or size_hw[0] * size_hw[1] <= (tile_px or (TILE_PX if local else WHOLE_PX)):
        return None
    cell = math.lcm(fit.cell_px or CELL_PX, fit.multiple)
    halo, feather = (fit.receptive_px // 2, 0) if local else (min(fit.receptive_px // 2, MOST_HALO_PX), FEATHER_PX)
    overlap = _whole(2 * halo + feather, cell)
    sides = _most(size_hw, cell, tile_px or TILE_PX)
    least = max(2 * overlap + 1, overlap + 4 * feather, 2 * fit.least_px)
    if any(most < least and most < side for most, side in zip(sides, size_hw, strict=True)):
        return None
    (high, rows), (wide, columns) = (
        _axis(side, most, overlap, cell, feather) for side, most in zip(size_hw, sides, strict=True)
    )
    return Tiles((high, wide), rows, columns, feather > 0)


def refine_tiled(refine: Callable[[FloatArray], FloatArray], image: FloatArray, tiles: Tiles) -> FloatArray:
    """The refined image (H, W, C'), put together from its refined tiles; refine: (h, w, C) to (h, w, C')."""
    whole: FloatArray | None = None
    for row in tiles.rows:
        for column in tiles.columns:
            tile = refine(_tile(image, row.start, column.start, tiles.tile_hw))
            if whole is None:
                whole = np.zeros((*image.shape[:2], tile.shape[2]), np.float32)
            part = tile[row.first - row.start : row.last - row.start, column.first - column.start :]
            part = part[:, : column.last - column.first]
            place = whole[row.first : row.last, column.first : column.last]
            if tiles.blended:
                place += part * (row.weights[:, None] * column.weights)[:, :, None]
            else:
                place[:] = part
    assert whole is not None
    return whole


def _tile(image: FloatArray, top: int, left: int, tile_hw: tuple[int, int]) -> FloatArray:
    before = [max(0, -start) for start in (top, left)]
    tile = image[max(0, top) : top + tile_hw[0], max(0, left) : left + tile_hw[1]]
    pads = [(b, side - b - had) for b, side, had in zip(before, tile_hw, tile.shape[:2], strict=True)]
    return np.pad(tile, (*pads, (0, 0)), mode="reflect") if np.any(pads) else tile


def _most(size_hw: tuple[int, int], cell: int, tile_px: int) -> tuple[int, int]:
    """Largest sides of a tile, in whole cells: as square as the image allows."""
    high, wide = (_whole(side, cell) for side in size_hw)
    short = min(high, wide, max(1, math.isqrt(tile_px) // cell) * cell)
    long = tile_px // short // cell * cell
    return (short, min(wide, long)) if high < wide else (min(high, long), short)


def _axis(side: int, most: int, overlap: int, cell: int, feather: int) -> tuple[int, tuple[Span, ...]]:
    """The tile's side and the spans, as even as cells allow; the image is brought to whole cells on both sides."""
    whole, before = _whole(side, cell), -side % cell // 2
    if whole <= most:
        return whole, (Span(-before, 0, side, np.ones(side, np.float32)),)
    step = _whole(-(-(whole - overlap) // -(-(whole - overlap) // (most - overlap))), cell)
    tile, count = step + overlap, -(-(whole - overlap) // step)
    starts = [min(i * step, whole - tile) - before for i in range(count)]
    middles = [(one + tile + other) // 2 for one, other in pairwise(starts)]
    firsts, lasts = [0, *(m - feather // 2 for m in middles)], [*(m + feather // 2 for m in middles), side]
    spans = []
    for i, (start, first, last) in enumerate(zip(starts, firsts, lasts, strict=True)):
        weights = np.ones(last - first, np.float32)
        ramp = ((np.arange(feather) + 0.5) / max(feather, 1)).astype(np.float32)
        if feather and i > 0:
            weights[:feather] = ramp
        if feather and i < count - 1:
            weights[-feather:] = 1 - ramp
        spans.append(Span(start, first, last, weights))
    return tile, tuple(spans)


def _whole(length: int, cell: int) -> int:
    return -(-length // cell) * cell
