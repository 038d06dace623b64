"""Results as text for people, on stdout: what `--json` would print, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from refinery.report.utility import utility_lines
from refinery.sample import VERDICTS

UNPROBED = "while training only geometry is measured"
NAMED_PROBLEMS = 10
NAMED_WORST = 3
NAMED_FAILURES = 6
NAMED_PARTS = 10


def train_text(result: Mapping[str, Any]) -> str:
    """The result of a training run for people."""
    if result["artifact"] is None:
        return f"run {result['run']} stopped at step {result['steps']}"
    lines = [
        f"run        {result['run']}",
        f"steps      {result['steps']:,} ({result['stopped_by']}), {result['images_per_s']:,.0f} images/s",
        f"artifact   {result['artifact']} (step {result['best_step']})",
    ]
    drift = {name: {**d, "not_checkable_reason": UNPROBED} for name, d in result["drift"].items()}
    lines += [*_label_lines(drift), *_power_lines(result.get("power", {}))]
    lines += _realism_lines(result["realism"])
    lines.append(f"           {realism_verdict(result['realism'])}")
    return "\n".join([*lines, *_page_lines(result)])


def refine_text(result: Mapping[str, Any]) -> str:
    """The result of a refine job for people."""
    rate = f", {result['images_per_s']:,.0f} images/s" if result["images_per_s"] else ""
    variants = result.get("variants", 1)
    each = f" ({result['samples'] // variants:,} x {variants} variants)" if variants > 1 else ""
    lines = [
        f"output     {result['out']}" + (f" (part {result['shard']})" if result.get("shard") else ""),
        f"samples    {result['samples']:,}{each}: {delivered_text(result)}{rate}",
        f"labels     {verdict_text(result['verdicts'])}",
    ]
    lines += [*_open_lines(result), *_breakdown_lines(result), *_softened_lines(result), *_failure_lines(result)]
    lines += _label_lines(result["drift"])
    lines += _power_lines(result.get("power", {}))
    if result.get("worst_picture"):
        lines.append(f"worst      {result['worst_picture']}")
    lines += _page_lines(result)
    if result["rejected"] or result["verdicts"]["fail"] or result.get("softened"):
        manifest = result.get("manifest", f"{result['out']}/.refinery/manifest.jsonl")
        lines.append(f"see        {manifest} for each of them" if manifest else "see        --report DIR names them")
    return "\n".join(lines)


def breakdown_sentences(result: Mapping[str, Any]) -> list[str]:
    """What broke down altogether: flat images, NaN, or checks that could judge nothing; a sentence each."""
    samples, sentences = result["samples"], []
    if flat := result.get("flat"):
        sentences.append(
            f"the refiner makes flat images: of {flat:,} of {samples:,} samples nothing is left of what the source "
            "shows; train it again, or use an earlier checkpoint"
        )
    if broken := result.get("not_finite"):
        sentences.append(
            f"the refiner makes NaN or infinite pixels: {broken:,} of {samples:,} samples are delivered as they were; "
            "train or export it again"
        )
    counts = count_verdicts(result["verdicts"])
    if samples and not counts["pass"] + counts["fail"] and (doubts := counts["abstain"] + counts["not_checkable"]):
        sentences.append(
            f"no label was judged: in all {doubts:,} samples the checks were not sure or could not look, so that "
            "nothing says that a label holds"
        )
    return sentences


def _breakdown_lines(result: Mapping[str, Any]) -> list[str]:
    return [f"attention  {sentence}" for sentence in breakdown_sentences(result)]


def _open_lines(result: Mapping[str, Any]) -> list[str]:
    """What keeps samples open that nothing speaks against, and what would close them."""
    if not (waiting := result.get("open")):
        return []
    closing = []
    if in_px := [name for name in waiting if result["drift"].get(name, {}).get("unit") == "px"]:
        closing.append(f"allow more (--max-drift {in_px[0]}=...px)")
    if any(name in result["drift"] for name in waiting):
        closing.append("name the labels that decide (--require)")
    advice = f"; {', or '.join(closing)}" if closing else ""
    return [f"open       {_in_samples(waiting)} (samples): the checks were not sure{advice}"]


def _softened_lines(result: Mapping[str, Any]) -> list[str]:
    """How many samples failed as they were refined, and at which strength they were delivered."""
    if not result.get("softened"):
        return []
    strengths = dict(result["strengths"])
    unchanged = strengths.pop("0", 0)
    parts = [f"{count:,} at strength {strength}" for strength, count in strengths.items()]
    parts += [f"{unchanged:,} as the synthetic image itself"] if unchanged else []
    share = result["softened"] / result["samples"]
    return [f"softened   {result['softened']:,} ({share:.1%}) failed as refined; delivered {', '.join(parts)}"]


def _failure_lines(result: Mapping[str, Any]) -> list[str]:
    """In how many samples each label failed as it was refined."""
    if not (failures := result.get("failures")):
        return []
    return [f"failed     {_in_samples(failures)} (samples, as refined)"]


def _in_samples(counts: Mapping[str, int]) -> str:
    """In how many samples something is so of each label, the first few of them."""
    named = ", ".join(f"{name} in {count:,}" for name, count in list(counts.items())[:NAMED_FAILURES])
    more = f" and {len(counts) - NAMED_FAILURES} more labels" if len(counts) > NAMED_FAILURES else ""
    return named + more


def delivered_text(result: Mapping[str, Any]) -> str:
    """How samples were delivered, in words."""
    return ", ".join(f"{result[status]:,} {status}" for status in ("refined", "rejected", "quarantined"))


def verdict_text(verdicts: Mapping[str, int]) -> str:
    """Counts of verdicts in words."""
    return ", ".join(f"{count:,} {verdict.replace('_', ' ')}" for verdict, count in verdicts.items())


def drift_rows(drift: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One line a label."""
    return {name: _drift_row(d) for name, d in drift.items()}


def _drift_row(d: Mapping[str, Any]) -> str:
    if d["median"] is None:
        return _unmeasured_row(d)
    if d["unit"] == "flip":
        moved = f"flipped in {d['mean']:.1%}{_interval_text(d.get('ci95'), '.1%')}"
    else:
        unit = f" {d['unit']}" if d["unit"] else ""
        one_way = "all one way" if d.get("mean_shift_px") else "on average"
        moved = (
            f"moved {d['median']:.2f}{unit} (median), {d['p95']:.2f} (95%), "
            f"{d['mean']:.2f}{_interval_text(d.get('ci95'), '.2f')} {one_way}"
        )
    iou = f"; IoU {d['iou']:.3f}" if d.get("iou") is not None else ""
    failed = f"; {d['failed']:.1%} failed{_interval_text(d['failed_ci95'], '.1%')}" if d.get("failed") else ""
    return f"{moved}{iou}{failed}; judged {d['coverage']:.0%}"


def _unmeasured_row(d: Mapping[str, Any]) -> str:
    """A label of which no drift is known: it failed, was in doubt, or could not be checked."""
    counts = d.get("verdicts") or dict.fromkeys(VERDICTS, 0)
    total = sum(counts.values())
    if counts["fail"]:
        return f"failed in {counts['fail']:,} of {total:,}, and none could be measured"
    if counts["abstain"]:
        return f"not judged: the checks were not sure in {counts['abstain']:,} of {total:,}"
    reason = d.get("not_checkable_reason")
    return f"not checkable: {reason}" if reason else "not checkable"


def _interval_text(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def power_rows(power: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One sentence a label: the smallest move that this run would have noticed."""
    rows = {}
    for name, found in power.items():
        seen = f"{found['coverage']:.0%} of objects"
        if found["unit"] == "flip":
            rows[name] = f"detects {found['power']:.0%} of flips, in {seen}"
        elif found["detects"] is None:
            rows[name] = f"none of the moves tried is found with {found['power']:.0%} power; measurable in {seen}"
        else:
            rows[name] = f"detects {found['detects']:.3g} {found['unit']} and more, {found['power']:.0%} power, {seen}"
    return rows


def realism_rows(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One line a measure."""
    rows = {}
    for name, m in measures.items():
        low, high = m["ci95"]
        after = "" if m["refined"] is None else f" -> refined {m['refined']:.4g}"
        rows[name] = (
            f"synthetic {m['synthetic']:.4g}{after} [{low:.4g}, {high:.4g}]; real against real {m['floor']:.4g}"
        )
    return rows


def inspect_text(found: Mapping[str, Any]) -> str:
    """What inspect found out, for people."""
    writers = {"run": _run_lines, "artifact": _artifact_lines, "report": _report_lines}
    return "\n".join([*writers.get(found["kind"], _dataset_lines)(found), *_page_lines(found)])


def _page_lines(found: Mapping[str, Any]) -> list[str]:
    """Where the HTML page lies, if there is one."""
    return [f"page       {found['page']}"] if found.get("page") else []


def _report_lines(found: Mapping[str, Any]) -> list[str]:
    lines = [f"report     of {found['source']}, refined into {found['out']}", *_parts_lines(found)]
    if not found["finished"]:
        lines.append("not finished; the same command goes on with it")
    if "samples" not in found:
        return lines
    lines += [f"samples    {found['samples']:,}: {delivered_text(found)}"]
    lines += [f"labels     {verdict_text(found['verdicts'])}", *_open_lines(found), *_breakdown_lines(found)]
    lines += [*_softened_lines(found), *_failure_lines(found)]
    lines += [*_label_lines(found["drift"]), *_power_lines(found.get("power", {})), *_worst_lines(found["worst"])]
    return lines + ([f"worst      {found['worst_picture']}"] if "worst_picture" in found else [])


def _run_lines(found: Mapping[str, Any]) -> list[str]:
    summary = found["summary"]
    lines = [f"run        {found['run']}, {found['steps']:,} steps"]
    if found["curves"]:
        lines.append(f"curves     {found['curves']}")
    if found["grid"]:
        lines.append(f"last grid  {found['grid']}")
    if summary is None:
        return [*lines, f"not finished; go on with: refinery train --resume {found['run']}"]
    lines.append(
        f"finished   {summary['stopped_by']}; best step {summary['best_step']}, artifact {summary['artifact']}"
    )
    drift = {name: {**d, "not_checkable_reason": UNPROBED} for name, d in summary["drift"].items()}
    return lines + _label_lines(drift) + _realism_lines(summary["realism"])


def _artifact_lines(found: Mapping[str, Any]) -> list[str]:
    manifest = found["manifest"]
    parity = manifest["parity"].get("max_abs")
    return [
        f"artifact   {found['model']}, {found['bytes']:,} bytes",
        f"method     {manifest['method']}, step {manifest['training'].get('step', 'unknown')}",
        f"images     {manifest['channels']} channel(s), any size from {manifest['min_side_px']} px",
        "parity     " + ("unknown" if parity is None else f"within {parity:.1e} of torch"),
        f"probe      {_probe_text(manifest.get('probe') or {})}",
    ]


def _probe_text(probe: Mapping[str, Any]) -> str:
    """Which labels the probe of an artifact judges, and which it does not."""
    labels = probe.get("labels", ())
    if not labels:
        return "none: classes, numbers and vectors cannot be checked with this model"
    able = [label["name"] for label in labels if label["competent"]]
    unable = [f"{label['name']} ({label['reason']})" for label in labels if not label["competent"]]
    parts = [f"judges {', '.join(able)}"] if able else []
    return "; ".join([*parts, *([f"not competent for {', '.join(unable)}"] if unable else [])])


def _dataset_lines(found: Mapping[str, Any]) -> list[str]:
    images = found["images"]
    sizes = [f"{images[key][1]}x{images[key][0]}" for key in ("size_common_hw", "size_min_hw", "size_max_hw")]
    lines = [
        f"{found['kind'].split()[0]:<10} dataset, {found['layout']} layout, {found['samples']:,} samples",
        f"images     {sizes[0]} px (from {sizes[1]} to {sizes[2]}), modes {', '.join(images['modes'])}",
        *(f"kind       {glob}: {what}" for glob, what in found.get("kinds", {}).items()),
        *_label_table(found["labels"], found.get("no_labels", "")),
    ]
    lines += [f"problem    {line}" for line in found["problems"][:NAMED_PROBLEMS]]
    if len(found["problems"]) > NAMED_PROBLEMS:
        lines.append(f"problem    ... and {len(found['problems']) - NAMED_PROBLEMS:,} more (--json lists them all)")
    lines += _parts_lines(found)
    if "refined" in found:
        lines.append(f"delivered  {delivered_text(found)}")
    if "verdicts" in found:
        lines += [f"verdicts   {verdict_text(count_verdicts(found['verdicts']))}"]
        judged = {"samples": found["samples"], **found}
        lines += [*_open_lines(judged), *_breakdown_lines(judged), *_softened_lines(judged), *_failure_lines(found)]
        lines += [*_label_lines(found["drift"]), *_power_lines(found.get("power", {}))]
        lines += _worst_lines(found.get("worst", []))
    if "realism" in found:
        lines += [*_realism_lines(found["realism"]), f"           {realism_verdict(found['realism'])}"]
    if "utility" in found:
        lines += utility_lines(found["utility"])
    return lines + [f"picture    {found[key]}" for key in ("picture", "worst_picture") if key in found]


def _parts_lines(found: Mapping[str, Any]) -> list[str]:
    """How far the parts of a batch job are."""
    if "parts" not in found:
        return []
    parts = found["parts"]
    lines = [f"parts      {parts['finished']:,} of {parts['count']:,} finished"]
    for state in ("unfinished", "missing"):
        if names := parts[state]:
            more = f" and {len(names) - NAMED_PARTS:,} more" if len(names) > NAMED_PARTS else ""
            lines.append(f"{state:<10} {', '.join(names[:NAMED_PARTS])}{more}; run with --shard {names[0]}, ...")
    return lines


def _label_table(labels: Mapping[str, Mapping[str, Any]], without: str) -> list[str]:
    """One line a label: name, type, how many, unit, what judges it. without: why there are none."""
    if not labels:
        return [f"labels     {without or 'none'}"]
    wide = max(len(name) for name in labels)
    lines: list[str] = []
    for name, entry in labels.items():
        start = f"{'' if lines else 'labels':<11}{name:<{wide}}  "
        lines.append(f"{start}{kind_text(entry)}, {entry['count']:,} seen; {judged_text(entry)}")
    return lines


def kind_text(entry: Mapping[str, Any]) -> str:
    """Type and unit of a label in the table of labels; what flips has no unit."""
    unit = entry.get("unit")
    kind = str(entry["type"]).replace("_", " ")
    return f"{kind} in {unit}" if unit and unit != "flip" else kind


def judged_text(entry: Mapping[str, Any]) -> str:
    """Which checks judge a label of the table of labels, or why none does."""
    by = ", ".join(entry.get("checks", ()))
    return f"judged by {by}" if by else f"not judged: {entry.get('unchecked') or 'no check knows it'}"


def _worst_lines(worst: Sequence[Mapping[str, Any]]) -> list[str]:
    """The three worst samples, of those that failed."""
    failed = [entry for entry in worst if entry["verdict"] == "fail"][:NAMED_WORST]
    return [f"worst      {entry['image']}: {entry['label']} {_how_bad(entry)}" for entry in failed]


def _how_bad(entry: Mapping[str, Any]) -> str:
    if entry["drift"] is None or entry["unit"] == "flip":
        return str(entry["reason"])
    least = f" (at least {entry['lower']:.2f})" if entry["lower"] is not None else ""
    return f"moved {entry['drift']:.2f} {entry['unit']}{least}"


def realism_verdict(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """What the distances mean, in one sentence."""
    if any(numbers["refined"] is None for numbers in measures.values()):
        return "the nearer to real against real, the more real"
    if all(numbers["gain_ci95"][0] > 0 for numbers in measures.values()):
        return "refined images are nearer to the real ones than the synthetic ones are, by every measure"
    if any(numbers["gain_ci95"][1] < 0 for numbers in measures.values()):
        return "no realism gain: by at least one measure the refined images are further from the real ones"
    return "no clear realism gain: the interval of at least one measure's gain holds zero"


def _label_lines(drift: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"label      {name}: {line}" for name, line in drift_rows(drift).items()]


def _power_lines(power: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"power      {name}: {line}" for name, line in power_rows(power).items()]


def _realism_lines(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"realism    {name}: {line}" for name, line in realism_rows(measures).items()]


def count_verdicts(verdicts: Mapping[str, Any]) -> dict[str, int]:
    """Verdicts as refine's summary counts them; an audit has one verdict for each sample."""
    if set(verdicts) == set(VERDICTS):
        return dict(verdicts)
    counted = Counter(verdicts.values())
    return {verdict: counted[verdict] for verdict in VERDICTS}
