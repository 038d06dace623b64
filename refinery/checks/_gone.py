"""Pictures of which nothing is left: which they are, and what is said of their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refinery.checks import _evidence as limits
from refinery.checks._batch import CLIPPED, CheckBatch
from refinery.checks._evidence import edges_left, evidence_of_images, is_noise
from refinery.checks._things import GEOMETRIC, IMAGE_LABEL
from refinery.sample import Finding, FloatArray, Label, Pair

CHECK = LABEL = "evidence"
"""The check, and what its finding about a whole picture is named."""

GONE = "gone"
"""How the reason of each of its findings begins."""


def gone(batch: CheckBatch) -> list[str]:
    """Why nothing is left of each source's picture; empty where something is, or where the source shows nothing.

    With smoothed values in levels of 255: flat: they lie less than 4 apart, and those of the source at least 16. Lost:
    they deviate by less than 8, and by a quarter of the source's at most, and neither edges nor colours follow the
    source (S(0) < 0.2, R < 0.7). Noise: as little of both as no look leaves (0.15), and the values differ from pixel to
    pixel, however much; images of few pixels are not judged by this. Another picture is not gone but the wrong one.
    """
    found = evidence_of_images(batch)
    faint = found.is_faint
    noise = found.shows & (found.colours < limits.NOISE) & (batch.size_hw[0] * batch.size_hw[1] >= limits.NOISE_PX)
    reasons = []
    for n, flat in enumerate(found.is_flat.tolist()):
        looks_lost = not flat and bool(faint[n] or noise[n])
        edges = edges_left(batch.synthetic_field[n], batch.refined_field[n]) if looks_lost else 1.0
        lost = (faint[n] and edges < limits.FAINT_EDGES) or (
            noise[n] and edges < limits.NOISE and is_noise(batch.refined_images[n], batch.refined_smoothed[n])
        )
        told = _described(batch.pairs[n].refined) if flat else "nothing of its source is found in the image"
        reasons.append(told if flat or lost else "")
    return reasons


def is_gone(findings: Sequence[Finding]) -> bool:
    """True if the findings of a pair say that its whole picture is gone."""
    return any(one.label == LABEL and one.check == CHECK and one.verdict == "fail" for one in findings)


def objections(pair: Pair, labels: Sequence[Label], reason: str) -> list[Finding]:
    """A fail for a picture of which nothing is left, and one for each of these labels and the stand-in for geometry."""
    whole = Finding(LABEL, LABEL, "fail", unit="", reason=f"{GONE}: {reason}", check=CHECK)
    stand_in = (
        () if any(label.type in GEOMETRIC for label in pair.labels) else (Label(IMAGE_LABEL, "box", np.zeros(0)),)
    )
    return [whole, *(objection(label, reason) for label in (*labels, *stand_in))]


def objection(label: Label, reason: str) -> Finding:
    """A fail for one label of which nothing is left."""
    return Finding(
        label.name, label.type, "fail", unit=label.unit, reason=f"{GONE}: {reason}", check=CHECK, item=label.item
    )


def _described(refined: FloatArray) -> str:
    values = np.median(refined, axis=(0, 1))
    ends = {"black": bool((values <= -CLIPPED).all()), "white": bool((values >= CLIPPED).all())}
    colour = next((name for name, holds in ends.items() if holds), "one flat colour")
    return f"the image became {colour}"
