"""Contact sheets of the battery's scenes, edits and looks, and by how many gray levels each look changes an image.

    python benchmarks/battery_sheets.py OUT [--split blind] [--kinds scenes eyes signs parts]
    python benchmarks/battery_sheets.py OUT --split fresh [--kinds wires weaves texts crates]

OUT/KIND-scenes.png; OUT/KIND-edits.png: one row for each edit, synthetic, edited, their difference, three times,
without other looks; OUT/KIND-looks.png: one row for each look, synthetic and three severities. The checks are not run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from battery import appearance, blind_looks, cases, fresh_looks, user_images
from battery._kind import SPLITS, Kind
from battery._pixels import Image
from battery.cases import SPLIT_TABLE
from battery.edits import applies
from battery.scenes import ALL_KINDS, kind_named, kinds_of
from PIL import Image as PillowImage
from PIL import ImageDraw

SCALE, NAME_PX, SEED = 2, 110, 21


def gray_levels(image: Image) -> Image:
    """[-1, 1] as (H, W, 3) uint8, enlarged."""
    pixels = np.rint((image + 1) * 127.5).astype(np.uint8)
    return pixels.repeat(3 // pixels.shape[2], axis=2).repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def sheet(path: Path, rows: Sequence[tuple[str, Sequence[Image]]]) -> None:
    """Write rows of images in [-1, 1] with their names."""
    lines = [np.concatenate([np.pad(gray_levels(i), ((2, 2), (2, 2), (0, 0))) for i in row], axis=1) for _, row in rows]
    held = PillowImage.fromarray(np.pad(np.concatenate(lines), ((0, 0), (NAME_PX, 0), (0, 0))))
    for place, (name, _) in enumerate(rows):
        ImageDraw.Draw(held).text((2, place * lines[0].shape[0] + 4), name, fill=(255, 255, 255))
    held.save(path)


def edit_row(kind: Kind, name: str, split: str) -> list[Image]:
    """Synthetic, edited and their difference of three cases without other looks."""
    row: list[Image] = []
    for case in cases(kind, name, 1, 3, SEED, split, looks=("identical",)):
        before, after = case.pair.synthetic, case.pair.refined
        row += [before, after, np.clip(after - before, -1, 1)]
    return row


def look_row(kind: Kind, name: str, split: str) -> list[Image]:
    """Two cases at three severities, each after its synthetic image."""
    row: list[Image] = []
    for index in range(2):
        for severity in range(3):
            pair = list(cases(kind, name, severity, index + 1, SEED, split))[index].pair
            row += [pair.synthetic, pair.refined]
    return row


def mean_change(kind_name: str, split: str, look: str, severity: int, count: int = 12) -> float:
    """Mean absolute change in gray levels of images of a kind under a look."""
    pairs = list(user_images(kind_name, count, SEED, split))
    images = [pair.synthetic / 2 + 0.5 for pair in pairs]
    changes = []
    for i, image in enumerate(images):
        rng = np.random.default_rng([severity, i])
        changed = appearance.change(image, (look,), severity, rng, images[i - 1])
        changes.append(255 * float(np.abs(changed - image).mean()))
    return float(np.mean(changes))


def table(kind_names: Sequence[str]) -> str:
    """Gray levels of each blind look beside those of the look it stands for, on images of the blind split."""
    lines = [f"{'look':<16}{'stands for':<12}" + "".join(f"{name:>22}{'existing':>18}" for name in kind_names)]
    for look, existing in blind_looks.STANDS_FOR.items():
        cells = []
        for name in kind_names:
            own, old = ([mean_change(name, "blind", each, s) for s in range(3)] for each in (look, existing))
            cells.append("".join(f"{'/'.join(f'{v:.1f}' for v in values):>20}" for values in (own, old)))
        lines.append(f"{look:<16}{existing:<12}" + "".join(cells))
    return "\n".join(lines)


def plain_table(kind_names: Sequence[str]) -> str:
    """Gray levels of each look of the fresh split at three severities, on images of that split."""
    lines = [f"{'look':<18}" + "".join(f"{name:>18}" for name in kind_names)]
    for look in fresh_looks.NAMES:
        cells = [[mean_change(name, "fresh", look, severity, 6) for severity in range(3)] for name in kind_names]
        lines.append(f"{look:<18}" + "".join(f"{'/'.join(f'{v:.1f}' for v in values):>18}" for values in cells))
    return "\n".join(lines)


def main() -> None:
    """Write the sheets and print the table."""
    parser = argparse.ArgumentParser(description="Contact sheets of the battery.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=SPLITS, default="blind")
    parser.add_argument("--kinds", nargs="+", choices=ALL_KINDS)
    parser.add_argument("--levels", action="store_true", help="print the gray levels as well")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.kinds or kinds_of(options.split)
    for name in names:
        kind = kind_named(name, options.split)
        shown = [pair.synthetic for pair in user_images(name, 24, SEED, options.split)]
        sheet(options.out / f"{name}-scenes.png", [("", shown[i : i + 6]) for i in range(0, 24, 6)])
        edits = [e for e in SPLIT_TABLE[options.split]["edits"] if applies(kind, e)]
        sheet(options.out / f"{name}-edits.png", [(e, edit_row(kind, e, options.split)) for e in edits])
        looks = SPLIT_TABLE[options.split]["looks"]
        sheet(options.out / f"{name}-looks.png", [(look, look_row(kind, look, options.split)) for look in looks])
    if options.levels:
        print(plain_table(names) if options.split == "fresh" else table(names))


if __name__ == "__main__":
    main()
