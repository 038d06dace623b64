"""The command line of signs.py, eyes.py and coins.py: all arms, seed by seed, and the table.

Everything is made once and kept in --work: rendered images, refiners, refined images, and what each student said; what
is there is not made again, so a run may be broken off and started again, and a refiner whose defaults have changed has
to be forgotten (`--forget ours`). Refiners are trained when the first arm needs
them. Seeds are the outer loop, so that --minutes that end early leave every arm with equally many seeds or one less.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _arms import ARMS, RIVAL, Spec, Students, tuning
from _figures import figures, table
from _stages import Stages
from _task import Task

sys.path.append(str(Path(__file__).parents[1]))
from _common import RESULTS, write

STRENGTHS = (0.5, 1.0, 1.5)
REFINERS = ("ours", "ssgan", "plain", "plain 512")
CLAIM = "Students trained on each kind of image, tested on real photos: the same network, steps and augmentation"


def main(kind: type[Task], about: str) -> None:
    """Run the arms of one set and print its table."""
    arguments = _arguments(about)
    torch.set_num_threads(arguments.threads)
    _require_known(arguments.arms or [])
    task = kind(arguments.data, arguments.work)
    results = arguments.work / "results" if arguments.short else RESULTS
    path = results / f"downstream_{task.name}.json"
    if arguments.table and not (arguments.work / "students").exists():
        print(table(task, json.loads(path.read_text())["cases"]))
        return
    _same_settings(arguments)
    students = Students(Stages(task, arguments.short, arguments.threads))
    for refiner in arguments.forget:
        students.forget(refiner)
    if arguments.tune:
        _run(students, tuning(STRENGTHS, task.strength), arguments)
        _tell_tuning(students, arguments.seeds)
        return
    arms = {name: (spec, task.strength) for name, spec in ARMS.items() if _chosen(name, task, arguments.arms)}
    if not arguments.table:
        _run(students, arms, arguments)
    cases = _cases(students, arguments.seeds)
    if cases:
        _write(task, cases, path)
        print(table(task, cases))


def _run(students: Students, arms: dict[str, tuple[Spec, float]], arguments: argparse.Namespace) -> None:
    """All students that are not there yet, until the minutes are over."""
    started = time.monotonic()
    for seed in range(arguments.seeds):
        for name, (spec, strength) in arms.items():
            if students.found(name, seed) is not None:
                continue
            if time.monotonic() - started > 60 * arguments.minutes:
                print("the minutes are over; run it again to go on", flush=True)
                return
            if students.same_as_one_variant(spec):
                print(f"{name}: this refiner has no noise, so all its variants are one", flush=True)
                continue
            found = students.train(name, seed, spec, strength)
            print(f"{name}, seed {seed}: {_mean(students, found):.4f} in {found['seconds']} s", flush=True)


def _cases(students: Students, seeds: int) -> dict[str, Any]:
    """Figures of every student that is there."""
    found = {name: _seeds_of(students, name, seeds) for name in ARMS}
    found = {name: kept for name, kept in found.items() if kept}
    return figures(students.task, found, students.photos.groups, students.stages.seconds()) if found else {}


def _tell_tuning(students: Students, seeds: int) -> None:
    for name in tuning(STRENGTHS, students.task.strength):
        kept = _seeds_of(students, name, seeds)
        if kept:
            scores = [_mean(students, found) for found in kept.values()]
            print(f"{name}: {sum(scores) / len(scores):.4f} {students.task.unit}", [round(s, 4) for s in scores])


def _seeds_of(students: Students, name: str, seeds: int) -> dict[int, dict[str, Any]]:
    found = {seed: students.found(name, seed) for seed in range(seeds)}
    return {seed: each for seed, each in found.items() if each is not None}


def _mean(students: Students, found: dict[str, Any]) -> float:
    errors = found["errors"]
    mean = float(errors[errors == errors].mean())
    return 1 - mean if students.task.higher else mean


def _require_known(words: list[str]) -> None:
    """Stops at a word that is in no arm's name."""
    for word in words:
        if not any(word in name for name in ARMS):
            raise SystemExit(f"--arms {word!r}: in no arm's name; the arms are\n  " + "\n  ".join(ARMS))


def _chosen(name: str, task: Task, wanted: list[str] | None) -> bool:
    """Arms that are wanted by name or by words in it; where none is, all but those that the set leaves out."""
    if wanted is None:
        return not any(word in name for word in task.left_out)
    return any(word == name if word in ARMS else word in name for word in wanted)


def _write(task: Task, cases: dict[str, Any], path: Path) -> None:
    claim = f"{CLAIM}; rival: {RIVAL}"
    if path.parent == RESULTS:
        write(path.stem, claim, task.unit, cases)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"claim": claim, "unit": task.unit, "cases": cases}, indent=2) + "\n")


def _same_settings(arguments: argparse.Namespace) -> None:
    """Stops where --work holds a run of another length: its students are no equals."""
    path = arguments.work / "settings.json"
    own = {"short": arguments.short}
    if path.exists() and json.loads(path.read_text()) != own:
        raise SystemExit(
            f"{arguments.work} holds a run {'without' if arguments.short else 'with'} --short; take another"
        )
    arguments.work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(own) + "\n")


def _arguments(about: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with eyes/ and signs/")
    parser.add_argument("--work", type=Path, default=Path("work"), help="where all that is made is kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further student after this long")
    parser.add_argument("--arms", nargs="+", help="only these: names, or words in names")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="few images and steps: whether all of it works")
    parser.add_argument("--tune", action="store_true", help="the rival with other strengths of augmentation")
    parser.add_argument(
        "--forget", nargs="+", default=[], choices=REFINERS, metavar="REFINER", help="train these again: %(choices)s"
    )
    parser.add_argument("--table", action="store_true", help="print what is there, train nothing")
    return parser.parse_args()
