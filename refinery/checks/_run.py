"""Run every label check on pairs: grouped by shape, a bounded number at once, findings in the order of the pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from refinery import registry
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._gone import gone, objections
from refinery.checks._things import GEOMETRIC
from refinery.checks._verdict import combine
from refinery.errors import SampleError
from refinery.sample import Finding, Pair

_PIXELS_AT_ONCE = 128 * 36 * 60
MAX_PIXELS = 32_000_000
"""Of an image whose labels are checked: fields and windows take some hundred bytes a pixel."""

THINNED_PIXELS = 1_000_000
"""Of a larger image that are looked at to tell whether anything is left of it."""


def run_checks(pairs: Sequence[Pair], context: CheckContext) -> list[list[Finding]]:
    """One finding for each label of each pair, from all checks; what no check knows how to judge is `not_checkable`.

    Raises SampleError when the two images of a pair differ in shape.
    """
    findings: list[list[Finding]] = [_too_large(pair) for pair in pairs]
    for chosen in batches(pairs):
        batch = CheckBatch([pairs[i] for i in chosen])
        for i, found in zip(chosen, check_batch(batch, context, all_checks()), strict=True):
            findings[i] = found
    return findings


@lru_cache(maxsize=1)
def all_checks() -> tuple[Any, ...]:
    """Every label check's module, in the order of their names; the folder is looked through once."""
    return tuple(registry.find("check", name) for name in registry.names("check"))


def batches(pairs: Sequence[Pair]) -> Iterable[list[int]]:
    """Indices of pairs of one shape, few enough that their fields stay in the processor's cache; none too large."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(pairs):
        if pair.synthetic.shape != pair.refined.shape:
            raise SampleError(
                f"{pair.sample.key}: the refined image is {pair.refined.shape} but its source is "
                f"{pair.synthetic.shape} (height, width, channels); they must be equal to be compared"
            )
        if pair.synthetic[..., 0].size <= MAX_PIXELS:
            by_shape.setdefault(pair.synthetic.shape, []).append(i)
    for (height, width, channels), members in by_shape.items():
        size = max(1, _PIXELS_AT_ONCE // (height * width * channels))
        yield from (members[start : start + size] for start in range(0, len(members), size))


def check_batch(batch: CheckBatch, context: CheckContext, checks: Iterable[Any]) -> list[list[Finding]]:
    """Findings for each pair of a batch, by check, then what was left over."""
    findings: list[list[Finding]] = [[] for _ in batch.pairs]
    for module in sorted(checks, key=_is_asked_last):
        rows = [i for i, own in enumerate(findings) if not _is_asked_last(module) or _open_places(own)]
        if not rows:
            continue
        asked = batch if len(rows) == len(findings) else CheckBatch([batch.pairs[i] for i in rows])
        for i, found in zip(rows, module.check(asked, context), strict=True):
            findings[i].extend(_of_open_labels(found, findings[i]) if _is_asked_last(module) else found)
    for pair, own in zip(batch.pairs, findings, strict=True):
        own.extend(_unjudged(pair, own, context))
    return [combine(own) for own in findings]


def _is_asked_last(module: Any) -> bool:
    """True if a check costs so much that only pairs with an open label are shown to it, and only those labels count."""
    return bool(getattr(module, "ASKED_LAST", False))


def _open_places(findings: Sequence[Finding]) -> set[tuple[str, int]]:
    """(name, item) of the labels with a place, or of the frame, that failed or abstained."""
    decided = (one for one in combine(findings) if one.type in GEOMETRIC and one.verdict in ("abstain", "fail"))
    return {(one.label, one.item) for one in decided}


def _of_open_labels(found: Iterable[Finding], before: Sequence[Finding]) -> list[Finding]:
    """The findings of labels that were open before; of those that failed already a pass alone, which contradicts.

    What others passed is not asked again, and what others failed keeps their measure.
    """
    places = _open_places(before)
    failed = {(one.label, one.item) for one in combine(before) if one.verdict == "fail"}
    open_before = (one for one in found if (one.label, one.item) in places)
    return [one for one in open_before if one.verdict == "pass" or (one.label, one.item) not in failed]


def _too_large(pair: Pair) -> list[Finding]:
    """What is said of the labels of an image beyond `MAX_PIXELS`; of others nothing, yet.

    Whether anything at all is left of it can be told from every n-th pixel.
    """
    height, width = pair.synthetic.shape[:2]
    if height * width <= MAX_PIXELS:
        return []
    if reason := gone(CheckBatch([_thinned(pair)]))[0]:
        return objections(pair, pair.labels, reason)
    why = f"{width}x{height} px; labels are checked on images of at most {MAX_PIXELS:,} pixels"
    return [Finding(x.name, x.type, "not_checkable", unit=x.unit, reason=why, item=x.item) for x in pair.labels]


def _thinned(pair: Pair) -> Pair:
    """The pair with every n-th row and column of its images only."""
    step = int(np.ceil(np.sqrt(pair.synthetic[..., 0].size / THINNED_PIXELS)))
    return replace(pair, synthetic=pair.synthetic[::step, ::step], refined=pair.refined[::step, ::step])


def _unjudged(pair: Pair, findings: Sequence[Finding], context: CheckContext) -> list[Finding]:
    """A `not_checkable` finding for each label that has no finding: no competence, no pass."""
    judged = {(finding.label, finding.item) for finding in findings}
    left = [label for label in pair.labels if (label.name, label.item) not in judged]
    return [
        Finding(x.name, x.type, "not_checkable", unit=x.unit, reason=_why_not(x.type, context), item=x.item)
        for x in left
    ]


def _why_not(label_type: str, context: CheckContext) -> str:
    if label_type not in ("class", "number", "vector"):
        return f"no check for a {label_type} yet"
    probe = context.probe
    return (
        "no probe that can judge it came with this model"
        if probe is None
        else "the probe was not trained for this label"
    )
