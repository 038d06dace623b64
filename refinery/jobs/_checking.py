"""What a job tells the label checks: tolerances, decoys, the probe, thresholds calibrated on the job's own pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isclose, isfinite
from typing import Any

from refinery.artifact import Artifact
from refinery.checks import CheckContext, calibrate, describe_power
from refinery.checks._calibration import within_limits
from refinery.checks._matcher import VERSION
from refinery.checks._summary import POWER
from refinery.config import InspectConfig, RefineConfig, parse_max_drift, parse_require
from refinery.runtime.probe_session import open_probe
from refinery.sample import FloatArray, Pair


def open_context(
    config: RefineConfig | InspectConfig, decoys: Iterable[tuple[str, FloatArray]], model: Artifact | None
) -> CheckContext:
    """The context of a job before it is calibrated. decoys: see `CheckContext.with_decoys`."""
    context = CheckContext(
        max_drift=parse_max_drift(config.max_drift),
        require=parse_require(config.require),
        false_alarms=config.false_alarms,
        probe=open_probe(model) if model is not None else None,
    )
    return context.with_decoys(decoys)


def calibrated(
    context: CheckContext, model: Artifact | None, pairs: Callable[[], list[Pair]], seed: int
) -> tuple[CheckContext, dict[str, Any]]:
    """The context with thresholds, and their record; the artifact's, if of this rate of false alarms and this matcher.

    pairs: called where they have to be measured.
    """
    given = model.manifest.check_thresholds if model is not None else {}
    known = {name: value for name, value in given.items() if isinstance(value, int | float) and isfinite(value)}
    same_rate = isclose(known.get("calibration.false_alarms", 0.0), context.false_alarms, rel_tol=1e-6)
    if same_rate and known.get("calibration.matcher") == VERSION:
        known = within_limits(known)
        return replace(context, thresholds=known), _record("artifact", context, known)
    found = calibrate(pairs(), context, seed)
    return found, _record("measured" if found.thresholds else "defaults", context, found.thresholds)


def recalled(context: CheckContext, record: Mapping[str, Any]) -> CheckContext:
    """The context with the thresholds that an earlier run of the job wrote down."""
    return replace(context, thresholds=record["thresholds"])


def calibration_sentence(record: Mapping[str, Any]) -> str:
    """Where the thresholds come from, for a person."""
    wanted, held = record["false_alarms"], record["thresholds"].get("calibration.false_alarms", 0.0)
    if record["from"] == "defaults":
        return "checks: default thresholds, there are too few samples to calibrate them on"
    if record["from"] == "artifact":
        return f"checks: calibrated when the refiner was trained, to {wanted:.1%} false alarms"
    pairs = int(record["thresholds"].get("calibration.pairs", 0))
    few = f", which are too few for less than {held:.1%}" if held > wanted * 1.001 else ""
    return f"checks: calibrated on {pairs} samples of this dataset to {wanted:.1%} false alarms{few}"


def power_of(pairs: Sequence[Pair], context: CheckContext) -> dict[str, dict[str, Any]]:
    """What this job can see, by label: measured on its own pairs for what has a place, known of the probe for the rest.

    Each {"detects", "unit", "power", "coverage"}; coverage is None where only the whole job can tell.
    """
    found = describe_power(pairs, context) if pairs else {}
    for name, known in (context.probe.labels if context.probe is not None else {}).items():
        if name in found or not known.competent:
            continue
        flips = known.form == "class" and len(known.power) > 0
        detects = 1.0 if flips else min((size for size, share in known.power if share >= POWER), default=None)
        share = known.power[0][1] if flips else POWER
        found[name] = {"detects": detects, "unit": known.unit, "power": share, "coverage": None}
    return found


def with_coverage(
    power: Mapping[str, Mapping[str, Any]], drift: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The power of those labels that the job has met, with the job's coverage where none was measured."""
    return {
        name: {**found, "coverage": drift[name]["coverage"] if found["coverage"] is None else found["coverage"]}
        for name, found in power.items()
        if name in drift
    }


def unknown_tolerances(context: CheckContext, drift: Mapping[str, Any]) -> Iterator[str]:
    """One line for each name of --max-drift that no label has, or whose label is measured in another unit."""
    for key in context.max_drift:
        name, _, unit = key.rpartition("*") if "*" in key else (key, "", "")
        if name and name not in drift:
            yield f"--max-drift: no label named {name!r} was found; labels: {', '.join(drift) or 'none'}"
        elif name and unit and drift[name]["unit"] != unit:
            yield f"--max-drift: {name!r} is measured in {drift[name]['unit'] or 'its own unit'}, not in {unit}"


def _record(origin: str, context: CheckContext, thresholds: Mapping[str, float]) -> dict[str, Any]:
    return {"from": origin, "false_alarms": context.false_alarms, "thresholds": dict(thresholds)}
