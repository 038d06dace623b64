"""Edits of appearance that move nothing, fitted to what a refiner did: the null of the label checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.sample import FloatArray, Pair

BLURS_PX = (0.0, 0.6, 1.0, 1.5, 2.2)
TEXTURE_CELLS_PX = (3, 9)
TEXTURE_SHARE = 0.7
LIGHT = 0.15
BLOCK_GAIN, BLOCK_STEPS = 1.5, (0.1, 0.25)
_FIT_POINTS = 2048


@dataclass(frozen=True, slots=True)
class Look:
    """What a refiner did to one image, as far as it moves nothing.

    tone: (C, 3) coefficients of 1, v, v^2 from synthetic to refined values. blur_px: the Gaussian that explains most.
    noise: deviation of what is left between neighbouring pixels. residual: (H, W, C) refined minus toned synthetic.
    """

    tone: NDArray[np.float64]
    blur_px: float
    noise: float
    residual: FloatArray = field(repr=False)

    def toned(self, image: FloatArray) -> FloatArray:
        """The image through the tone curve, which is not let turn back."""
        low, slope, bend = self.tone.T
        return np.asarray(low + slope * image + bend * image**2, dtype=np.float32)


def fit_look(pair: Pair) -> Look:
    """Tone curve, blur and noise that take the synthetic image nearest to the refined one."""
    best: tuple[float, float, NDArray[np.float64], FloatArray] | None = None
    for blur_px in BLURS_PX:
        soft = blurred(pair.synthetic, blur_px)
        tone, error = _fit_tone(soft, pair.refined)
        if best is None or error < 0.98 * best[0]:
            best = (error, blur_px, tone, soft)
    assert best is not None
    _, blur_px, tone, soft = best
    look = Look(tone, blur_px, 0.0, np.zeros((0, 0, 0), np.float32))
    residual = pair.refined - look.toned(pair.synthetic)
    return Look(tone, blur_px, _noise_of(pair.refined - look.toned(soft)), residual.astype(np.float32))


def null_pairs(pairs: Sequence[Pair], rng: np.random.Generator) -> Iterator[tuple[str, list[Pair]]]:
    """(kind, pairs) in which nothing moved: every synthetic image with the look of another pair, in five ways.

    look: its tone, blur and noise. transplant: its tone, and all that was left of it, edges and all. texture: its tone,
    with a smooth texture as strong as what was left. blocks: its tone, blur and noise, then 8 x 8 blocks quantised as
    coarsely as what was left.
    light: its tone and noise, under a smooth change of light and a
    cast. Pairs are of one shape.
    """
    looks = [fit_look(pair) for pair in pairs]
    for kind, change in _CHANGES.items():
        others = (np.arange(len(pairs)) + rng.integers(1, max(2, len(pairs)))) % len(pairs)
        edited = (change(pair.synthetic, looks[j], rng) for pair, j in zip(pairs, others, strict=True))
        yield (
            kind,
            [
                replace(pair, refined=np.clip(image, -1, 1).astype(np.float32))
                for pair, image in zip(pairs, edited, strict=True)
            ],
        )


def blurred(image: FloatArray, sigma_px: float) -> FloatArray:
    """Gaussian blur of (H, W, C); edges are repeated."""
    if sigma_px <= 0:
        return image
    reach = int(np.ceil(3 * sigma_px))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    down = sum(tap * padded[k : k + height] for k, tap in enumerate(taps))
    return np.asarray(sum(tap * down[:, k : k + width] for k, tap in enumerate(taps)), dtype=np.float32)


def smooth_noise(size_hw: tuple[int, int], cell_px: int, rng: np.random.Generator) -> FloatArray:
    """Noise of deviation 1 or so that varies over `cell_px`, between grid values by smooth steps: (H, W, 1)."""
    grid = rng.standard_normal([side // cell_px + 3 for side in size_hw])
    for axis, side in enumerate(size_hw):
        place = np.arange(side) / cell_px + rng.uniform()
        first = place.astype(np.intp)
        share = (place - first).reshape((-1, 1) if axis == 0 else (1, -1))
        share = share**2 * (3 - 2 * share)
        grid = grid.take(first, axis) * (1 - share) + grid.take(first + 1, axis) * share
    return np.asarray(grid[..., None] / max(float(grid.std()), 1e-6), dtype=np.float32)


def _looked(image: FloatArray, look: Look, rng: np.random.Generator) -> NDArray[Any]:
    soft = look.toned(blurred(image, look.blur_px))
    return np.asarray(soft + look.noise * rng.standard_normal(image.shape))


def _transplanted(image: FloatArray, look: Look, rng: np.random.Generator) -> NDArray[Any]:  # noqa: ARG001
    return np.asarray(look.toned(image) + look.residual)


def _textured(image: FloatArray, look: Look, rng: np.random.Generator) -> NDArray[Any]:
    size = (image.shape[0], image.shape[1])
    pattern = np.sum([smooth_noise(size, cell, rng) for cell in TEXTURE_CELLS_PX], axis=0) / np.sqrt(2)
    return np.asarray(look.toned(image) + TEXTURE_SHARE * float(look.residual.std()) * pattern)


def _lit(image: FloatArray, look: Look, rng: np.random.Generator) -> NDArray[Any]:
    size = (image.shape[0], image.shape[1])
    light = np.clip(smooth_noise(size, max(4, max(size) // 2), rng) / 2, -1, 1)
    gain = (1 + LIGHT * rng.uniform(-1, 1, image.shape[2])) * (1 + LIGHT * light)
    noise = look.noise * rng.standard_normal(image.shape)
    return np.asarray((look.toned(image) + 1) * gain - 1 + noise)


def _blocked(image: FloatArray, look: Look, rng: np.random.Generator) -> NDArray[Any]:
    """A JPEG: colours halved in size, cosine coefficients of 8 x 8 blocks rounded, high ones more coarsely."""
    height, width, channels = image.shape
    padded = np.pad(_looked(image, look, rng), ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    level = padded.mean(axis=2, keepdims=True)
    colours = (padded - level).reshape(padded.shape[0] // 2, 2, -1, 2, channels).mean(axis=(1, 3))
    padded = level + colours.repeat(2, axis=0).repeat(2, axis=1)
    blocks = padded.reshape(padded.shape[0] // 8, 8, -1, 8, channels).transpose(0, 2, 4, 1, 3)
    rank = np.arange(8)
    cosines = np.cos(np.pi * (rank + 0.5) * rank[:, None] / 8) * np.where(rank == 0, np.sqrt(1 / 8), 0.5)[:, None]
    step = np.clip(BLOCK_GAIN * float(look.residual.std()), *BLOCK_STEPS) * (1 + (rank[:, None] + rank) / 3)
    rounded = np.rint(cosines @ blocks @ cosines.T / step) * step
    back = (cosines.T @ rounded @ cosines).transpose(0, 3, 1, 4, 2).reshape(padded.shape)
    return np.asarray(back[:height, :width])


_CHANGES: Mapping[str, Callable[[FloatArray, Look, np.random.Generator], NDArray[Any]]] = {
    "look": _looked,
    "transplant": _transplanted,
    "texture": _textured,
    "light": _lit,
    "blocks": _blocked,
}


def _fit_tone(source: FloatArray, target: FloatArray) -> tuple[NDArray[np.float64], float]:
    """(C, 3) coefficients of 1, v, v^2 for each channel, and the mean squared error."""
    channels = source.shape[2]
    step = max(1, source.size // channels // _FIT_POINTS)
    before, after = (x.reshape(-1, channels)[::step].astype(np.float64) for x in (source, target))
    tone, error = np.zeros((channels, 3)), 0.0
    for c in range(channels):
        basis = before[:, c, None] ** np.arange(3)
        held = basis.T @ basis / len(basis) + 1e-6 * np.eye(3)
        tone[c] = np.linalg.solve(held, basis.T @ after[:, c] / len(basis))
        error += float(((after[:, c] - basis @ tone[c]) ** 2).mean()) / channels
    return tone, error


def _noise_of(residual: NDArray[Any]) -> float:
    """Deviation of white noise from second differences (Immerkaer 1996, by the median, so that edges do not count)."""
    if min(residual.shape[:2]) < 3:
        return 0.0
    inner = residual[1:] - residual[:-1]
    second = inner[:, 1:] - inner[:, :-1]
    return float(np.median(np.abs(second)) / 0.6745 / 2)
