"""The result in a few sentences that a person would say to a colleague."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refinery.report.text import count_verdicts, realism_verdict


def summary_sentences(found: Mapping[str, Any]) -> list[str]:
    """What inspect, refine or train found out: the labels first, then realism and what the images are good for."""
    sentences = [*_run_sentences(found), *_label_sentences(found), *_moved_sentences(found.get("drift") or {})]
    if realism := found.get("realism"):
        sentences.append(_sentence(realism_verdict(realism)))
    if utility := found.get("utility"):
        sentences.append(_sentence(utility["recommendation"]))
    return sentences or _plain_sentences(found)


def _run_sentences(found: Mapping[str, Any]) -> list[str]:
    if found["kind"] != "run":
        return []
    if (summary := found["summary"]) is None:
        return [f"The training is not finished; it has done {found['steps']:,} steps."]
    sentences = [f"After {summary['steps']:,} steps the refiner of step {summary['best_step']:,} was the best one."]
    sentences += _moved_sentences(summary["drift"])
    return [*sentences, _sentence(realism_verdict(summary["realism"]))] if summary["realism"] else sentences


def _label_sentences(found: Mapping[str, Any]) -> list[str]:
    """How many samples kept their labels; nothing judged is never good news."""
    if "verdicts" not in found:
        return []
    counts = count_verdicts(found["verdicts"])
    total, passed, failed = sum(counts.values()), counts["pass"], counts["fail"]
    if not passed and not failed:
        return ["No sample could be judged for certain, so nothing is known about whether the labels still hold."]
    unsure = f"{total - passed - failed:,} could not be judged for certain"
    if passed == total:
        sentence = f"All {total:,} samples keep their labels."
    elif not failed:
        sentence = f"No label was found to have moved: {passed:,} of {total:,} samples pass, and {unsure}."
    else:
        rest = f", and {unsure}" if total > passed + failed else ""
        verb = "fails its" if failed == 1 else "fail their"
        sentence = f"{failed:,} of {total:,} samples ({failed / total:.1%}) {verb} label check; {passed:,} pass{rest}."
    return [sentence, *_softened_sentences(found)]


def _softened_sentences(found: Mapping[str, Any]) -> list[str]:
    if not (count := found.get("softened")):
        return []
    one = count == 1
    return [f"{count:,} {'was' if one else 'were'} refined less than fully, because a label had moved."]


def _moved_sentences(drift: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The label that moved most, where some were measured in px, and what would have been noticed."""
    in_px = {name: d for name, d in drift.items() if d["unit"] == "px" and d["median"] is not None}
    if not in_px:
        return []
    name = max(in_px, key=lambda name: float(in_px[name]["p95"]))
    d = in_px[name]
    half, most = f"{d['median']:.2g} px or less", f"{d['p95']:.2g} px or less"
    if len(in_px) == 1:
        said = f"Of the label {name} half the objects moved by {half}, 95% by {most}"
    else:
        said = f"The label that moved most is {name}: {half} in half of the objects, {most} in 95%"
    noticed = f"; a move of {d['power']:.2g} px would have been noticed" if d.get("power") else ""
    return [f"{said}{noticed}."]


def _plain_sentences(found: Mapping[str, Any]) -> list[str]:
    if found["kind"] == "artifact":
        return [
            f"A refiner that {found['manifest']['method']} trained, for {found['manifest']['channels']} channel(s)."
        ]
    labels = len(found.get("labels") or ())
    named = f"{labels:,} kinds of labels" if labels != 1 else "one kind of label"
    return [f"{found.get('samples', 0):,} samples with {named}; nothing was compared with them yet."]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
