"""Did a labelled object change its colour in a way in which the rest of the image, and of the dataset, did not?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.sample import Finding, Label, Pair

TYPES: tuple[str, ...] = ("keypoint", "box", "polygon", "instance_mask")
GRANTS = False
SHARES = {"off_map": 0.1, "turned": 0.1}
DEFAULTS = {"off_map": np.inf, "turned": np.inf}
LIMITS = {"off_map": (0.08, 4.0), "turned": (0.25, 0.8)}
MIN_CHROMA = 0.02
POINTS = 500
MIN_POINTS = 6
INNER = 0.7
"""An object's colour is taken from within this share of its reach, away from its edge."""

WHOLE, OUTER = 0.95, 1.1
MIN_PRODUCT = 0.004
"""Squared chroma, in opponent colours of the range [-1, 1], below which a hue says little."""

TRUST = 25.0
"""The dataset's colour map counts as much as this many pixels of the image's own."""

_Map = NDArray[np.float64]
_Places = NDArray[np.bool_]


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """A fail for each labelled object whose colour lies off the map synthetic -> refined; nothing for gray images.

    The map takes (two opponent colours, brightness, 1) to the refined opponent colours. It is learned on the dataset
    (`learn`). off_map: how far the object's mean colour is from where the map puts it, over their size; the map is bent
    to each image by what of it lies outside the object, so that a cast or a gamma of the whole image does not count.
    turned: 1 - cos of the angle by which the object's hues are turned against the map, colourful pixels counting more;
    only the map's offset is bent. Without a calibration there is no verdict.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    if "colour.map.0" not in context.thresholds:
        return findings
    for i, label, values in _quantities(batch, context):
        over = [name for name in values if values[name] > context.threshold(f"colour.{name}", label.name, np.inf)]
        if over:
            findings[i].append(_objection(label, over[0], values[over[0]]))
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """("off_map" or "turned", label name, value) of each object."""
    for _, label, values in _quantities(batch, context):
        yield from ((name, label.name, value) for name, value in values.items())


def _objection(label: Label, quantity: str, value: float) -> Finding:
    how = f"{value:.2f} off" if quantity == "off_map" else f"its hue by {np.degrees(np.arccos(1 - value)):.0f} degrees"
    reason = f"colour changed otherwise than the image's ({how})"
    return Finding(label.name, label.type, "fail", None, label.unit or "px", reason, "colour", label.item)


def learn(pairs: Sequence[Pair]) -> Mapping[str, float]:
    """The dataset's colour map as thresholds "colour.map.K", K < 8; empty for gray images."""
    inputs, outputs = np.zeros((4, 4)), np.zeros((4, 2))
    for pair in pairs:
        if _is_coloured(pair):
            features, target = _colours([pair], _grid(pair.synthetic.shape[:2]))
            inputs += features[0].T @ features[0] / features.shape[1]
            outputs += features[0].T @ target[0] / features.shape[1]
    if not inputs.any():
        return {}
    found = np.linalg.solve(inputs + 1e-3 * np.eye(4), outputs + 1e-3 * np.eye(4, 2))
    return {f"colour.map.{k}": round(float(value), 6) for k, value in enumerate(found.ravel())}


def _quantities(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[int, Label, dict[str, float]]]:
    """(pair, label, {"off_map", "turned"}) of each label that says which pixels are its object's; 0 = on the map."""
    jobs = [(i, label) for i, pair in enumerate(batch.pairs) for label in pair.labels if _has_colour(label)]
    jobs = [job for job in jobs if _is_coloured(batch.pairs[job[0]])]
    if not jobs:
        return
    places, image_of = _grid(batch.size_hw), np.array([i for i, _ in jobs])
    features, target = (values[image_of] for values in _colours(batch.pairs, places))
    inner, whole, outer = _membership([label for _, label in jobs], places)
    prior = np.array([context.thresholds.get(f"colour.map.{k}", float(k in (0, 3))) for k in range(8)]).reshape(4, 2)
    off_map = _off_map(features, target, inner, _maps(features, target, ~outer, prior))
    turned = _turned(features @ prior, target, whole, ~outer)
    enough = (inner.sum(axis=1) >= MIN_POINTS).tolist()
    for m in np.flatnonzero(enough).tolist():
        yield (*jobs[m], {"off_map": float(off_map[m]), "turned": float(turned[m])})


def _off_map(features: _Map, target: _Map, inner: _Places, maps: _Map) -> _Map:
    """Distance of mean opponent colours from where the map puts them, over their size: (M,)."""
    weights = (inner / np.maximum(inner.sum(axis=1), 1)[:, None])[:, None]
    before, after = np.matmul(weights, features), np.matmul(weights, target)[:, 0]
    expected = np.matmul(before, maps)[:, 0]
    size = np.maximum(np.maximum(_length(expected), _length(after)), 4 * MIN_CHROMA)
    return np.asarray(np.where(_length(before[:, 0, :2]) > MIN_CHROMA, _length(after - expected) / size, 0.0))


def _turned(expected: _Map, target: _Map, whole: _Places, outside: _Places) -> _Map:
    """1 - cos of the angle of r = sum after conj(expected) over an object's pixels, colours as complex numbers: (M,).

    What the pixels outside are off by on average is expected of the object's too. Small sums count as not turned.
    """
    off = ((target - expected) * outside[:, :, None]).sum(axis=1) / (outside.sum(axis=1)[:, None] + TRUST)
    hoped = expected + off[:, None]
    products = (target[..., 0] + 1j * target[..., 1]) * (hoped[..., 0] - 1j * hoped[..., 1])
    mean = (products * whole).sum(axis=1) / np.maximum(whole.sum(axis=1), 1)
    return np.asarray(1.0 - (mean.real + MIN_PRODUCT) / (np.abs(mean) + MIN_PRODUCT))


def _is_coloured(pair: Pair) -> bool:
    """True if the source has colours of its own: a label map, or a gray image with a colour partner, has none."""
    image = pair.synthetic
    return image.shape[2] == 3 and not np.array_equal(image[..., 0], image[..., 1])


def _has_colour(label: Label) -> bool:
    """True if the label says which pixels are its object's."""
    if label.type not in TYPES or (label.type == "keypoint" and not label.extent_px > 0):
        return False
    return label.type == "instance_mask" or bool(np.isfinite(np.asarray(label.value, dtype=np.float64)).all())


def _length(vectors: _Map) -> _Map:
    return np.asarray(np.hypot(vectors[:, 0], vectors[:, 1]))


def _maps(features: _Map, target: _Map, outside: _Places, prior: _Map) -> _Map:
    """Ridge regression toward the dataset's map over the places outside each object: (M, 4, 2).

    features (M, P, 4), target (M, P, 2), outside (M, P).
    """
    seen = np.concatenate((features, target - features @ prior), axis=2)
    products = np.matmul(np.swapaxes(features * outside[:, :, None], 1, 2), seen)
    trust = TRUST * np.diag([0.05, 0.05, 0.05, 0.01])
    found: _Map = prior + np.linalg.solve(products[:, :, :4] + trust, products[:, :, 4:])
    return found


def _grid(size_hw: Sequence[int]) -> NDArray[np.intp]:
    """Rows and columns (2, P) of about POINTS pixels spread over the frame."""
    step = max(1, int(np.sqrt(size_hw[0] * size_hw[1] / POINTS)))
    rows, columns = np.mgrid[step // 2 : size_hw[0] : step, step // 2 : size_hw[1] : step]
    return np.stack((rows.ravel(), columns.ravel()))


def _colours(pairs: Sequence[Pair], places: NDArray[np.intp]) -> tuple[_Map, _Map]:
    """Features (N, P, 4) of the synthetic, opponent colours (N, P, 2) of the refined images at the places."""
    before, after = (
        np.stack([image[places[0], places[1]] for image in images]).astype(np.float64)
        for images in ([pair.synthetic for pair in pairs], [pair.refined for pair in pairs])
    )
    level = before.mean(axis=2, keepdims=True)
    return np.concatenate((_opponent(before), level, np.ones_like(level)), axis=2), _opponent(after)


def _opponent(colours: _Map) -> _Map:
    """Red against green, yellow against blue: (N, P, 2)."""
    red, green, blue = np.moveaxis(colours, 2, 0)
    return np.stack(((red - green) / np.sqrt(2), (red + green - 2 * blue) / np.sqrt(6)), axis=2)


def _membership(labels: Sequence[Label], places: NDArray[np.intp]) -> tuple[_Places, _Places, _Places]:
    """Which places lie well inside each label's object, which on it, and which on it or next to it: (M, P) each."""
    y, x = places.astype(np.float64)
    boxes = np.array([_extent(label) for label in labels])
    half = np.maximum(boxes[:, 1] - boxes[:, 0], 1.0)[:, :, None] / 2
    middle = boxes.mean(axis=1)[:, :, None]
    away = ((x - middle[:, 0]) / half[:, 0]) ** 2 + ((y - middle[:, 1]) / half[:, 1]) ** 2
    inner, whole, outer = (away <= reach**2 for reach in (INNER, WHOLE, OUTER))
    for m, label in enumerate(labels):
        if label.type == "instance_mask":
            inner[m], whole[m] = _in_mask(np.asarray(label.value, dtype=bool), places)
            outer[m] = whole[m]
    return inner, whole, outer


def _in_mask(mask: _Places, places: NDArray[np.intp]) -> tuple[_Places, _Places]:
    """Places in a mask and 2 px from its edge, and all in it."""
    rows, columns = places
    found = mask[rows, columns]
    inner = found.copy()
    last_row, last_column = mask.shape[0] - 1, mask.shape[1] - 1
    for dy, dx in ((-2, 0), (2, 0), (0, -2), (0, 2)):
        inner &= mask[np.clip(rows + dy, 0, last_row), np.clip(columns + dx, 0, last_column)]
    return inner, found


def _extent(label: Label) -> tuple[NDArray[Any], NDArray[Any]]:
    """Corners of the label's bounding box; any for a mask."""
    if label.type == "instance_mask":
        return np.zeros(2), np.ones(2)
    points = np.asarray(label.value, dtype=np.float64).reshape(-1, 2)
    return points.min(axis=0) - label.extent_px, points.max(axis=0) + label.extent_px
