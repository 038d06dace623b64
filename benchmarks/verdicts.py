"""What users see: verdicts at the default tolerance of 1 px, where it is known what moved and what did not.

    python benchmarks/verdicts.py [--split blind] [--kinds eyes] [--count 100] [--name verdicts]

Scenes of the battery, drawn again after an edit and then changed in their looks (two random looks of the split, middle
severity). Checks are calibrated on other images of the same kind, without a probe, as `refinery inspect` runs them on a
dataset that another tool refined. Of labels that moved beyond the tolerance: how many fail, abstain, pass. Of labels
that stayed: the same. A sample counts by its worst label.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from _common import write
from battery import Case, cases
from battery._kind import SPLITS, Kind
from battery.cases import COMPOSITE
from battery.edits import EDITS, applies
from battery.scenes import kind_named, kinds_of
from label_battery import CALIBRATION_PAIRS, MIDDLE, SEED, Plan, context_for

from refinery.checks import CheckContext, overall, run_checks
from refinery.sample import Finding, Verdict

CHANGES = (
    COMPOSITE, "shift_1px", "shift_2px", "shift_3px", "shift_5px", "image_shift_2px", "remove", "occlude", "mirror",
    "background",
)  # fmt: skip
TOLERANCE_PX, TOLERANCE_SHARE = 1.0, 0.1
VERDICTS: tuple[Verdict, ...] = ("fail", "abstain", "pass", "not_checkable")


def moved_and_stayed(case: Case, findings: Sequence[Finding]) -> Iterator[tuple[str, Verdict]]:
    """("moved" or "stayed", verdict) of each label; of one that moved by less than the tolerance nothing."""
    amounts = {(touched.name, touched.item): touched for touched in case.touched}
    whole = bool(case.touched) and all(touched.name not in {f.label for f in findings} for touched in case.touched)
    for finding in findings:
        touched = amounts.get((finding.label, finding.item))
        if finding.unit != "px":
            continue
        if whole or (touched is not None and _beyond(touched.amount, touched.unit)):
            yield "moved", finding.verdict
        elif touched is None:
            yield "stayed", finding.verdict


def _beyond(amount: float, unit: str) -> bool:
    return amount > TOLERANCE_PX if unit == "px" else amount > TOLERANCE_SHARE


def verdicts_of(kind: Kind, change: str, count: int, context: CheckContext, split: str) -> dict[str, Counter[Verdict]]:
    """Counts of verdicts of labels that moved, of labels that stayed, and of samples."""
    shown = list(cases(kind.name, change, MIDDLE, count, SEED, split))
    counts: dict[str, Counter[Verdict]] = {"moved": Counter(), "stayed": Counter(), "samples": Counter()}
    for case, findings in zip(shown, run_checks([case.pair for case in shown], context), strict=True):
        counts["samples"][overall(findings, context)] += 1
        for which, verdict in moved_and_stayed(case, findings):
            counts[which][verdict] += 1
    return counts


def shares(change: str, counts: dict[str, Counter[Verdict]]) -> dict[str, float]:
    """The counts as shares, by name."""
    found: dict[str, float] = {}
    for which, tally in counts.items():
        total = sum(tally.values())
        if total:
            found[f"n {which}, {change}"] = total
            found |= {f"{which} {verdict}, {change}": round(tally[verdict] / total, 4) for verdict in VERDICTS}
    return found


def run_kind(kind: Kind, split: str, count: int) -> dict[str, Any]:
    """All changes of one kind of scene."""
    plan = Plan(split, (0, count, 0), CALIBRATION_PAIRS, 0, 0, "tune")
    context = replace(context_for(kind, plan, MIDDLE, None), max_drift={})
    print(f"{split}, {kind.name}: fail abstain pass (not checkable) of labels that moved | stayed | of samples")
    figures: dict[str, float] = {}
    for change in (change for change in CHANGES if change not in EDITS or applies(kind, change)):
        counts = verdicts_of(kind, change, count, context, split)
        figures |= shares(change, counts)
        cells = [" ".join(f"{_share(tally, verdict):.2f}" for verdict in VERDICTS) for tally in counts.values()]
        print(f"  {change:<18}" + " | ".join(cells), flush=True)
    return {"figures": figures}


def _share(tally: Counter[Verdict], verdict: Verdict) -> float:
    return tally[verdict] / max(1, sum(tally.values()))


def main() -> None:
    """Run, print, and write results/verdicts.json."""
    parser = argparse.ArgumentParser(description="Count verdicts at the default tolerance.")
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=["blind"])
    parser.add_argument("--kinds", nargs="+", help="kinds of scenes (default: all of the split)")
    parser.add_argument("--count", type=int, default=100, help="cases of each change (default: %(default)s)")
    parser.add_argument("--name", default="verdicts", help="of the result; empty: write none")
    options = parser.parse_args()
    results = {}
    for split in options.split:
        for name in options.kinds or kinds_of(split):
            results[f"{split}, {name}"] = run_kind(kind_named(name, split), split, options.count)
    if options.name:
        write(options.name, "moved labels fail and labels that stayed pass, at a tolerance of 1 px", "share", results)


if __name__ == "__main__":
    main()
