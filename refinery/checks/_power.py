"""How small a move would this run have noticed? Known moves are injected into refined images and looked for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refinery.checks._context import CheckContext
from refinery.checks._crops import cropped
from refinery.checks._moved import Moved, Place
from refinery.checks._things import GEOMETRIC
from refinery.sample import Finding, Pair

MOVES_PX = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
MAX_PAIRS, MIN_PAIRS = 32, 8
MAX_PIXELS = 16 * 256 * 256
"""Of all pairs together, so that power takes some seconds: 16 pairs of 256x256 px, or of parts of larger images."""
ENOUGH_LABELS = 96
"""A share of 90% of as many labels is known to 3% (one standard error): more pairs would only cost time."""
NEEDED = 0.9


def measure_power(pairs: Sequence[Pair], context: CheckContext) -> dict[str, float | None]:
    """Smallest move in px, by label name, that is found in 9 of 10 labels that can be measured; None when 4 px is not.

    The refined images of 8 to 32 pairs (see `_chosen`) are moved by MOVES_PX, in eight directions in turn. A label is
    found to have moved when the lower bound of its drift is above 0 (in a label that did not move it is so in 5% of
    cases).
    Labels that abstain in the image as it was refined are left out: they are what `coverage` counts. A refiner that
    itself moves labels has less power, since in part of them its own move takes back some of the injected one.
    """
    return _measure(Moved(_chosen(_parts(pairs, context)), context), context)


def describe_power(pairs: Sequence[Pair], context: CheckContext) -> dict[str, dict[str, Any]]:
    """What this run can see, by label name: {"detects": px or None, "unit": "px", "power": 0.9, "coverage": share}.

    detects: as `measure_power`. coverage: labels of the pairs, as they were refined, that got a pass or a fail.
    """
    moved = Moved(_chosen(_parts(pairs, context)), context)
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for finding in moved.findings(context).values():
        verdicts[finding.label].append(finding.verdict in ("pass", "fail"))
    power = _measure(moved, context)
    return {
        name: {"detects": detects, "unit": "px", "power": NEEDED, "coverage": round(float(np.mean(verdicts[name])), 4)}
        for name, detects in power.items()
    }


def _parts(pairs: Sequence[Pair], context: CheckContext) -> Sequence[Pair]:
    """Of large images parts around their labels, unless a probe, which sees whole images, measures some in px."""
    if context.probe is not None and any(label.unit == "px" for label in context.probe.labels.values()):
        return pairs
    return [cropped(pair, turn) for turn, pair in enumerate(pairs)]


def _chosen(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Pairs spread over all: 8, twice as many while a label is there fewer than ENOUGH_LABELS times, at most 32.

    Fewer of large images, whose fields are held in memory: MAX_PIXELS together, but 2 at least.
    """
    largest = max((pair.synthetic[..., 0].size for pair in pairs), default=1)
    most = max(2, min(MAX_PAIRS, MAX_PIXELS // largest))
    count = min(MIN_PAIRS, most)
    while True:
        chosen = pairs[:: max(1, len(pairs) // count)][:count]
        if count >= most or len(chosen) == len(pairs) or _enough(chosen, pairs):
            return chosen
        count = min(2 * count, most)


def _enough(chosen: Sequence[Pair], pairs: Sequence[Pair]) -> bool:
    """True if every label that has a place, or the frame where none has, is there ENOUGH_LABELS times."""
    names = {label.name for pair in pairs for label in pair.labels if label.type in GEOMETRIC}
    counts = Counter(label.name for pair in chosen for label in pair.labels)
    return bool(names) and all(counts[name] >= ENOUGH_LABELS for name in names)


def _measure(moved: Moved, context: CheckContext) -> dict[str, float | None]:
    """As `measure_power`: by halves, since what is found at one size is found at larger ones; four sizes are enough."""
    strict = replace(context, max_drift={"": 0.0})
    unmoved = _in_px(moved.findings(strict))
    measured = {place for place, finding in unmoved.items() if finding.drift is not None}
    none_found = len(MOVES_PX)
    ends = {label: (0, none_found) for _, label, _ in measured}
    """By label: the smallest move that is found is at one of these places, the second of them included."""
    while sought := {label: (first + last) // 2 for label, (first, last) in ends.items() if first < last}:
        middle = min(sought.values())
        labels = {label for label, place in sought.items() if place == middle}
        hits: dict[str, list[bool]] = defaultdict(list)
        for place, finding in _in_px(moved.findings(strict, MOVES_PX[middle])).items():
            if place in measured and finding.label in labels:
                hits[finding.label].append(finding.verdict == "fail")
        for label in labels:
            found = bool(hits[label]) and np.mean(hits[label]) >= NEEDED
            ends[label] = (ends[label][0], middle) if found else (middle + 1, ends[label][1])
    smallest: dict[str, float | None] = {finding.label: None for finding in unmoved.values()}
    return smallest | {label: MOVES_PX[end] for label, (_, end) in ends.items() if end < none_found}


def _in_px(findings: Mapping[Place, Finding]) -> dict[Place, Finding]:
    """Those of labels in px that could be looked at."""
    return {x: found for x, found in findings.items() if found.unit == "px" and found.verdict != "not_checkable"}


def power_sentence(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for a person, by the label that is seen worst; empty when there is none."""
    if not found:
        return ""
    name, worst = max(found.items(), key=lambda item: (item[1]["detects"] or np.inf, -item[1]["coverage"]))
    if worst["detects"] is None:
        return f"no move up to {MOVES_PX[-1]:g} px is found with {NEEDED:.0%} power in {name}"
    detects = f"detects moves of {worst['detects']:g} px and more"
    return f"{detects}, {worst['power']:.0%} power, {worst['coverage']:.0%} of labels (worst label: {name})"
