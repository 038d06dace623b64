"""Results as text for people, on stdout: what `--json` would print, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from refinery.sample import VERDICTS

NAMED_PROBLEMS = 10


def train_text(result: Mapping[str, Any]) -> str:
    """The result of a training run for people."""
    if result["artifact"] is None:
        return f"run {result['run']} stopped at step {result['steps']}"
    lines = [
        f"run        {result['run']}",
        f"steps      {result['steps']:,} ({result['stopped_by']}), {result['images_per_s']:,.0f} images/s",
        f"artifact   {result['artifact']} (step {result['best_step']})",
    ]
    return "\n".join([*lines, *_label_lines(result["drift"]), *_realism_lines(result["realism"])])


def refine_text(result: Mapping[str, Any]) -> str:
    """The result of a refine job for people."""
    rate = f", {result['images_per_s']:,.0f} images/s" if result["images_per_s"] else ""
    lines = [
        f"output     {result['out']}",
        f"samples    {result['samples']:,}: {result['refined']:,} refined, {result['rejected']:,} rejected, "
        f"{result['quarantined']:,} quarantined{rate}",
        f"labels     {verdict_text(result['verdicts'])}",
    ]
    lines += _label_lines(result["drift"])
    if result["rejected"] or result["verdicts"]["fail"]:
        lines.append(f"see        {result['out']}/.refinery/manifest.jsonl for each of them")
    return "\n".join(lines)


def verdict_text(verdicts: Mapping[str, int]) -> str:
    """Counts of verdicts in words."""
    return ", ".join(f"{count:,} {verdict.replace('_', ' ')}" for verdict, count in verdicts.items())


def drift_rows(drift: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One line a label."""
    rows = {}
    for name, d in drift.items():
        if d["median"] is None:
            rows[name] = "not checkable"
            continue
        power = f"; finds moves from {d['power']:g} {d['unit']}" if d.get("power") else ""
        rows[name] = (
            f"moved {d['median']:.2f} {d['unit']} (median), {d['p95']:.2f} (95%); all together {d['mean']:.2f}; "
            f"judged {d['coverage']:.0%}{power}"
        )
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
    writers = {"run": _run_lines, "artifact": _artifact_lines}
    return "\n".join(writers.get(found["kind"], _dataset_lines)(found))


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
    return lines + _label_lines(summary["drift"]) + _realism_lines(summary["realism"])


def _artifact_lines(found: Mapping[str, Any]) -> list[str]:
    manifest = found["manifest"]
    parity = manifest["parity"].get("max_abs")
    return [
        f"artifact   {found['model']}, {found['bytes']:,} bytes",
        f"method     {manifest['method']}, step {manifest['training'].get('step', 'unknown')}",
        f"images     {manifest['channels']} channel(s), any size from {manifest['min_side_px']} px",
        "parity     " + ("unknown" if parity is None else f"within {parity:.1e} of torch"),
    ]


def _dataset_lines(found: Mapping[str, Any]) -> list[str]:
    images = found["images"]
    sizes = [f"{images[key][1]}x{images[key][0]}" for key in ("size_common_hw", "size_min_hw", "size_max_hw")]
    labels = ", ".join(f"{name} ({entry['type']})" for name, entry in found["labels"].items())
    lines = [
        f"{found['kind'].split()[0]:<10} dataset, {found['layout']} layout, {found['samples']:,} samples",
        f"images     {sizes[0]} px (from {sizes[1]} to {sizes[2]}), modes {', '.join(images['modes'])}",
        f"labels     {labels or 'none found'}",
    ]
    lines += [f"problem    {line}" for line in found["problems"][:NAMED_PROBLEMS]]
    if len(found["problems"]) > NAMED_PROBLEMS:
        lines.append(f"problem    ... and {len(found['problems']) - NAMED_PROBLEMS:,} more (--json lists them all)")
    if "verdicts" in found:
        lines += [f"verdicts   {verdict_text(_counts(found['verdicts']))}", *_label_lines(found["drift"])]
    if "realism" in found:
        lines += [*_realism_lines(found["realism"]), f"           {realism_verdict(found['realism'])}"]
    return lines + ([f"picture    {found['picture']}"] if "picture" in found else [])


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


def _realism_lines(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"realism    {name}: {line}" for name, line in realism_rows(measures).items()]


def _counts(verdicts: Mapping[str, Any]) -> dict[str, int]:
    """Verdicts as refine's summary counts them; an audit has one verdict for each sample."""
    if set(verdicts) == set(VERDICTS):
        return dict(verdicts)
    counted = Counter(verdicts.values())
    return {verdict: counted[verdict] for verdict in VERDICTS}
