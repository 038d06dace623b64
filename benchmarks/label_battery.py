"""The battery by which the label checks are judged: what they notice, what they cry wolf at, how much they can judge.

    python benchmarks/label_battery.py [--split score] [--quick] [--kinds scenes eyes signs]
    python benchmarks/label_battery.py --split blind --probes FOLDER [--kinds scenes eyes signs parts]
    python benchmarks/label_battery.py --split fresh --probes FOLDER [--kinds wires weaves texts crates]

Every case is a scene drawn, edited, drawn again and then changed in its looks (`battery`). The checks run as
`refinery refine` runs them, calibrated on other images of the same kind as a refiner of these looks would change them,
but with no tolerance at all: `fail` says "moved". True positives are printed of what could be judged and of all.

The score split has been seen while the checks were tuned. The blind split was made without looking at the checks or
their results, from other renderers, edits and looks, and nothing may be tuned on it; it runs at the middle severity.
So was the fresh split, later, with other kinds of scenes: thin wires, textures, words, boxes in space.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import RESULTS, write
from battery import Case, cases, refiner_like, user_images
from battery._kind import SPLITS, Kind
from battery.appearance import SEVERITIES
from battery.cases import COMPOSITE, SPLIT_TABLE
from battery.edits import EDITS, applies
from battery.learned import prober_for
from battery.scenes import ALL_KINDS, kind_named, kinds_of
from battery.score import STRICT, EditScore, Tally, UnmovedScore, score_edit, score_unmoved

from refinery.checks import CheckContext, calibrate, run_checks
from refinery.sample import Finding, Pair

MAX_FALSE_ALARMS, MIN_COVERAGE = 0.02, 0.85
DECOYS, CALIBRATION_PAIRS = 32, 256
MIDDLE = 1
SEED = 5


@dataclass(frozen=True)
class Plan:
    """How much is run: cases of each kind by severity."""

    split: str
    counts: tuple[int, int, int]
    calibration_pairs: int
    probe_steps: int
    probe_networks: int
    calibrate_on: str

    def runs(self, kind: Kind) -> Iterator[tuple[str, int, int]]:
        """(edit or look, severity, count)."""
        table = SPLIT_TABLE[self.split]
        for name in (*(e for e in table["edits"] if applies(kind, e)), *table["looks"], COMPOSITE):
            yield from ((name, severity, count) for severity, count in enumerate(self.counts) if count)


def context_for(kind: Kind, plan: Plan, severity: int, probe: Any) -> CheckContext:
    """As a run of refine on other images of this kind would have it, by a refiner that changes looks this much.

    Its looks are those of `calibrate_on`: with "tune", the score split's looks are new to the thresholds as well.
    """
    own = list(user_images(kind.name, DECOYS, SEED, plan.split))
    context = CheckContext(max_drift=STRICT, probe=probe)
    context = context.with_decoys((pair.sample.key, pair.synthetic) for pair in own)
    looks = SPLIT_TABLE[plan.calibrate_on]["looks"]
    pairs = list(refiner_like(kind.name, plan.calibration_pairs, SEED, plan.split, severity, looks))
    return calibrate(pairs, context)


def judged(found: Iterable[Case], context: CheckContext) -> list[tuple[Case, Sequence[Finding]]]:
    """Every case with what the checks say of it."""
    held = list(found)
    return list(zip(held, run_checks([case.pair for case in held], context), strict=True))


def run_kind(kind: Kind, plan: Plan, probe: Any) -> dict[str, Any]:
    """All edits and looks of one kind of scene: {"edits", "looks": {NAME: {SEVERITY: figures}}, ...}."""
    contexts = [context_for(kind, plan, severity, probe) if n else None for severity, n in enumerate(plan.counts)]
    edits: dict[str, Any] = {}
    looks: dict[str, Any] = {}
    by_name: dict[str, Tally] = {}
    for name, severity, count in plan.runs(kind):
        context = contexts[severity]
        assert context is not None
        found = judged(cases(kind.name, name, severity, count, SEED, plan.split), context)
        if name in EDITS and EDITS[name].noticed_by != "nothing":
            edits.setdefault(name, {})[severity] = score_edit(kind, found)
        else:
            scored = score_unmoved(kind, found)
            looks.setdefault(name, {})[severity] = scored
            if severity == MIDDLE and name == COMPOSITE:
                by_name = scored.by_name
    return {"edits": edits, "looks": looks, "labels": by_name, "rates": speed(kind, plan, contexts[MIDDLE])}


def speed(kind: Kind, plan: Plan, context: CheckContext | None) -> list[float]:
    """Images/s of all checks together, three times."""
    assert context is not None
    pairs: list[Pair] = [case.pair for case in cases(kind.name, COMPOSITE, MIDDLE, 48, SEED + 1, plan.split)]
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        run_checks(pairs, context)
        rates.append(round(len(pairs) / (time.perf_counter() - start), 1))
    return rates


def show(kind: Kind, result: dict[str, Any]) -> str:
    """The tables as text."""
    lines = [
        f"{kind.name}: true positives at 1% false alarms, of judged / of all: touched labels, touched objects, samples"
    ]
    lines.append(f"{'edit':<20}" + "".join(f"{s:>34}" for s in SEVERITIES) + "    bar  reached")
    for name, by_severity in result["edits"].items():
        cells = [_edit_cell(by_severity.get(severity)) for severity in range(3)]
        lines.append(f"{name:<20}" + "".join(f"{cell:>34}" for cell in cells) + _bar(name, by_severity.get(MIDDLE)))
    lines.append(f"{'nothing moved':<20}" + "".join(f"{s:>21}" for s in SEVERITIES) + "    bar  reached")
    for name, by_severity in result["looks"].items():
        cells = [_look_cell(by_severity.get(severity)) for severity in range(3)]
        lines.append(f"{name:<20}" + "".join(f"{cell:>21}" for cell in cells) + _look_bar(by_severity.get(MIDDLE)))
    lines.append("  (false alarms of labels; of findings about the whole sample: content, pairing; coverage of labels)")
    for name, tally in result["labels"].items():
        lines.append(f"  {name:<24} coverage {tally.coverage:.2f}  false alarms {tally.of_judged:.3f}  n {tally.seen}")
    lines.append(f"  checks: {sorted(result['rates'])[1]:.0f} images/s")
    return "\n".join(lines)


def _edit_cell(scored: EditScore | None) -> str:
    if scored is None:
        return "-"
    parts = [tally for tally in scored if tally.seen]
    return " ".join(f"{tally.of_judged:.2f}/{tally.of_all:.2f}" for tally in parts) + f" n{parts[-1].seen}"


def _look_cell(scored: UnmovedScore | None) -> str:
    if scored is None:
        return "-"
    return f"{scored.labels.of_judged:.3f} {scored.others.of_judged:.3f} c{scored.labels.coverage:.2f}"


def _bar(name: str, scored: EditScore | None) -> str:
    bar = EDITS[name].bar
    if bar is None or scored is None:
        return ""
    decisive = scored.decisive(name)
    return f"   {bar:.2f}  of judged {_yes(decisive.of_judged >= bar)}, of all {_yes(decisive.of_all >= bar)}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _look_bar(scored: UnmovedScore | None) -> str:
    if scored is None:
        return ""
    labels, others = (tally.of_judged <= MAX_FALSE_ALARMS for tally in (scored.labels, scored.others))
    covered = scored.labels.coverage >= MIN_COVERAGE
    return f"   {MAX_FALSE_ALARMS:.2f}  labels {_yes(labels)}, whole {_yes(others)}, coverage {_yes(covered)}"


def as_case(result: dict[str, Any]) -> dict[str, Any]:
    """The figures by the schema of results."""
    ratios: dict[str, float] = {}
    for name, by_severity in result["edits"].items():
        for severity, scored in by_severity.items():
            key = f"{name} {SEVERITIES[severity]}"
            for level, tally in scored._asdict().items():
                if tally.seen:
                    ratios |= {f"TPR of judged {level}, {key}": tally.of_judged, f"n {level}, {key}": tally.seen}
                    ratios[f"TPR of all {level}, {key}"] = tally.of_all
    for name, by_severity in result["looks"].items():
        for severity, scored in by_severity.items():
            key = f"{name} {SEVERITIES[severity]}"
            labels, others, samples, _ = scored
            ratios |= {f"false alarms of labels, {key}": labels.of_judged, f"coverage, {key}": labels.coverage}
            ratios |= {f"false alarms about the whole, {key}": others.of_judged, f"n, {key}": labels.seen}
            ratios[f"samples with a false alarm, {key}"] = samples.of_all
    rates = {"checks, images/s": {"median": sorted(result["rates"])[1], "values": result["rates"]}}
    return {"rates": rates, "ratios": {key: round(float(value), 4) for key, value in ratios.items()}}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Judge the label checks.")
    parser.add_argument("--split", choices=SPLITS, default="score", help="what to run (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=ALL_KINDS, help="kinds of scenes (default: all of the split)")
    parser.add_argument("--quick", action="store_true", help="few cases, the middle severity only; writes no result")
    parser.add_argument(
        "--probe", action=argparse.BooleanOptionalAction, default=True, help="train a label probe first"
    )
    parser.add_argument(
        "--calibrate-on", choices=SPLITS, default="tune", help="whose looks calibration sees (default: %(default)s)"
    )
    parser.add_argument("--probes", type=Path, help="folder in which trained probes are kept for the next run")
    parser.add_argument("--table", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    options.kinds = options.kinds or kinds_of(options.split)
    if not set(options.kinds) <= set(kinds_of(options.split)):
        parser.error(
            f"--kinds {' '.join(options.kinds)}: the split {options.split} has {' '.join(kinds_of(options.split))}"
        )
    return options


RESULT_NAMES = {"score": "label_battery", "blind": "label_battery_blind", "fresh": "label_battery_fresh"}
CLAIMS = {
    "score": "label checks notice edits at 1% false alarms, on scenes and edits not seen while they were built",
    "blind": "label checks notice edits at 1% false alarms, on scenes, edits and looks made without knowing the checks",
    "fresh": "label checks notice edits at 1% false alarms, on kinds of scenes made later without knowing the checks",
}


def earlier_results(name: str) -> dict[str, Any]:
    """Kinds that an earlier run wrote, so that each can be run alone."""
    path = RESULTS / f"{name}.json"
    earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.exists() else {}
    return earlier


def main() -> None:
    """Run, print, and write results/ for the score, blind and fresh splits with a probe, unless the run was quick."""
    options = parse()
    counts = (0, 60, 0) if options.split in ("blind", "fresh") else (12, 60, 12)
    full = Plan(options.split, counts, CALIBRATION_PAIRS, 400, 2, options.calibrate_on)
    plan = Plan(options.split, (0, 16, 0), 96, 120, 1, options.calibrate_on) if options.quick else full
    results, tables = {}, []
    for name in options.kinds:
        kind = kind_named(name, plan.split)
        probe = None
        if options.probe:
            probe = prober_for(name, plan.split, plan.probe_steps, plan.probe_networks, options.probes)
        result = run_kind(kind, plan, probe)
        results[f"{plan.split}, {name}"] = as_case(result)
        tables.append(show(kind, result))
        print(tables[-1], flush=True)
    if options.table:
        options.table.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    if plan.split in RESULT_NAMES and options.probe and not options.quick:
        written = RESULT_NAMES[plan.split]
        write(written, CLAIMS[plan.split], "share", earlier_results(written) | results)


if __name__ == "__main__":
    main()
