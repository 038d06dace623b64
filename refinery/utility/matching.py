"""Which labels a student can learn from the synthetic images and be tested on by the photos: those that both have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from refinery.errors import DatasetError
from refinery.sample import Label
from refinery.training.probe_targets import MAX_ITEMS, ProbePlan, plan_probe, target_values
from refinery.utility.things import OUTLINED, Things, as_regions, kinds_of

Labels = Sequence[Sequence[Label]]
Size = tuple[int, int]
NAMED = 12


@dataclass(frozen=True)
class Side:
    """The labels of each image of one dataset, masks on the canvas, and the images' sizes (H, W) px.

    name: of the dataset, for messages.
    """

    name: str
    labels: Labels = field(repr=False)
    sizes_hw: Sequence[Size] = field(repr=False)

    def kinds(self) -> dict[str, str]:
        """Type of each label; `mixed` where a name has several."""
        found: dict[str, str] = {}
        for label in (label for own in self.labels for label in own):
            found[label.name] = label.type if found.get(label.name, label.type) == label.type else "mixed"
        return found

    def counts(self, name: str) -> set[int]:
        """How many labels of a name an image has, where it has any."""
        return {count for own in self.labels if (count := sum(label.name == name for label in own))}


@dataclass(frozen=True)
class Matched:
    """What both sides have. left_out: a line for each label that is not used, with the reason."""

    plan: ProbePlan
    synthetic: Labels = field(repr=False)
    real: Labels = field(repr=False)
    left_out: tuple[str, ...]


def match_labels(synthetic: Side, real: Side, canvas_hw: Size, without: frozenset[str] = frozenset()) -> Matched:
    """Plan a student for the labels of the same name and type. without: names that are no labels, as of groups.

    Raises DatasetError where there is none, with what both sides have.
    """
    ours, theirs = synthetic.kinds(), real.kinds()
    shared = [name for name, kind in ours.items() if theirs.get(name) == kind != "mixed" and name not in without]
    left_out = [_not_shared(name, ours, theirs, synthetic, real) for name in {**ours, **theirs} if name not in shared]
    left_out = [line for line in left_out if line.partition(":")[0] not in without]
    region = _region(shared, ours, synthetic, real)
    others = [] if region is None else _other_regions(shared, ours, region.name)
    left_out += [f"{name}: the regions are those of another label" for name in others]
    kept = [name for name in shared if name not in others]
    sides = [_prepared(side, kept, region, canvas_hw) for side in (synthetic, real)]
    sides = _one_region(sides)
    plan, unlearnt = _learnable(sides[0], sides[1], canvas_hw)
    if not plan.parts:
        raise DatasetError(_none_shared(ours, theirs, synthetic, real, [*left_out, *unlearnt]))
    return Matched(plan, sides[0], sides[1], (*left_out, *unlearnt))


def _region(shared: list[str], kinds: dict[str, str], synthetic: Side, real: Side) -> Things | None:
    """The label whose things are learnt as regions; a network has one answer for each place, so there is only one."""
    if any(kinds[name] == "semantic_mask" for name in shared):
        return Things(next(name for name in shared if kinds[name] == "semantic_mask"))
    for kind in OUTLINED:
        for name in shared:
            if kinds[name] == kind and _is_region(name, kind, synthetic, real):
                both = kinds_of(synthetic.labels, name) & kinds_of(real.labels, name)
                return Things(name, tuple(sorted(both)))
    return None


def _is_region(name: str, kind: str, synthetic: Side, real: Side) -> bool:
    """Boxes are answers by themselves where every image has the same number of them."""
    counts = synthetic.counts(name) | real.counts(name)
    return kind != "box" or len(counts) > 1 or max(counts) > MAX_ITEMS


def _other_regions(shared: list[str], kinds: dict[str, str], region: str) -> list[str]:
    masks = ("semantic_mask", "instance_mask", "polygon")
    return [name for name in shared if kinds[name] in masks and name != region]


def _prepared(side: Side, kept: list[str], region: Things | None, canvas_hw: Size) -> list[tuple[Label, ...]]:
    """The labels that are used, with things as regions."""
    found: list[tuple[Label, ...]] = []
    for own, size_hw in zip(side.labels, side.sizes_hw, strict=True):
        plain = [label for label in own if label.name in kept and (region is None or label.name != region.name)]
        if region is not None:
            masks = [label for label in own if label.name == region.name and label.type == "semantic_mask"]
            plain += masks or as_regions(own, region, size_hw, canvas_hw)
        found.append(tuple(plain))
    return found


def _one_region(sides: list[list[tuple[Label, ...]]]) -> list[list[tuple[Label, ...]]]:
    """Regions of kinds that both sides have; where each has but one kind, it is the same whatever number it has."""
    texts = [{_kind(x) for own in side for x in own if x.type == "semantic_mask"} for side in sides]
    if texts[0] == texts[1]:
        return sides
    both, single = texts[0] & texts[1], all(len(found) == 1 for found in texts)
    return [
        [
            tuple(
                replace(label, text=label.name) if single and label.type == "semantic_mask" else label
                for label in own
                if label.type != "semantic_mask" or single or _kind(label) in both
            )
            for own in side
        ]
        for side in sides
    ]


def _kind(label: Label) -> str:
    return label.text or str(label.item)


def _learnable(synthetic: Labels, real: Labels, canvas_hw: Size) -> tuple[ProbePlan, list[str]]:
    """A plan for what the photos can test as well, and why the rest is left out."""
    plan = plan_probe(synthetic, canvas_hw)
    left_out = list(plan.skipped)
    _, known = target_values(plan, real)
    useless = {part.name for p, part in enumerate(plan.parts) if part.form != "region" and not known[:, p].any()}
    if useless:
        left_out += [f"{name}: no photo has a value of it that the synthetic images have too" for name in useless]
        plan = plan_probe([tuple(x for x in own if x.name not in useless) for own in synthetic], canvas_hw)
    return plan, left_out


def unseen_classes(matched: Matched) -> list[str]:
    """A line for each class label with photos of classes that no synthetic image has; they are not counted."""
    lines: list[str] = []
    for name, classes in {part.name: part.classes for part in matched.plan.parts if part.form == "class"}.items():
        unseen = Counter(x.text for own in matched.real for x in own if x.name == name and x.text not in classes)
        if unseen:
            listed = ", ".join(text for text, _ in unseen.most_common(NAMED))
            lines.append(f"{name}: {unseen.total():,} photos of classes that no synthetic image has: {listed}")
    return lines


def _not_shared(name: str, ours: dict[str, str], theirs: dict[str, str], synthetic: Side, real: Side) -> str:
    if name not in theirs:
        return f"{name}: not in {real.name}"
    if name not in ours:
        return f"{name}: not in {synthetic.name}"
    if "mixed" in (ours[name], theirs[name]):
        return f"{name}: of several types"
    return f"{name}: a {_words(ours[name])} in {synthetic.name}, a {_words(theirs[name])} in {real.name}"


def _none_shared(ours: dict[str, str], theirs: dict[str, str], synthetic: Side, real: Side, reasons: list[str]) -> str:
    common = [line for line in reasons if line.partition(":")[0] in ours and line.partition(":")[0] in theirs]
    why = f" ({'; '.join(common[:NAMED])})" if common else ""
    return (
        f"no label that both datasets have and a student can learn{why}: {synthetic.name} has {_listed(ours)}, "
        f"{real.name} has {_listed(theirs)}; give them the same name and type (docs/labels.md), or say in the TOML "
        "what they are ([labels.NAME])"
    )


def _listed(kinds: dict[str, str]) -> str:
    shown = [f"{name} ({_words(kind)})" for name, kind in list(kinds.items())[:NAMED]]
    more = f" and {len(kinds) - NAMED} more" if len(kinds) > NAMED else ""
    return ", ".join(shown) + more if shown else "no labels"


def _words(kind: str) -> str:
    return kind.replace("_", " ")
