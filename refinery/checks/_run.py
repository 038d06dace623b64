"""Run every label check on pairs: grouped by shape, a bounded number at once, findings in the order of the pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from refinery import registry
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._verdict import combine
from refinery.errors import SampleError
from refinery.sample import Finding, Pair

_PIXELS_AT_ONCE = 64 * 36 * 60


def run_checks(pairs: Sequence[Pair], context: CheckContext) -> list[list[Finding]]:
    """One finding for each label of each pair, from all checks; what no check knows how to judge is `not_checkable`.

    Raises SampleError when the two images of a pair differ in shape.
    """
    findings: list[list[Finding]] = [[] for _ in pairs]
    for chosen in _batches(pairs):
        for i, found in zip(chosen, _check_batch([pairs[i] for i in chosen], context), strict=True):
            findings[i] = found
    return findings


def _batches(pairs: Sequence[Pair]) -> Iterable[list[int]]:
    """Indices of pairs of one shape, few enough that their fields stay in the processor's cache."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(pairs):
        if pair.synthetic.shape != pair.refined.shape:
            raise SampleError(
                f"{pair.sample.key}: the refined image is {pair.refined.shape} but its source is "
                f"{pair.synthetic.shape} (height, width, channels); they must be equal to be compared"
            )
        by_shape.setdefault(pair.synthetic.shape, []).append(i)
    for (height, width, channels), members in by_shape.items():
        size = max(1, _PIXELS_AT_ONCE // (height * width * channels))
        yield from (members[start : start + size] for start in range(0, len(members), size))


def _check_batch(pairs: Sequence[Pair], context: CheckContext) -> list[list[Finding]]:
    """Findings for pairs of one shape, by check in the order of their names, then what was left over."""
    batch = CheckBatch(pairs)
    findings: list[list[Finding]] = [[] for _ in pairs]
    for name in registry.names("check"):
        for own, found in zip(findings, registry.find("check", name).check(batch, context), strict=True):
            own.extend(found)
    for pair, own in zip(pairs, findings, strict=True):
        own.extend(_unjudged(pair, own, context))
    return [combine(own) for own in findings]


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
    return "no probe came with this model" if context.probe is None else "the probe was not trained for this label"
