"""An audit of arrays in memory: which labels of synthetic images are still true of refined ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refinery import artifact as artifacts
from refinery.annotations import read_labels
from refinery.api.arrays import ImageArrays, Images, take_apart
from refinery.api.refiner import Refiner
from refinery.checks import CheckContext, DriftSummary, overall, run_checks
from refinery.config import InspectConfig
from refinery.errors import LabelError, UsageError
from refinery.image import as_channels
from refinery.jobs._checking import calibrated, calibration_sentence, open_context
from refinery.sample import VERDICTS, Finding, Label, Pair, Sample, Verdict

CALIBRATED_ON, DECOYS, AT_ONCE = 256, 32, 64

Labels = Sequence[Label] | Mapping[str, Any]
"""What is said of one image: labels as `open_dataset` gives them, or a dictionary that is read as a JSON sidecar is."""


@dataclass(frozen=True)
class ArrayAudit:
    """Verdicts on the labels of images in memory.

    verdicts: how many samples got which (pass, fail, abstain, not_checkable). sample_verdicts: of each image, in order.
    findings: of each image, one for each label. drift: by label, as in `refinery refine --json`. failures: why samples
    failed, by how many. calibration: where the thresholds of the checks come from.
    """

    verdicts: dict[str, int]
    sample_verdicts: tuple[Verdict, ...]
    findings: tuple[tuple[Finding, ...], ...] = field(repr=False)
    drift: dict[str, dict[str, Any]] = field(repr=False)
    failures: dict[str, int]
    calibration: str


def audit(
    images: Images,
    refined: Images,
    labels: Sequence[Labels],
    max_drift: str = "1px",
    model: str | Path | Refiner | None = None,
    require: str = "",
    false_alarms: float = 0.01,
    seed: int = 0,
    keys: Sequence[str] | None = None,
) -> ArrayAudit:
    """Judge the labels of synthetic images in their refined versions, whoever made these.

    images, refined: as `Refiner` takes them, image i of both of one size. labels: of each image. max_drift, require,
    false_alarms: as `refinery inspect` takes them. model: a run, artifact or refiner, whose label probe judges classes,
    numbers and directions; without one they are not checkable. The checks are calibrated on the images themselves, or
    as the model's were. keys: names of the images; left out they are "0", "1", ...
    Raises UsageError for sides or labels that do not match, ConfigError for settings that are none, LabelError for a
    dictionary that cannot be read as labels.
    """
    before, after = take_apart(images), take_apart(refined, "refined")
    count = len(before.floats)
    for name, length in (("refined", len(after.floats)), ("labels", len(labels)), ("keys", len(keys or before.floats))):
        if length != count:
            raise UsageError(f"{name}: {length} for {count} images; expected one for each")
    names = [str(at) for at in range(count)] if keys is None else list(keys)
    pairs = [_pair(names[at], before, after, labels[at], at) for at in range(count)]
    artifact = model.artifact if isinstance(model, Refiner) else artifacts.load(model) if model else None
    config = InspectConfig(max_drift=max_drift, require=require, false_alarms=false_alarms)
    decoys = ((pair.sample.key, pair.synthetic) for pair in _spread(pairs, DECOYS))
    context, record = calibrated(
        open_context(config, decoys, artifact), artifact, lambda: _spread(pairs, CALIBRATED_ON), seed
    )
    return _judged(pairs, context, calibration_sentence(record))


def _judged(pairs: Sequence[Pair], context: CheckContext, calibration: str) -> ArrayAudit:
    drift, failures = DriftSummary(), Counter[str]()
    findings: list[tuple[Finding, ...]] = []
    verdicts: list[Verdict] = []
    for start in range(0, len(pairs), AT_ONCE):
        for found in run_checks(pairs[start : start + AT_ONCE], context):
            drift.add(found)
            findings.append(tuple(found))
            verdicts.append(overall(found, context))
            if verdicts[-1] == "fail":
                failures.update({finding.label for finding in found if finding.verdict == "fail"})
    counts: dict[str, int] = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    return ArrayAudit(
        counts, tuple(verdicts), tuple(findings), drift.as_dict(), dict(failures.most_common()), calibration
    )


def _pair(key: str, before: ImageArrays, after: ImageArrays, labels: Labels, at: int) -> Pair:
    first, second = before.floats[at], after.floats[at]
    if first.shape[:2] != second.shape[:2]:
        (height, width), (h, w) = second.shape[:2], first.shape[:2]
        raise UsageError(
            f"refined[{at}]: {width}x{height} px, but images[{at}] is {w}x{h} px, where its labels are; scale it back"
        )
    channels = max(first.shape[2], second.shape[2])
    told = _labels_of(labels, (first.shape[0], first.shape[1]), at)
    return Pair(Sample(key, key), as_channels(first, channels), as_channels(second, channels), told)


def _labels_of(labels: Labels, size_hw: tuple[int, int], at: int) -> tuple[Label, ...]:
    if not isinstance(labels, Mapping):
        if not isinstance(labels, Sequence) or not all(isinstance(label, Label) for label in labels):
            raise UsageError(
                f"labels[{at}]: got {type(labels).__name__}; expected the labels of one image as open_dataset "
                "gives them, or a dictionary by name"
            )
        return tuple(labels)
    text = json.dumps(dict(labels), default=np.ndarray.tolist).encode()
    read, problems = read_labels({f"labels[{at}].json": text}, size_hw)
    if problems:
        raise LabelError(problems[0])
    return read


def _spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most so many, evenly from all."""
    return list(pairs[:: max(1, -(-len(pairs) // count))]) if pairs else []
