"""Did a thing stay where its labels say, keep its size and its direction? One motion a thing, by a learned matcher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from refinery.checks._batch import CheckBatch, shrunk
from refinery.checks._consensus import design_of
from refinery.checks._context import CheckContext
from refinery.checks._matcher import RADIUS_PX, Motions, features_of, joined, motions_of
from refinery.checks._outlines import POSITIONS, SECTORS
from refinery.checks._overlap import AREAS, bent_iou
from refinery.checks._things import GEOMETRIC, MIN_EXTENT_PX, Thing, own_share, things_of
from refinery.sample import Finding, FloatArray, Label, Verdict

TYPES: tuple[str, ...] = GEOMETRIC
GRANTS = True
ASKED_LAST = True
SHARES = {"surprise": 0.2}
"""Of a label's false alarms, what this check may have."""

DEFAULTS = {"surprise": 1.3}
"""Of the distance from no motion to the 95% region of the motion; beyond 1.3 lie 0.3 to 0.9% of labels that stayed."""

LIMITS = {"surprise": (1.0, 6.0)}
CHI2_95 = {2: 5.991, 6: 12.592}
MIN_INSIDE = 0.5
MIN_SHOWN, MIN_SHOWN_TO_PASS = 0.5, 0.75
DEFAULT_SCALE = 1.5
"""Of standard errors where nothing was calibrated: on sets that were, factors from 0.8 to 1.2 came out."""

MAX_CLIPPED = 0.5
MIN_SPREAD = 0.01
"""Standard deviation of the synthetic image at a thing's points, values in [-1, 1]; below, nothing can be seen."""

LARGE_PX = 1_500_000
"""Of larger images only the parts around things are looked at, so that features do not fill the memory."""

MOST_PARTS = 48
"""Things that are looked at one by one; where more of them are in large images, these are made smaller as a whole."""

AROUND_PX = 20
"""What the features of a thing's points see around them."""

SIDES_HIDE = 1.3
"""How many times as far an outline may have grown or turned as it seems to: along straight sides less is seen."""

PARTS_SIGMAS = 1.645
UNCLEAR_PX = 0.5
FURTHER, LEAST_SIDE_PX = 2, 16
"""What is not found is looked for at this share of the resolution, where the image then still has as many px."""

DRAWS = 100
TAIL_FREEDOM = 6.0
_CORNERS = [[0, 1], [2, 1], [2, 3], [0, 3]]
_MOST = int(0.95 * (POSITIONS - 1))
_Job = tuple[Label, int]


@dataclass(frozen=True, slots=True)
class MovedThings:
    """All things of a batch: their pairs' indices, and how they moved; see `Motions`.

    refused: (pair, label) of geometric labels that cannot be looked at. clipped, spread: (T,) share of a thing's points
    that are newly black or white, and how much the synthetic image varies at them.
    """

    things: list[Thing]
    image_of: NDArray[np.intp]
    refused: list[tuple[int, Label]]
    motions: Motions
    clipped: FloatArray
    spread: FloatArray


def check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]:
    """One finding for each label of a thing whose outline or box is known; for a pair without any, one named "image".

    The drift of a keypoint is the length of its move; that of a box is the move of the corner that moved most, and
    that of an outline (polygon, mask) is what 95% of it moved across itself at most. pass: the upper 95% bound of the
    drift is within the tolerance, for boxes and points of things with an outline or a box. fail: its lower bound is
    above it. Between them, or where the thing is not clearly found again: abstain. Flat, tiny, outside the frame:
    not_checkable.
    """
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    moved = moved_things(batch, context.radius_px)
    for i, label in moved.refused:
        reason = f"smaller than {MIN_EXTENT_PX:g} px, without an edge, or far outside the frame"
        findings[i].append(_finding(label, "not_checkable", reason))
    for jobs in _by_shape(moved):
        drifts = _drifts(jobs, moved, context)
        for k, (label, t) in enumerate(jobs):
            findings[int(moved.image_of[t])].append(_judge(label, t, moved, drifts, k, context))
    return findings


def statistics(batch: CheckBatch, context: CheckContext) -> Iterator[tuple[str, str, float]]:
    """(quantity, label name, value): "surprise" of each label that can be measured, the more suspicious the higher."""
    moved = moved_things(batch, context.radius_px)
    for jobs in _by_shape(moved):
        surprises = _surprises(moved.motions, np.array([t for _, t in jobs]), _designs(jobs, moved)[0])
        for (label, t), surprise in zip(jobs, surprises.tolist(), strict=True):
            if not _unseen(moved, t) and moved.motions.shown[t] >= MIN_SHOWN:
                yield "surprise", label.name, surprise


def moved_things(batch: CheckBatch, radius_px: int) -> MovedThings:
    """Every thing of the batch and its motion, searched for within radius_px; measured once."""
    if radius_px not in batch.moved:
        batch.moved[radius_px] = _moved_things(batch, radius_px)
    moved: MovedThings = batch.moved[radius_px]
    return moved


def _moved_things(batch: CheckBatch, radius_px: int) -> MovedThings:
    things: list[Thing] = []
    images: list[int] = []
    refused: list[tuple[int, Label]] = []
    shares: list[FloatArray] = []
    for i, pair in enumerate(batch.pairs):
        every, too_small = things_of(pair.labels, batch.size_hw)
        of_image = [thing for thing in every if not _is_bare(thing)]
        refused += [(i, label) for label in too_small]
        if of_image:
            shares.append(own_share(of_image))
        things += of_image
        images += [i] * len(of_image)
    image_of = np.array(images, dtype=np.intp)
    own = np.concatenate(shares) if shares else np.zeros((0, 0, 0), np.float32)
    scale = -(-radius_px // RADIUS_PX)
    motions = _looked_further(batch, things, image_of, own, _measured(batch, things, image_of, own, scale), scale)
    clipped, spread = _looks(batch, things, image_of)
    return MovedThings(things, image_of, refused, motions, clipped, spread)


def _measured(
    batch: CheckBatch, things: list[Thing], image_of: NDArray[np.intp], own: FloatArray, scale: int
) -> Motions:
    """Motions at a scale: images and points made smaller by it, and what was found larger again."""
    if not things:
        none, nothing = np.zeros((0, 6, 6)), np.zeros(0, np.float32)
        sectors = np.zeros((0, SECTORS))
        return Motions(none[:, 0, :2], none[:, 0], none, nothing, nothing, sectors, sectors, sectors)
    pixels = batch.size_hw[0] * batch.size_hw[1]
    if pixels > LARGE_PX and len(things) > MOST_PARTS:
        scale = max(scale, int(np.ceil(np.sqrt(pixels / LARGE_PX))))
    elif pixels > LARGE_PX:
        one_by_one = zip(things, image_of.tolist(), own, strict=True)
        return joined([_measured_in_part(batch, thing, i, share[None], scale) for thing, i, share in one_by_one])
    source = batch.source_features(scale, features_of)
    refined = features_of(shrunk(batch.refined_images, scale))
    found = motions_of(source, refined, [thing.shrunk(scale) for thing in things], image_of, own)
    return _as_in_full(found, scale)


def _measured_in_part(batch: CheckBatch, thing: Thing, i: int, own: FloatArray, scale: int) -> Motions:
    """The motion of a thing of a large image, from the part of it around the thing; a large part is made smaller."""
    height, width = batch.size_hw
    margin = AROUND_PX + RADIUS_PX * scale
    low = np.floor(thing.points_xy.min(axis=(0, 1))).astype(int) - margin
    high = np.ceil(thing.points_xy.max(axis=(0, 1))).astype(int) + margin + 1
    (left, top), (right, bottom) = low.clip(0, (width - 1, height - 1)), high.clip(1, (width, height))
    if right <= left or bottom <= top:
        left, top, right, bottom = 0, 0, 1, 1
    scale = max(scale, int(np.ceil(np.sqrt((right - left) * (bottom - top) / LARGE_PX))))
    images = (batch.pairs[i].synthetic, batch.pairs[i].refined)
    source, refined = (features_of(shrunk(image[None, top:bottom, left:right], scale)) for image in images)
    moved = replace(thing, points_xy=thing.points_xy - np.array([left, top], np.float32))
    found = _as_in_full(motions_of(source, refined, [moved.shrunk(scale)], np.zeros(1, np.intp), own), scale)
    return replace(found, centre=found.centre + np.array([left, top]))


def _as_in_full(found: Motions, scale: int) -> Motions:
    """Motions in px of the image, from those in an image made smaller by a scale."""
    sizes = np.array([scale, scale, 1, 1, 1, 1], np.float64)
    return replace(
        found,
        centre=found.centre * scale + (scale - 1) / 2,
        motion=found.motion * sizes,
        covariance=found.covariance * np.outer(sizes, sizes),
        sector_across=found.sector_across * scale,
        sector_sigma=found.sector_sigma * scale,
    )


def _looked_further(
    batch: CheckBatch,
    things: list[Thing],
    image_of: NDArray[np.intp],
    own: FloatArray,
    motions: Motions,
    scale: int,
) -> Motions:
    """The motions, where a thing is not clearly found those of a search twice as far, if it is seen out there."""
    unclear = (motions.shown < MIN_SHOWN) | (motions.sigma_px > UNCLEAR_PX * scale)
    lost = np.flatnonzero((motions.inside >= MIN_INSIDE) & unclear)
    further = FURTHER * scale
    if not len(lost) or min(batch.size_hw) < LEAST_SIDE_PX * further:
        return motions
    far = _measured(batch, [things[t] for t in lost], image_of[lost], own[lost], further)
    beyond = np.hypot(far.motion[:, 0], far.motion[:, 1]) > (RADIUS_PX - 2) * scale
    surer = (far.sigma_px < motions.sigma_px[lost]) | (motions.shown[lost] < MIN_SHOWN)
    rows = np.flatnonzero(beyond & surer & (far.shown >= MIN_SHOWN))
    values = {each.name: getattr(motions, each.name).copy() for each in fields(Motions)}
    for name, of_all in values.items():
        of_all[lost[rows]] = getattr(far, name)[rows]
    return Motions(**values)


def _looks(batch: CheckBatch, things: list[Thing], image_of: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Share of each thing's points that are newly clipped, and the standard deviation of the source at them: (T,)."""
    if not things:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    height, width = batch.size_hw
    points = np.rint(np.stack([thing.points_xy.reshape(-1, 2) for thing in things]))
    x, y = points[..., 0].clip(0, width - 1).astype(int), points[..., 1].clip(0, height - 1).astype(int)
    values = batch.synthetic_images[image_of[:, None], y, x]
    return batch.newly_clipped[image_of[:, None], y, x].mean(axis=1), values.std(axis=1).max(axis=1)


def _is_bare(thing: Thing) -> bool:
    """True if nothing but a point is known of a thing: around it, it may be the ground that moved, or that stayed."""
    return thing.is_area and thing.label.type == "keypoint"


def _unseen(moved: MovedThings, t: int) -> str:
    """Why thing t cannot be looked at in the synthetic image; empty when it can."""
    if moved.motions.inside[t] < MIN_INSIDE:
        return "outside the frame"
    return "flat: nothing to be seen at this label" if moved.spread[t] < MIN_SPREAD else ""


def _by_shape(moved: MovedThings) -> list[list[_Job]]:
    """(label, thing) of all labels of all things: those of one point, of four corners, of an outline."""
    jobs: dict[str, list[_Job]] = {"point": [], "box": [], "outline": []}
    for t, thing in enumerate(moved.things):
        for label in thing.labels or (thing.label,):
            is_point = label.type == "keypoint" or not label.value.size
            shape = "point" if is_point else "box" if label.type == "box" else "outline"
            jobs[shape].append((label, t))
    return [of_shape for of_shape in jobs.values() if of_shape]


def _designs(jobs: list[_Job], moved: MovedThings) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """What a motion of each thing moves its label's places by (M, P, 2, 6), and their normals (M, P, 2) on outlines."""
    things = [moved.things[t] for _, t in jobs]
    centres = moved.motions.centre[[t for _, t in jobs]]
    normals = None
    first = jobs[0][0]
    if first.type == "keypoint" or not first.value.size:
        values = (
            label.value if label.value.size else thing.centre for (label, _), thing in zip(jobs, things, strict=True)
        )
        places = np.array(list(values), np.float64)[:, None]
    elif first.type == "box":
        places = np.array([label.value for label, _ in jobs], np.float64)[:, _CORNERS]
    else:
        places = np.stack([thing.outline for thing in things]).astype(np.float64)
        normals = np.stack([thing.normals for thing in things]).astype(np.float64)
    return design_of(places - centres[:, None], np.stack), normals


@dataclass(frozen=True, slots=True)
class _Drifts:
    """Of M labels: how far each moved, its bounds (M,) px, the signed move of its middle (M, 2) px, its surprise.

    parts_px: (M,) upper bound of how far any part of an outline moved across it; 0 for points and boxes.
    """

    px: NDArray[np.float64]
    lower_px: NDArray[np.float64]
    upper_px: NDArray[np.float64]
    shift_px: NDArray[np.float64]
    surprise: NDArray[np.float64]
    parts_px: NDArray[np.float64]


def _drifts(jobs: list[_Job], moved: MovedThings, context: CheckContext) -> _Drifts:
    """Drifts of labels of one shape. Bounds: 5% and 95% of the drift under motions drawn round the measured one."""
    chosen = np.array([t for _, t in jobs])
    design, normals = _designs(jobs, moved)
    motion, covariance = moved.motions.motion[chosen], moved.motions.covariance[chosen]
    scale = np.array([context.threshold("motion.scale", label.name, DEFAULT_SCALE) for label, _ in jobs])
    around = motion[:, None] + scale[:, None, None] * (_draws() @ np.linalg.cholesky(covariance).swapaxes(1, 2))
    drift = _lengths(design, normals, np.concatenate((motion[:, None], around), axis=1))
    low, high = np.quantile(drift[:, 1:], (0.05, 0.95), axis=1)
    parts = np.zeros(len(jobs))
    if normals is not None:
        bent = around * np.array([1.0, 1.0, *[SIDES_HIDE] * 4])
        high = np.maximum(high, np.quantile(_lengths(design, normals, bent), 0.95, axis=1))
        parts = _parts_px(moved.motions, chosen, scale)
    shift = (design.mean(axis=1) @ motion[..., None])[..., 0]
    surprises = _surprises(moved.motions, chosen, design)
    return _Drifts(drift[:, 0], low, np.maximum(high, drift[:, 0]), shift, surprises, parts)


def _parts_px(motions: Motions, chosen: NDArray[np.intp], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper bound of how far any sector that is found again moved across the outline: (M,) px."""
    moves = np.abs(motions.sector_across[chosen])
    upper = moves + PARTS_SIGMAS * scale[:, None] * motions.sector_sigma[chosen]
    return np.asarray(np.where(motions.sector_shown[chosen] >= MIN_SHOWN, upper, 0.0).max(axis=1))


def _lengths(
    design: NDArray[np.float64], normals: NDArray[np.float64] | None, motions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far motions (M, S, 6) move labels: (M, S) px."""
    count, places = design.shape[:2]
    moves = (motions @ design.reshape(count, -1, 6).swapaxes(1, 2)).reshape(count, -1, places, 2)
    if normals is None:
        return np.asarray(np.sqrt((moves**2).sum(axis=-1)).max(axis=-1))
    across = np.abs((moves * normals[:, None]).sum(axis=-1))
    return np.asarray(np.partition(across, _MOST, axis=-1)[..., _MOST])


def _surprises(motions: Motions, chosen: NDArray[np.intp], design: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each label's motion lies from none, in units of the 95% region of a Gaussian with its covariance: (M,).

    Of a label of one place its move counts, of others the whole motion.
    """
    motion, covariance = motions.motion[chosen][..., None], motions.covariance[chosen]
    if design.shape[1] == 1:
        motion, covariance = design[:, 0] @ motion, design[:, 0] @ covariance @ design[:, 0].swapaxes(1, 2)
    square = (motion.swapaxes(1, 2) @ np.linalg.solve(covariance, motion))[:, 0, 0]
    return np.asarray(np.sqrt(square / CHI2_95[motion.shape[1]]))


@lru_cache(maxsize=1)
def _draws() -> NDArray[np.float64]:
    """Fixed draws (S, 6) of a Student t distribution."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((DRAWS // 2, 6))
    tails = np.sqrt(TAIL_FREEDOM / rng.chisquare(TAIL_FREEDOM, (DRAWS // 2, 1)))
    return np.concatenate((normal * tails, -normal * tails))


def _judge(label: Label, t: int, moved: MovedThings, drifts: _Drifts, k: int, context: CheckContext) -> Finding:
    """Verdict of a label: from the reasons not to measure, over those not to trust, to the drift itself."""
    if unseen := _unseen(moved, t):
        return _finding(label, "not_checkable", unseen)
    if moved.clipped[t] > MAX_CLIPPED:
        return _finding(label, "abstain", f"unreadable: {moved.clipped[t]:.0%} of it are black or white")
    if not (shown := float(moved.motions.shown[t])) >= MIN_SHOWN:
        return _finding(label, "abstain", f"not clearly found again ({shown:.0%} of its outline)")
    limit = context.threshold("motion.surprise", label.name, DEFAULTS["surprise"])
    upper, tolerance = float(drifts.upper_px[k]), context.tolerance(label.name)
    lower = float(drifts.lower_px[k]) if drifts.surprise[k] > limit else 0.0
    drift = max(float(drifts.px[k]), lower)
    verdict: Verdict = "fail" if lower > tolerance else "abstain"
    parts = float(drifts.parts_px[k])
    reason = f"moved by {drift:.2f} px, but it may be up to {upper:.2f} px"
    if verdict == "fail":
        reason = f"moved by more than {tolerance:g} px"
    elif upper <= tolerance and shown < MIN_SHOWN_TO_PASS:
        reason = f"only {shown:.0%} of it is found again"
    elif upper <= tolerance < parts:
        reason = f"moved by {drift:.2f} px, but parts of its outline by up to {parts:.2f} px"
    elif upper <= tolerance:
        verdict, reason = "pass", ""
    upper = max(upper, parts)
    dx, dy = drifts.shift_px[k].tolist()
    return _finding(
        label,
        verdict,
        reason,
        round(drift, 3),
        (round(dx, 3), round(dy, 3)),
        (round(lower, 3), round(upper, 3)),
        _iou(label, t, moved),
    )


def _iou(label: Label, t: int, moved: MovedThings) -> float | None:
    """Intersection over union of a box or mask with itself under the motion of its thing."""
    if label.type not in AREAS or not label.value.size:
        return None
    motion = moved.motions.motion[t]
    linear = (design_of(np.eye(2), np.stack)[..., 2:] @ motion[2:]).T
    return bent_iou(label, motion[:2], linear, moved.motions.centre[t])


def _finding(
    label: Label,
    verdict: Verdict,
    reason: str = "",
    drift_px: float | None = None,
    shift_px: tuple[float, float] | None = None,
    bounds_px: tuple[float | None, float | None] = (None, None),
    iou: float | None = None,
) -> Finding:
    return Finding(
        label.name, label.type, verdict, drift_px, "px", reason, "motion", label.item, shift_px, *bounds_px, iou
    )
