"""The samples that a report shows: chosen out of a stream, and packed so that a page of bounded size can hold them."""

from __future__ import annotations

import base64
import hashlib
import heapq
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery.checks import CheckContext
from refinery.checks._worst import Worst
from refinery.image import as_channels, from_float
from refinery.report.picture import to_pillow
from refinery.report.worst import outline
from refinery.sample import Finding, Label, Pair, Verdict

COUNT = 60
"""Samples of one report."""
GALLERY_BYTES = 36_000_000
"""What samples may take in a page; 50 MB hold them with all else."""
WINDOW_HW = (384, 512)
"""Of a larger image so much is shown around the label that moved most, pixel for pixel."""
_LABELS, _GROUPS, _A_GROUP = 24, 64, 12
_OUTLINE_POINTS = 1500
_TEXT = 240
_LONGEST_ARROW = 0.2
_EXAGGERATIONS = (50, 20, 10, 5, 2, 1)
_Rank = tuple[Any, ...]


def shortened(text: str, most: int = _TEXT) -> str:
    """A text of any length as about so many characters, and how many it had."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


@dataclass(frozen=True)
class Entry:
    """One sample that may be shown. findings: its worst ones first, 24 at most. moved, unsure: ranks, larger first."""

    key: str
    image: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    status: str
    strength: float | None
    moved: _Rank
    unsure: _Rank


@dataclass
class _Group:
    """The entries of one reason to be shown that rank highest, with their places in the stream."""

    size: int
    heap: list[tuple[_Rank, int, Entry]] = field(default_factory=list)

    def takes(self, rank: _Rank, place: int) -> bool:
        return len(self.heap) < self.size or (rank, -place) > self.heap[0][:2]

    def add(self, rank: _Rank, place: int, entry: Entry) -> None:
        push = heapq.heappush if len(self.heap) < self.size else heapq.heapreplace
        push(self.heap, (rank, -place, entry))

    def best_first(self) -> list[Entry]:
        return [entry for _, _, entry in sorted(self.heap, key=lambda item: item[:2], reverse=True)]


class Gallery:
    """Chooses samples while their findings pass by, in bounded memory, and holds those that were drawn.

    In turn one drawn at random (by its key, so that a second run draws the same), one whose label moved most, label by
    label, the one that moved most of all, the one that is least certain and one of each verdict, until there are 60.
    """

    def __init__(self, context: CheckContext | None = None) -> None:
        self._context = context or CheckContext()
        self._worst = Worst(self._context)
        self._groups: dict[str, _Group] = {"moved": _Group(COUNT), "unsure": _Group(COUNT)}
        self._place = 0
        self._shown: list[dict[str, Any]] = []
        self._bytes = 0
        self._left_out = 0

    def add(
        self,
        key: str,
        image: str,
        findings: Sequence[Finding],
        verdict: Verdict,
        status: str = "",
        strength: float | None = None,
    ) -> None:
        """Take the findings of one sample."""
        self._place += 1
        ranked = sorted(((self._rank(finding), i) for i, finding in enumerate(findings)), reverse=True)
        moved = ranked[0][0] if ranked else (False, 0.0, 0.0)
        unsure = max((self._doubt(finding) for finding in findings), default=(False, 0.0))
        drawn = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        wanted: dict[str, _Rank] = {"moved": moved, "unsure": unsure, f"verdict {verdict}": moved, "drawn": (drawn,)}
        for rank, i in ranked[:_LABELS]:
            name = f"label {findings[i].label}"
            if name in self._groups or len(self._groups) < _GROUPS:
                wanted.setdefault(name, rank)
        taking = [name for name, rank in wanted.items() if self._group(name).takes(rank, self._place)]
        if taking:
            worst = tuple(findings[i] for _, i in ranked[:_LABELS])
            entry = Entry(key, image, verdict, worst, status, strength, moved, unsure)
            for name in taking:
                self._groups[name].add(wanted[name], self._place, entry)

    def chosen(self) -> list[Entry]:
        """The samples to draw, at most 60, what moved most first."""
        queues = [group.best_first() for _, group in sorted(self._groups.items())]
        taken: dict[str, Entry] = {}
        for turn in range(COUNT):
            for queue in queues:
                if turn < len(queue) and len(taken) < COUNT:
                    taken.setdefault(queue[turn].key, queue[turn])
        return sorted(taken.values(), key=lambda entry: (entry.moved, entry.key), reverse=True)

    def draw(self, entry: Entry, pair: Pair) -> None:
        """Hold a chosen sample with its images; it is left out and counted where there is no room for it."""
        shown = _drawn(entry, pair)
        size = len(json.dumps(shown))
        if self._bytes + size > GALLERY_BYTES:
            self._left_out += 1
            return
        self._bytes += size
        self._shown.append(shown)

    def as_json(self) -> dict[str, Any] | None:
        """What the page's script reads; None where nothing was drawn."""
        if not self._shown:
            return None
        ranks = {entry.key: (entry.moved, entry.unsure) for entry in self.chosen()}
        by_key = sorted(self._shown, key=lambda shown: shown["key"])
        for name, index in (("moved", 0), ("unsure", 1)):
            order = sorted(by_key, key=lambda shown: ranks[shown["key"]][index], reverse=True)
            for place, shown in enumerate(order):
                shown[name] = place
        samples = [_readable(shown) for shown in sorted(by_key, key=lambda shown: shown["moved"])]
        return {"samples": samples, "total": self._place, "left_out": self._left_out}

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group(_A_GROUP))

    def _rank(self, finding: Finding) -> _Rank:
        if finding.drift is None and finding.verdict != "fail":
            return False, 0.0, 0.0
        return self._worst.rank(finding)

    def _doubt(self, finding: Finding) -> _Rank:
        width = 0.0
        if finding.lower is not None and finding.upper is not None:
            width = finding.upper - finding.lower
        return finding.verdict == "abstain", width / (self._context.tolerance(finding.label, finding.unit) or 1.0)


def _readable(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "key": shortened(shown["key"])}


def _drawn(entry: Entry, pair: Pair) -> dict[str, Any]:
    height, width = pair.synthetic.shape[:2]
    by_name = {(label.name, label.item): label for label in pair.labels}
    told = [(finding, by_name.get((finding.label, finding.item))) for finding in entry.findings]
    left, top, right, bottom = _window((height, width), next((label for _, label in told if label), None))
    moves = [np.hypot(*finding.shift_px) for finding, _ in told if finding.shift_px]
    longest = max((float(move) for move in moves if np.isfinite(move)), default=0.0)
    room = _LONGEST_ARROW * min(right - left, bottom - top)
    channels = max(pair.synthetic.shape[2], pair.refined.shape[2])
    return {
        "key": entry.key,
        "verdict": entry.verdict,
        "status": entry.status,
        "strength": entry.strength,
        "classes": sorted({shortened(label.text) for label in pair.labels if label.type == "class" and label.text}),
        "width": right - left,
        "height": bottom - top,
        "of": [width, height] if (right - left, bottom - top) != (width, height) else None,
        "times": next((times for times in _EXAGGERATIONS if times * longest <= room), 1),
        "labels": [_label_json(finding, label, (left, top)) for finding, label in told],
        "synthetic": _png(as_channels(pair.synthetic[top:bottom, left:right], channels)),
        "refined": _png(as_channels(pair.refined[top:bottom, left:right], channels)),
    }


def _label_json(finding: Finding, label: Label | None, corner: tuple[int, int]) -> dict[str, Any]:
    lines = outline(label)
    fits = 0 < sum(map(len, lines)) <= _OUTLINE_POINTS
    places = [line + 0.5 - np.array(corner) for line in lines] if fits else []
    shift = finding.shift_px if finding.shift_px and np.isfinite(finding.shift_px).all() else None
    return {
        "name": shortened(finding.label),
        "item": finding.item,
        "verdict": finding.verdict,
        "text": shortened(label.text) if label and label.text else "",
        "drift": _finite(finding.drift),
        "lower": _finite(finding.lower),
        "upper": _finite(finding.upper),
        "unit": shortened(finding.unit),
        "reason": shortened(finding.reason),
        "shift": [round(value, 3) for value in shift] if shift else None,
        "path": "".join(map(_path, places)),
        "middle": _middle(places),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and np.isfinite(value) else None


def _path(line: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line)


def _middle(lines: Sequence[NDArray[np.float64]]) -> list[float] | None:
    if not lines:
        return None
    points = np.concatenate(lines)
    x, y = ((points.min(axis=0) + points.max(axis=0)) / 2).tolist()
    return [round(x, 1), round(y, 1)]


def _window(size_hw: tuple[int, int], label: Label | None) -> tuple[int, int, int, int]:
    """The part to show, left, top, right, bottom in px: all, or what lies around the label."""
    lines = outline(label)
    middle = _middle(lines) or [size_hw[1] / 2, size_hw[0] / 2]
    ends = []
    for at, length, most in zip(middle, size_hw[::-1], WINDOW_HW[::-1], strict=True):
        shown = min(length, most)
        start = int(np.clip(round(at - shown / 2), 0, length - shown))
        ends.append((start, start + shown))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _png(image: NDArray[Any]) -> str:
    """An image (H, W, C) float32 in [-1, 1] as a PNG of 8 bits in base64."""
    out = io.BytesIO()
    to_pillow(np.asarray(from_float(image, 8))).save(out, format="PNG", compress_level=6)
    return base64.b64encode(out.getvalue()).decode("ascii")
