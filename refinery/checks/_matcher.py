"""The learned matcher: one motion of each thing between a synthetic image and its refined one, with its covariance.

Two graphs of ONNX (made by `refinery.matcher`) run on the processor: features once an image, sectors on the things'
points. NumPy makes one motion of a thing's sectors (`_consensus`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from refinery.checks._consensus import PRIOR, consensus, design_of
from refinery.checks._outlines import OFFSETS_PX, POSITIONS, SECTORS
from refinery.checks._things import Thing
from refinery.sample import FloatArray

VERSION = 2
"""Of the graphs: one more with every change of them, since thresholds hold for those that they were measured with."""

RADIUS_PX = 5
SIDE = 2 * RADIUS_PX + 1
FEATURES = 16
_THINGS_AT_ONCE = 32
LEAST_SAY, LEAST_PRECISION = 0.25, 1e-3
_PRIOR = np.diag(np.array(PRIOR))


@dataclass(frozen=True, slots=True)
class Motions:
    """How T things moved: about their centres (T, 2), by (T, 6) shift x, y px, growth, turn, stretches (shares).

    covariance: (T, 6, 6). shown: (T,) how much of the thing is still to be seen, of what the source shows: the mean of
    its sectors' probabilities. inside: (T,) share of its points in the frame.
    sector_across: (T, K) px, how far each sector's outline moved across itself, outward; sector_sigma: (T, K) px, its
    standard error; sector_shown: (T, K) probability that it is still to be seen, 0 where the source shows nothing.
    """

    centre: NDArray[np.float64] = field(repr=False)
    motion: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)
    shown: FloatArray = field(repr=False)
    inside: FloatArray = field(repr=False)
    sector_across: NDArray[np.float64] = field(repr=False)
    sector_sigma: NDArray[np.float64] = field(repr=False)
    sector_shown: NDArray[np.float64] = field(repr=False)

    @property
    def sigma_px(self) -> NDArray[np.float64]:
        """Standard error of the shift along the axis where it is largest: (T,) px."""
        return np.asarray(np.sqrt(np.linalg.eigvalsh(self.covariance[:, :2, :2])[:, -1]))


def joined(parts: Sequence[Motions]) -> Motions:
    """Motions of several groups of things as those of one."""
    columns = ([getattr(part, each.name) for part in parts] for each in fields(Motions))
    return Motions(*(np.concatenate(column) for column in columns))


@lru_cache(maxsize=2)
def _session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    graph = resources.files("refinery.checks").joinpath("matcher", f"{name}.onnx").read_bytes()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def features_of(images: FloatArray) -> FloatArray:
    """Features of images (N, H, W, C) in [-1, 1]: (N, H, W, 18), see `refinery.matcher.network.Features`."""
    planes = np.ascontiguousarray(np.moveaxis(images, 3, 1), np.float32)
    if planes.shape[1] != 3:
        planes = np.repeat(planes.mean(axis=1, keepdims=True), 3, axis=1)
    found = _session("features").run(None, {"image": planes})[0]
    return np.ascontiguousarray(np.moveaxis(found, 1, 3))


def motions_of(
    source: FloatArray, refined: FloatArray, things: Sequence[Thing], image_of: NDArray[np.intp], own: FloatArray
) -> Motions:
    """Motions of things. source, refined: features (N, H, W, 18). image_of: (T,). own: (T, L, O), see `own_share`."""
    height, width = source.shape[1:3]
    pad = RADIUS_PX
    padded = np.pad(refined[..., :FEATURES], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    steps = (np.arange(SIDE)[:, None] * padded.shape[2] + np.arange(SIDE)).reshape(-1)
    flat_source, flat_refined = source.reshape(-1, source.shape[3]), padded.reshape(-1, FEATURES)
    points = np.stack([thing.points_xy for thing in things])
    centre = np.stack([thing.centre for thing in things])
    nearest = np.rint(points)
    inside = ((nearest >= 0) & (nearest <= (width - 1, height - 1))).all(axis=-1)
    x, y = (np.clip(nearest[..., k], 0, (width, height)[k] - 1).astype(np.int64) for k in (0, 1))
    image = image_of[:, None, None]
    inputs = {
        "source_at": (image * height + y) * width + x,
        "refined_at": (image * padded.shape[1] + y) * padded.shape[2] + x,
        "counts": (inside * own).astype(np.float32),
        "away": (points - centre[:, None, None]).astype(np.float32),
        "normals": np.stack([thing.normals for thing in things]).astype(np.float32),
        "is_area": np.array([thing.is_area for thing in things], np.float32),
    }
    shared = {"source": flat_source, "refined": flat_refined, "steps": steps}
    said: list[list[Any]] = []
    for start in range(0, len(things), _THINGS_AT_ONCE):
        part = {name: values[start : start + _THINGS_AT_ONCE] for name, values in inputs.items()}
        said.append(_session("sectors").run(None, shared | part))
    moves, factors, logits, designs = (np.concatenate([one[k] for one in said]).astype(np.float64) for k in range(4))
    precision = _precision(factors)
    motion, information = consensus(designs, moves, precision, _PRIOR, np.linalg.solve)
    say = inputs["counts"].reshape(*logits.shape, -1).mean(axis=2)
    shown = (say / (1 + np.exp(-logits))).sum(axis=1) / np.maximum(say.sum(axis=1), 1e-6)
    share = inside.mean(axis=(1, 2)).astype(np.float32)
    shape = (*logits.shape, POSITIONS // SECTORS, 2)
    normals = inputs["normals"].astype(np.float64).reshape(shape).mean(axis=2)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    outline = inputs["away"][:, :, OFFSETS_PX.index(0.0)].astype(np.float64).reshape(shape).mean(axis=2)
    alone = moves - (designs @ motion[:, None, :, None])[..., 0]
    together = (design_of(outline, np.stack) @ motion[:, None, :, None])[..., 0]
    variance = np.einsum("tki,tkij,tkj->tk", normals, np.linalg.inv(precision + LEAST_PRECISION * np.eye(2)), normals)
    return Motions(
        centre,
        motion,
        np.linalg.inv(information),
        shown.astype(np.float32),
        share,
        ((together + alone) * normals).sum(axis=-1),
        np.sqrt(variance),
        np.where(say > LEAST_SAY, 1 / (1 + np.exp(-logits)), 0.0),
    )


def _precision(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = factors[..., 0], factors[..., 1], factors[..., 2]
    return np.stack((a * a, a * c, a * c, c * c + b * b), axis=-1).reshape(*a.shape, 2, 2)
