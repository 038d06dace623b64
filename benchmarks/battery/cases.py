"""Pairs with a known edit and a known change of looks, and which of their labels the edit made untrue."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from battery import appearance, blind_edits, blind_looks, fresh_edits, fresh_looks
from battery._kind import Kind
from battery._pixels import Image, as_checked, averaged, warped
from battery.edits import EDITS, FLOWS, OCCLUDE, SAMPLE_EDITS, Touched, occluded, touched_by_scene
from battery.scenes import kind_named
from refinery.sample import Pair, Sample

COMPOSITE = "composite"
TUNE_LOOKS = ("identical", "gamma", "blur", "noise", "jpeg")
TUNE_EDITS = (
    *(f"shift_{px}px" for px in ("0.5", "1", "2", "3", "5")), "image_shift_1px", "image_shift_2px", "remove", "class",
    "scale", "mirror", "wrong_pair", "background",
)  # fmt: skip
SCORE_LOOKS = ("identical", "contrast", "cast", "texture", "vignette", "residual", "inversion", "texture_swap")
BLIND_LOOKS = ("identical", *blind_looks.PIXEL_CHANGES, "texture_swap")
FRESH_LOOKS = ("identical", *fresh_looks.PIXEL_CHANGES, "texture_swap")
SPLIT_TABLE = {
    "tune": {"looks": TUNE_LOOKS, "edits": TUNE_EDITS},
    "score": {"looks": SCORE_LOOKS, "edits": tuple(EDITS)},
    "blind": {"looks": BLIND_LOOKS, "edits": tuple(EDITS)},
    "fresh": {"looks": FRESH_LOOKS, "edits": tuple(EDITS)},
}
"""What may be looked at while checks are built, what is only scored on, and what was made without knowing the checks.

Scenes, too, are split: shapes, hues, textures of the ground and of objects (scenes), how dark the iris is (eyes),
pictograms (signs), and all seeds. Most edits that the bar names are in both: with score they meet other scenes under
other looks. Edits that stand in the score split alone are met nowhere else. The blind split has renderers, occluders,
warps, mirrors and looks of its own; only the names of the edits, and moving and turning things, are shared. So has
the fresh split, made later in the same way, which has other kinds of scenes as well.
"""

MIN_VISIBLE = 0.05
"""An edit that changes no sub-pixel by this much did nothing: another hue of a gray sign, no room for one more."""

_SEEDS = {"tune": 1, "score": 2, "blind": 3, "fresh": 4}


class Case(NamedTuple):
    """A pair and the labels that are no longer true of its refined image."""

    pair: Pair
    touched: tuple[Touched, ...]


def cases(
    scene_kind: str | Kind,
    edit_kind: str,
    severity: int,
    count: int,
    seed: int,
    split: str = "tune",
    looks: Sequence[str] | None = None,
    amount: float | None = None,
) -> Iterable[Case]:
    """`count` pairs, labels true of the synthetic image.

    scene_kind: a name of `kinds_of(split)`, or a kind.
    edit_kind: a name of EDITS, or of `appearance.KINDS`, or "composite": then nothing is moved. An edit
        is followed by a random composite of `looks` (those of the split) of the same severity.
    severity: 0 mild, 1 middle, 2 heavy. amount: of the edit, in place of the one it has at this severity.
    Case i depends on all arguments but `count`.
    """
    kind = kind_named(scene_kind, split) if isinstance(scene_kind, str) else scene_kind
    looks = SPLIT_TABLE[split]["looks"] if looks is None else looks
    name = f"{kind.name}/{edit_kind}/{severity}"
    for i in range(count):
        rng = np.random.default_rng([_SEEDS[split], seed, zlib.crc32(name.encode()), i])
        yield _case(kind, edit_kind, severity, split, looks, amount, rng, f"{name}/{i:05d}")


def user_images(scene_kind: str, count: int, seed: int, split: str = "tune") -> Iterator[Pair]:
    """Other labelled images of the kind, with no change: what calibration and a probe may learn from.

    Both images of a pair are the synthetic one. Their seeds are those of no case.
    """
    kind = kind_named(scene_kind, split)
    for i in range(count):
        rng = np.random.default_rng([_SEEDS[split], seed, 9, i])
        scene = kind.sample(rng, split)
        image = as_checked(_pixels(kind, scene, kind.draw(scene)))
        yield Pair(Sample(f"user/{seed}/{i:05d}", f"user/{i:05d}.png"), image, image, kind.labels(scene))


def refiner_like(
    scene_kind: str,
    count: int,
    seed: int,
    split: str = "tune",
    severity: int = 1,
    looks: Sequence[str] | None = None,
) -> Iterator[Pair]:
    """Labelled images as an honest refiner would change them: composites of looks (of the split), nothing moved."""
    for i, case in enumerate(cases(scene_kind, COMPOSITE, severity, count, seed + 7919, split, looks)):
        yield Pair(Sample(f"user/{seed}/{i:05d}", f"user/{i:05d}.png"), *_images(case.pair), case.pair.labels)


def _images(pair: Pair) -> tuple[Image, Image]:
    return pair.synthetic, pair.refined


def _case(
    kind: Kind,
    edit_kind: str,
    severity: int,
    split: str,
    looks: Sequence[str],
    amount: float | None,
    rng: np.random.Generator,
    key: str,
) -> Case:
    scene = kind.sample(rng, split)
    fine = kind.draw(scene)
    synthetic = _pixels(kind, scene, fine)
    changes = (edit_kind,)
    if edit_kind in EDITS or edit_kind == COMPOSITE:
        changes = appearance.draw_composite(looks, rng)
    other_scene = kind.sample(rng, split)
    retexture = rng.spawn(1)[0] if appearance.TEXTURE_SWAP in changes else None
    if edit_kind in EDITS:
        refined, touched = _edited(kind, scene, fine, other_scene, edit_kind, severity, split, amount, retexture, rng)
    else:
        refined, touched = _pixels(kind, scene, kind.draw(_swapped(kind, scene, severity, retexture))), ()
    other = _pixels(kind, other_scene, kind.draw(other_scene)) if appearance.FROM_ANOTHER & set(changes) else refined
    refined = appearance.change(refined, changes, severity, rng, other)
    labels = kind.labels(scene)
    return Case(Pair(Sample(key, f"{key}.png"), as_checked(synthetic), as_checked(refined), labels), touched)


def _edited(
    kind: Kind,
    scene: Any,
    drawn: Image,
    other_scene: Any,
    edit_kind: str,
    severity: int,
    split: str,
    wanted: float | None,
    retexture: np.random.Generator | None,
    rng: np.random.Generator,
) -> tuple[Image, tuple[Touched, ...]]:
    """The image of the edited scene, in [0, 1], and the labels that the edit touches. drawn: the scene before it."""
    edit, discs = EDITS[edit_kind], kind.discs(scene)
    amount, index = edit.amounts[severity] if wanted is None else wanted, int(rng.integers(len(discs)))
    after = kind.edits[edit.how](scene, index, amount, rng) if edit.how in kind.edits else scene
    touched = touched_by_scene(kind, edit, scene, after, index)
    if edit.how in kind.edits and np.abs(kind.draw(after) - drawn).max() < MIN_VISIBLE:
        touched = ()
    shown = other_scene if edit.how == "wrong_pair" else after
    fine = kind.draw(_swapped(kind, shown, severity, retexture))
    if split == "blind":
        return _pixels(kind, shown, blind_edits.seen(kind, fine, edit.how, amount, discs[index], rng)), touched
    if split == "fresh":
        fine = fresh_edits.seen(kind, fine, edit.how, amount, scene.things[index], rng)
        return _pixels(kind, shown, fine), touched
    if edit.how in FLOWS:
        fine = warped(fine, FLOWS[edit.how](kind, amount, rng), kind.per_pixel)
    elif edit.how == OCCLUDE:
        fine = occluded(fine, discs[index], amount, kind.per_pixel, rng)
    image = _pixels(kind, shown, fine)
    return (SAMPLE_EDITS[edit.how](image) if edit.how in SAMPLE_EDITS else image), touched


def _swapped(kind: Kind, scene: Any, severity: int, retexture: np.random.Generator | None) -> Any:
    if retexture is None:
        return scene
    return kind.retextured(scene, appearance.SWAP_STRENGTH[severity], retexture)


def _pixels(kind: Kind, scene: Any, fine: Image) -> Image:
    """What a camera makes of sub-pixels: (H, W, C) in [0, 1]."""
    return np.clip(averaged(fine, kind.per_pixel) + kind.grain(scene), 0.0, 1.0).astype(np.float32)
