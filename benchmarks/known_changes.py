"""Is the drift that the label checks report the true one? Images drawn again with a known change say so.

    python benchmarks/known_changes.py [--quick]

eyes: the gaze turned by 0, 2, 5, 10 degrees; scenes: a box moved by 0, 1, 2, 3 px and scaled by 2, 5, 10%, a mask
moved likewise, by its IoU; signs: another pictogram in 0, 5, 20% of the images. Every refined image has also changed
in its looks, as in the score split of the battery at the middle severity. The checks are calibrated and the probe is
trained on other images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import write
from battery import Case, cases
from battery.cases import COMPOSITE
from battery.edits import Touched
from battery.learned import prober_for
from battery.scenes import kind_named
from label_battery import MIDDLE, Plan, context_for, judged

from refinery.checks import CheckContext, run_checks
from refinery.sample import Finding

SPLIT = "score"
SEED = 23


@dataclass(frozen=True)
class Question:
    """A label whose true change is known. edit, amounts: how it was changed. quantity: "drift" or "iou"."""

    kind: str
    label: str
    edit: str
    amounts: tuple[float, ...]
    quantity: str = "drift"


QUESTIONS = (
    Question("eyes", "gaze_vector", "gaze", (0.0, 2.0, 5.0, 10.0)),
    Question("eyes", "iris_center", "gaze", (0.0, 2.0, 5.0, 10.0)),
    Question("scenes", "objects.box", "shift_1px", (0.0, 1.0, 2.0, 3.0)),
    Question("scenes", "objects.box", "shift_1px", (0.0, 1.0, 2.0, 3.0), "iou"),
    Question("scenes", "objects.box", "scale", (2.0, 5.0, 10.0)),
    Question("scenes", "objects.box", "scale", (2.0, 5.0, 10.0), "iou"),
    Question("scenes", "objects.mask", "shift_1px", (0.0, 1.0, 2.0, 3.0), "iou"),
)
FLIPPED_SHARES = (0.0, 0.05, 0.2)


@dataclass(frozen=True)
class Answer:
    """What was said of labels of which the truth is known.

    true, measured: medians. error: median of |measured - true|. held: share whose truth lies within the bounds, of
    those that have both. coverage: share that was measured. n: labels.
    """

    true: float
    measured: float
    error: float
    held: float
    coverage: float
    n: int


def truths(found: list[tuple[Case, Any]], question: Question, amount: float) -> Iterator[tuple[float, Finding]]:
    """(true value, finding) of each label that was edited; of one object of each image when it was not."""
    for case, findings in found:
        changed = {touched.item: touched for touched in case.touched if touched.name == question.label}
        if not changed and amount:
            continue
        still = Touched(question.label, 0, 0.0, "")
        item, touched = next(iter(changed.items()), (0, still))
        true = touched.iou if question.quantity == "iou" else touched.amount
        yield from ((true, f) for f in findings if f.label == question.label and f.item == item)


def answer(pairs: list[tuple[float, Finding]], quantity: str) -> Answer:
    """Compare what was found with what is true."""
    measured = [(true, f, value) for true, f in pairs if (value := getattr(f, quantity)) is not None]
    if not measured:
        return Answer(
            float(np.median([true for true, _ in pairs])), float("nan"), float("nan"), float("nan"), 0.0, len(pairs)
        )
    errors = [abs(value - true) for true, _, value in measured]
    bounded = [f.lower <= true <= f.upper for true, f, _ in measured if f.lower is not None and f.upper is not None]
    return Answer(
        float(np.median([true for true, _, _ in measured])),
        float(np.median([value for _, _, value in measured])),
        float(np.median(errors)),
        float(np.mean(bounded)) if bounded and quantity == "drift" else float("nan"),
        len(measured) / len(pairs),
        len(pairs),
    )


def flip_rate(kind_name: str, share: float, count: int, context: CheckContext) -> Answer:
    """The share of exchanged signs that is found, where the true one is known exactly."""
    flipped = round(share * count)
    shown = [*cases(kind_name, "class", MIDDLE, flipped, SEED, SPLIT)]
    shown += cases(kind_name, COMPOSITE, MIDDLE, count - flipped, SEED, SPLIT)
    found = run_checks([case.pair for case in shown], context)
    verdicts = [f.verdict for findings in found for f in findings if f.label == "class_id"]
    sure = [verdict == "fail" for verdict in verdicts if verdict in ("pass", "fail")]
    said = float(np.mean(sure)) if sure else float("nan")
    true = flipped / count
    return Answer(true, said, abs(said - true), float("nan"), len(sure) / len(verdicts), len(verdicts))


def ask(question: Question, count: int, context: CheckContext) -> dict[float, Answer]:
    """Answers by the amount of the edit."""
    found = {}
    for amount in question.amounts:
        shown = cases(question.kind, question.edit, MIDDLE, count, SEED, SPLIT, amount=amount)
        found[amount] = answer(list(truths(judged(shown, context), question, amount)), question.quantity)
    return found


def show(title: str, answers: dict[float, Answer]) -> dict[str, float]:
    """Print one table; returns its figures for the result."""
    print(f"{title}\n{'change':>8}{'true':>9}{'measured':>10}{'error':>8}{'in bounds':>11}{'coverage':>10}{'n':>6}")
    ratios = {}
    for amount, a in answers.items():
        print(f"{amount:>8g}{a.true:>9.3f}{a.measured:>10.3f}{a.error:>8.3f}{a.held:>11.2f}{a.coverage:>10.2f}{a.n:>6}")
        figures = {
            "true": a.true,
            "measured": a.measured,
            "error": a.error,
            "in bounds": a.held,
            "coverage": a.coverage,
        }
        ratios |= {f"{name}, change {amount:g}": round(v, 4) for name, v in figures.items() if np.isfinite(v)}
        ratios[f"n, change {amount:g}"] = a.n
    print(flush=True)
    return ratios


def main() -> None:
    """Ask everything, print, and write results/known_changes.json unless the run was quick."""
    parser = argparse.ArgumentParser(description="Compare measured drift with known changes.")
    parser.add_argument("--quick", action="store_true", help="few images, a hastily trained probe; writes no result")
    parser.add_argument(
        "--probe", action=argparse.BooleanOptionalAction, default=True, help="train a label probe first"
    )
    parser.add_argument("--probes", type=Path, help="folder in which trained probes are kept for the next run")
    options = parser.parse_args()
    count = 16 if options.quick else 80
    plan = (
        Plan(SPLIT, (0, count, 0), 96, 120, 1, "tune")
        if options.quick
        else Plan(SPLIT, (0, count, 0), 256, 400, 2, "tune")
    )
    contexts: dict[str, CheckContext] = {}
    for name in ("eyes", "scenes", "signs"):
        chosen = (plan.probe_steps, plan.probe_networks, options.probes)
        probe = prober_for(name, SPLIT, *chosen) if options.probe else None
        contexts[name] = replace(context_for(kind_named(name), plan, MIDDLE, probe), max_drift={})
    results = {}
    for question in QUESTIONS:
        title = f"{question.kind}, {question.label} {question.quantity} under {question.edit}"
        answers = ask(question, count, contexts[question.kind])
        results[title] = {"rates": {}, "ratios": show(title, answers)}
    flips = {share: flip_rate("signs", share, 4 * count, contexts["signs"]) for share in FLIPPED_SHARES}
    results["signs, share of class_id flipped"] = {
        "rates": {},
        "ratios": show("signs, share of class_id flipped", flips),
    }
    if not options.quick:
        write(
            "known_changes", "the drift that checks report is the true one, where it is known", "label's own", results
        )


if __name__ == "__main__":
    main()
