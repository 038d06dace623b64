"""Thresholds of the label checks from the user's own images, so that few of those fail in which nothing moved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refinery import registry
from refinery.checks._appearance import null_pairs
from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._gone import gone
from refinery.checks._matcher import VERSION
from refinery.sample import Pair

MAX_PAIRS = 256
MIN_PAIRS = 8
MAX_PIXELS = 3_000_000
"""In all pairs used, channels counted, so that it takes seconds: 256 of 60 x 36 px, 61 of 128 x 128 in colour."""

MIN_OBJECTS = 48
TAIL = 0.05
SCALE_QUANTILE = 0.95
NOMINAL_SIGMAS = 2.24
SCALE_LIMITS = (0.6, 3.0)
COSTLY_EVERY = 4
"""Of the batches of edited images, the share that checks which are asked last are calibrated on: they cost most."""

_PIXELS_AT_ONCE = 64 * 36 * 60
_Null = Mapping[str, list[float]]


def calibrate(
    pairs: Sequence[Pair], context: CheckContext, seed: int = 0, unmoved: Sequence[Pair] = ()
) -> CheckContext:
    """The context with thresholds for `context.false_alarms`; as it is with fewer than 8 pairs.

    The null: the synthetic images under edits of appearance alone that are matched to what the refiner did (see
    `null_pairs`); the refined images themselves are not in it, so that a refiner that moves labels does not widen it.
    Pairs of whose picture nothing is left are left out.
    unmoved: pairs that are known to have the same labels, such as a label map and its photo; they are one more kind.
    A check that can be calibrated has `statistics(batch, context)` and SHARES (of the false alarms), DEFAULTS and
    LIMITS by quantity; it may have `learn(pairs)`. Thresholds are "CHECK.QUANTITY:LABEL" with at least 48 objects of
    that name, and "CHECK.QUANTITY" over all. "calibration.pairs", "calibration.objects" and "calibration.false_alarms"
    (what the null is large enough for) say how far to trust them, "calibration.matcher" for which version of the
    matcher they hold. Deterministic.
    """
    chosen = with_evidence(_chosen(pairs))
    if len(chosen) < MIN_PAIRS:
        return context
    thresholds = dict(_learned(chosen))
    learned = replace(context, thresholds=thresholds)
    null = _null(chosen, learned, np.random.default_rng(seed), _chosen(unmoved))
    for name in _calibrated_checks():
        thresholds |= _thresholds(name, null, context.false_alarms)
    thresholds |= _scales(null)
    objects = max((sum(map(len, kinds.values())) for kinds in null.values()), default=0)
    thresholds["calibration.pairs"] = float(len(chosen))
    thresholds["calibration.objects"] = float(objects)
    thresholds["calibration.matcher"] = float(VERSION)
    thresholds["calibration.false_alarms"] = max(context.false_alarms, 1.0 / (objects + 1))
    return replace(context, thresholds=thresholds)


def within_limits(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Thresholds from elsewhere, each brought within the limits that `calibrate` keeps: none makes a check blind."""
    limits: dict[str, tuple[float, float]] = {"geometry.scale": SCALE_LIMITS, "motion.scale": SCALE_LIMITS}
    for name in _calibrated_checks():
        limits |= {f"{name}.{quantity}": ends for quantity, ends in registry.find("check", name).LIMITS.items()}
    return {
        key: float(np.clip(value, *limits.get(key.partition(":")[0], (-np.inf, np.inf))))
        for key, value in thresholds.items()
    }


def with_evidence(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs whose refined images still show something: a look that leaves nothing would excuse every loss."""
    size = max(1, _PIXELS_AT_ONCE // pairs[0].synthetic.size) if pairs else 1
    parts = (pairs[start : start + size] for start in range(0, len(pairs), size))
    return [pair for part in parts for pair, why in zip(part, gone(CheckBatch(part)), strict=True) if not why]


def _chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of the commonest shape, evenly spread, as many as can be measured in seconds."""
    by_shape: dict[tuple[int, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.synthetic.shape == pair.refined.shape:
            by_shape[pair.synthetic.shape].append(pair)
    same = max(by_shape.values(), key=len, default=[])
    if not same:
        return []
    count = min(len(same), MAX_PAIRS, max(2 * MIN_PAIRS, MAX_PIXELS // same[0].synthetic.size))
    return [same[k] for k in np.linspace(0, len(same) - 1, count).round().astype(int)]


def _calibrated_checks() -> Iterator[str]:
    return (name for name in registry.names("check") if hasattr(registry.find("check", name), "statistics"))


def _learned(pairs: Sequence[Pair]) -> Iterator[tuple[str, float]]:
    for name in registry.names("check"):
        module = registry.find("check", name)
        if hasattr(module, "learn"):
            yield from module.learn(pairs).items()


def _null(
    pairs: Sequence[Pair], context: CheckContext, rng: np.random.Generator, unmoved: Sequence[Pair]
) -> Mapping[str, dict[str, list[float]]]:
    """Values by "CHECK.QUANTITY:LABEL" and kind of edit."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    names = list(_calibrated_checks())
    size = max(1, _PIXELS_AT_ONCE // pairs[0].synthetic.size)
    for kind, edited in [*null_pairs(pairs, rng), ("unmoved", unmoved)]:
        for start in range(0, len(edited), size):
            batch = CheckBatch(edited[start : start + size])
            for name in names:
                module = registry.find("check", name)
                if getattr(module, "ASKED_LAST", False) and start // size % COSTLY_EVERY:
                    continue
                for quantity, label, value in module.statistics(batch, context):
                    found[f"{name}.{quantity}:{label}"][kind].append(value)
    return found


def _thresholds(name: str, null: Mapping[str, _Null], false_alarms: float) -> dict[str, float]:
    """Thresholds of one check, by label and over all labels."""
    module: Any = registry.find("check", name)
    found: dict[str, float] = {}
    for quantity, share in module.SHARES.items():
        low, high = module.LIMITS[quantity]
        own = {key: kinds for key, kinds in null.items() if key.startswith(f"{name}.{quantity}:")}
        for key, kinds in {**own, f"{name}.{quantity}": _pooled(own.values())}.items():
            if sum(map(len, kinds.values())) >= MIN_OBJECTS:
                found[key] = round(float(np.clip(_limit(kinds, share * false_alarms), low, high)), 5)
    return found


def _pooled(all_kinds: Iterable[_Null]) -> dict[str, list[float]]:
    pooled: dict[str, list[float]] = defaultdict(list)
    for kinds in all_kinds:
        for kind, values in kinds.items():
            pooled[kind] += values
    return pooled


def _limit(kinds: _Null, rate: float) -> float:
    """What a share `rate` of the null exceeds, and of each kind of edit a share of 2 `rate` at most."""
    every = np.concatenate([np.asarray(values) for values in kinds.values()])
    return max(_exceeded_by(every, rate), *(_exceeded_by(np.asarray(v), 2 * rate) for v in kinds.values()))


def _exceeded_by(values: NDArray[np.float64], rate: float) -> float:
    """Conformal quantile, rank ceil((n + 1)(1 - rate)); beyond the n values, and if higher, an exponential tail.

    The tail is fitted on the upper 5% (Hill-type, mean excess).
    """
    ordered = np.sort(values)
    start = float(np.quantile(ordered, 1 - TAIL))
    excess = float(np.mean(ordered[ordered >= start] - start))
    tail = start + excess * float(np.log(TAIL / min(rate, TAIL)))
    rank = int(np.ceil((len(ordered) + 1) * (1 - rate)))
    return tail if rank > len(ordered) else max(tail, float(ordered[rank - 1]))


def _scales(null: Mapping[str, _Null]) -> dict[str, float]:
    """geometry.scale, motion.scale: factors on standard errors with which 95% of the null lies within its bounds."""
    scaled = {"geometry.fail_sigmas:": ("geometry.scale:", NOMINAL_SIGMAS), "motion.surprise:": ("motion.scale:", 1.0)}
    found = {}
    for key, kinds in null.items():
        quantity, _, label = key.partition(":")
        values = np.concatenate([np.asarray(v) for v in kinds.values()])
        if f"{quantity}:" in scaled and len(values) >= MIN_OBJECTS:
            name, nominal = scaled[f"{quantity}:"]
            scale = float(np.quantile(values, SCALE_QUANTILE)) / nominal
            found[name + label] = round(float(np.clip(scale, *SCALE_LIMITS)), 5)
    return found
