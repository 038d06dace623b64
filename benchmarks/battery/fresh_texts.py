"""Texts of the fresh split: two words of letters drawn from strokes on a sheet of paper, 128 x 64 px, gray.

Labels: `words.text`, `words.box`, `words.letters.box` (item LETTERS * i + k is letter k of word i). Object i is word i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from battery._kind import Disc, Edit
from battery._pixels import Image, Plane, smooth_noise
from battery.fresh_base import SLIDE_PX, FreshKind, Ground, Scene, Window, looked_up, slid
from battery.fresh_glyphs import GLYPHS, LETTERS, WORDS
from battery.fresh_strokes import Points, Stroke, arc, box_of, distance, placed
from battery.procedural import edited, moved, rotated, scaled
from refinery.sample import Label

MARGIN_PX, MIN_CONTRAST = 5.0, 0.3
STAMP = "*"
"""In place of a word: a round stamp, which no label knows."""


@dataclass(frozen=True)
class Word:
    """A word: its middle in px, `radius` is the height of its letters in px, `half` half a stroke's width in heights.

    spacing: between letters, in heights. slant: how far the top leans over the bottom, in heights.
    """

    center: tuple[float, float]
    radius: float
    angle: float
    text: str
    half: float
    spacing: float
    slant: float
    tone: float
    texture_seed: int
    texture_gain: float
    present: bool = True


@lru_cache(maxsize=128)
def letters_of(word: Word) -> tuple[tuple[Stroke, ...], ...]:
    """Strokes in px of each letter of a word."""
    if word.text == STAMP:
        every = [[arc((0, 0), (0.5, 0.5), 0, 360, 25), np.array([(-0.22, 0.2), (0.0, -0.28), (0.22, 0.2)])]]
    else:
        every, pen = [], 0.0
        for character in word.text:
            width, lines = GLYPHS[character]
            every.append([line - (0.0, 0.5) + (pen, 0.0) for line in lines])
            pen += width + word.spacing
        every = [[line - ((pen - word.spacing) / 2, 0.0) for line in lines] for lines in every]
    return tuple(tuple(_stroke(word, line) for line in lines) for lines in every)


def _stroke(word: Word, line: Points) -> Stroke:
    leaning = np.stack([line[:, 0] - word.slant * line[:, 1], line[:, 1]], axis=-1)
    half = np.full(len(line), word.half * word.radius)
    return Stroke(placed(leaning, word.center, word.radius, word.angle), half)


def word_box(word: Word) -> Points:
    """xyxy in px around a word."""
    return box_of([stroke for letter in letters_of(word) for stroke in letter])


class Texts(FreshKind):
    """The kind "texts"; see `Kind`."""

    name, size_hw, per_pixel = "texts", (64, 128), 3
    label_names = ("words.text", "words.box", "words.letters.box")

    def __init__(self) -> None:
        self.edits: Mapping[str, Edit] = {
            **FreshKind.edits, "shift": moved, "scale": scaled, "rotate": rotated, "class": respelled,
            "add": self.with_stamp,
        }  # fmt: skip

    def sample(self, rng: np.random.Generator, split: str) -> Scene:  # noqa: ARG002
        """Two words below each other, dark on light or light on dark."""
        level = float(rng.choice([rng.uniform(0.08, 0.3), rng.uniform(0.6, 0.92)]))
        ground = Ground(int(rng.integers(2**31)), (level,), float(rng.uniform(0.03, 0.07)))
        texts = rng.choice(WORDS, 2, replace=False)
        style = (float(rng.uniform(0.05, 0.085)), float(rng.uniform(0.26, 0.4)), float(rng.choice([0, 0, 0.2])))
        words = tuple(self._placed(rng, str(text), row, style, level) for row, text in enumerate(texts))
        return Scene(words, ground, int(rng.integers(2**31)))

    def _placed(
        self, rng: np.random.Generator, text: str, row: int, style: tuple[float, float, float], level: float
    ) -> Word:
        """A word in the upper or lower half of the frame, clear of its edges."""
        tone, seed, gain = ink(rng, level), int(rng.integers(2**31)), float(rng.uniform(0.05, 0.2))
        while True:
            height, turn = float(rng.uniform(14.0, 18.0)), float(rng.normal(0, 0.03))
            where = (float(rng.uniform(30, 97)), float(16.0 + 31.0 * row + rng.uniform(-1.5, 1.5)))
            word = Word(where, height, turn, text, *style, tone, seed, gain)
            box = word_box(word)
            top, bottom = (MARGIN_PX, 30.5) if row == 0 else (32.5, 63 - MARGIN_PX)
            if box[0] >= MARGIN_PX and box[2] <= 127 - MARGIN_PX and box[1] >= top and box[3] <= bottom:
                return word

    def layer(self, thing: Word) -> tuple[Window, Image, Plane]:
        """All letters of a word, the ink thinner in places."""
        box = word_box(thing)
        place = self.window(box[:2], box[2:])
        x, y = self.grid(place)
        away = np.full(x.shape, np.inf, np.float32)
        for letter in letters_of(thing):
            own = box_of(letter)
            near = self.window(own[:2], own[2:])
            inner = tuple(slice(n.start - p.start, n.stop - p.start) for n, p in zip(near, place, strict=True))
            away[inner] = np.minimum(away[inner], distance(letter, x[inner], y[inner]))
        table = np.random.default_rng(thing.texture_seed).normal(0, 1, (32, 32)).astype(np.float32)
        mottle = looked_up(table, (x - thing.center[0]) / 2.5 + 99, (y - thing.center[1]) / 2.5 + 99)
        tone = thing.tone + 0.3 * thing.texture_gain * mottle
        return place, tone[..., None], np.clip(0.5 - away * self.per_pixel, 0, 1)

    def painted_ground(self, ground: Ground) -> Image:
        """Paper."""
        return slid(paper(replace(ground, shift_px=(0.0, 0.0)), self.size_hw, self.per_pixel), ground, self.per_pixel)

    def disc(self, thing: Word) -> Disc:
        """A circle around a word."""
        box = word_box(thing)
        return Disc(*thing.center, float(np.hypot(*(box[2:] - box[:2])) / 2))

    def thing_labels(self, thing: Word, item: int) -> tuple[Label, ...]:
        """Labels of one word and of its letters; boxes are tight around the ink."""
        boxes = [box_of(letter) for letter in letters_of(thing)]
        return (
            Label("words.text", "text", np.zeros(0), "flip", item, thing.text),
            Label("words.box", "box", word_box(thing), item=item),
            *(Label("words.letters.box", "box", box, item=LETTERS * item + k) for k, box in enumerate(boxes)),
        )

    def labels_of(self, scene: Scene, index: int) -> tuple[tuple[str, int], ...]:  # noqa: ARG002
        """Text and box of a word, and the boxes of its letters."""
        letters = (("words.letters.box", LETTERS * index + k) for k in range(LETTERS))
        return (("words.text", index), ("words.box", index), *letters)

    def siblings(self, name: str, item: int) -> frozenset[tuple[str, int]]:
        """All labels of the word that a label is of."""
        if name not in self.label_names:
            return frozenset({(name, item)})
        index = item // LETTERS if name == "words.letters.box" else item
        return frozenset({("words.text", index), ("words.box", index)}) | {
            ("words.letters.box", LETTERS * index + k) for k in range(LETTERS)
        }

    def with_stamp(self, scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG002
        """A round stamp, beside the words where there is room."""
        boxes, stamp = [word_box(word) for word in scene.things], None
        for gap in np.repeat([3.0, 1.0, -2.0, -6.0, -20.0], 30):
            size = float(rng.uniform(13.0, 18.0))
            x, y = rng.uniform(size / 2 + 3, 124 - size / 2), rng.uniform(size / 2 + 3, 60 - size / 2)
            clear = (np.abs([x, y] - (box[:2] + box[2:]) / 2) - (box[2:] - box[:2]) / 2 - size / 2 for box in boxes)
            if stamp is None and all(apart.max() > gap for apart in clear):
                seed, tone, turn = int(rng.integers(2**31)), ink(rng, scene.ground.rgb[0]), rng.uniform(0, 2 * np.pi)
                where = (float(x), float(y))
                stamp = Word(where, size, float(turn), STAMP, 0.06, 0.0, 0.0, tone, seed, 0.1)
        return replace(scene, added=(stamp,) if stamp else ())


def ink(rng: np.random.Generator, level: float) -> float:
    """A tone that is read well on paper of this level."""
    tone = level
    while abs(tone - level) < MIN_CONTRAST:
        tone = float(rng.uniform(0.03, 0.97))
    return tone


@lru_cache(maxsize=32)
def paper(ground: Ground, size_hw: tuple[int, int], per_pixel: int) -> Image:
    """Paper with faint rules, fibres and a fold: wider than the frame by SLIDE_PX on all sides."""
    rng = np.random.default_rng([ground.seed, 47])
    height, width = ((side + 2 * SLIDE_PX) * per_pixel for side in size_hw)
    y, x = np.mgrid[:height, :width].astype(np.float32) / per_pixel
    detail = rng.normal() * (x / 128 - 0.5) + smooth_noise(rng, (height, width), 18.0 * per_pixel)[..., 0]
    pitch, start = rng.uniform(7, 13), rng.uniform(0, 13)
    detail = detail - 1.3 * np.clip(0.8 - np.abs((y + start) % pitch - pitch / 2), 0, 1)
    fold, lean = rng.uniform(0.2, 0.8) * 128, rng.normal(0, 0.15)
    detail = detail + np.tanh((x - fold - lean * y) / 1.5) * 0.5
    for _ in range(40):
        angle, half, cx, cy = rng.uniform(0, np.pi), rng.uniform(1, 4), rng.uniform(0, 140), rng.uniform(0, 76)
        low, high = (np.array([cy, cx]) + s * (half + 1) for s in (-1, 1))
        near = tuple(
            slice(max(0, int(a * per_pixel)), max(0, int(b * per_pixel))) for a, b in zip(low, high, strict=True)
        )
        dx, dy = x[near] - cx, y[near] - cy
        away = np.maximum(
            np.abs(dx * np.cos(angle) + dy * np.sin(angle)) - half, np.abs(dy * np.cos(angle) - dx * np.sin(angle))
        )
        detail[near] += rng.choice([-1, 1]) * np.clip(0.7 - away, 0, 1)
    return np.clip(ground.rgb[0] + ground.gain * detail, 0.02, 0.98)[..., None].astype(np.float32)


def respelled(scene: Scene, index: int, amount: float, rng: np.random.Generator) -> Scene:  # noqa: ARG001
    """Another word, or the same with one letter changed, in the same hand around the same middle."""
    text = scene.things[index].text
    if rng.random() < 0.5:
        return edited(scene, index, text=str(rng.choice([word for word in WORDS if word != text])))
    place = int(rng.integers(LETTERS))
    letter = str(rng.choice([each for each in GLYPHS if each != text[place]]))
    return edited(scene, index, text=text[:place] + letter + text[place + 1 :])
