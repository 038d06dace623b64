"""Coins: how well models trained on each kind of image find the coins in a photo.

1,000 rendered 64x64 images (`examples/coins`, seed 0) and 1,000 unlabelled crops of the upper half of scikit-image's
photo of coins (public domain; `skimage.data.coins()`, which comes with scikit-image and needs no other file) for the
refiners. Students answer with a mask of all coins; tested on crops every 16 px of the lower half, by IoU, against the
ellipses of `coins_labels.csv`, which were drawn by looking at the photo at six times its size. Students of real photos
learn from 1,000 labelled crops of the upper half, turned and mirrored as the refiners' are.

Crops overlap, so a group is the coin next to a crop's middle: 12 coins of one photo, which is little. The light and the
table are those of the upper half: the intervals hold for other coins in this photo.

    python benchmarks/downstream/coins.py --work work/coins --seeds 5 --minutes 300
    python benchmarks/downstream/coins.py --work work/coins --table

The strength of the augmentation is 1.0, as on the other sets.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _downstream import main
from _task import EXAMPLES, Task
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from refinery.image import to_float
from refinery.sample import Label
from refinery.training.probe_targets import ProbePlan, Targets
from refinery.utility.compare import Photos
from refinery.utility.datasets import Labelled, canvases, targets_on
from refinery.utility.student import Recipe, Source

sys.path.append(str(EXAMPLES / "coins"))
from real import cut, load_photograph

LABELS = Path(__file__).parent / "coins_labels.csv"
HALF_PX = 150
"""First row of the lower half: no coin reaches across it."""
SIZE, STEP, CROPS = 64, 16, 1000
COIN = "coins"
Plane = NDArray[np.generic]


class Coins(Task):
    """Mask of all coins."""

    name, unit, higher, label = "coins", "IoU", True, COIN
    count, seed, canvas_hw = 1000, 0, (SIZE, SIZE)
    recipe = Recipe(batch=32, width=24, steps=500)
    plain_steps = 600

    def real_folder(self) -> Path:
        """Crops of the upper half."""
        folder = self.work / "real"
        if not folder.exists():
            unfinished = self.work / "real-unfinished"
            unfinished.mkdir(exist_ok=True)
            for i, crop in enumerate(_upper_crops(load_photograph())):
                Image.fromarray(crop).save(unfinished / f"{i:05d}.png")
            unfinished.rename(folder)
        return folder

    def labels_of(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """One mask of all coins, of the mask of each."""
        masks = [label.value for label in labels if label.type == "instance_mask"]
        return (_mask_label(np.any(masks, axis=0)),) if masks else ()

    def photos(self, plan: ProbePlan) -> Photos:
        """Crops of the lower half."""
        photo, coins, centres = load_photograph(), coins_mask(), _centres()
        corners = list(_corners(photo.shape))
        crops = [_window(photo, corner) for corner in corners]
        masks = [_window(coins, corner) for corner in corners]
        middles = np.array([(left + (SIZE - 1) / 2, top + (SIZE - 1) / 2) for top, left in corners])
        nearest = np.linalg.norm(middles[:, None] - centres, axis=2).argmin(axis=1)
        return Photos(*_on_canvas(plan, crops, masks), [str(coin) for coin in nearest])

    def teaching_photos(self, plan: ProbePlan) -> Source:
        """Labelled crops of the upper half."""
        crops, masks = (list(_upper_crops(plane)) for plane in (load_photograph(), coins_mask()))
        images, targets, _ = _on_canvas(plan, crops, masks)
        return Source([images], targets)


def coins_mask() -> NDArray[np.bool_]:
    """Whether a coin lies under each px of the photo: (303, 384)."""
    y, x = np.mgrid[:303, :384]
    mask = np.zeros(x.shape, bool)
    for row in _rows():
        turn = np.deg2rad(row["turned_deg"])
        dx, dy = x - row["x"], y - row["y"]
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        mask |= np.hypot(along / row["half_width"], across / row["half_height"]) <= 1
    return mask


def _upper_crops(plane: Plane) -> Iterator[Plane]:
    """The same places and turns for the photo and for its mask."""
    for i in range(CROPS):
        yield cut(plane[:HALF_PX], SIZE, np.random.default_rng([0, i]))


def _corners(size_hw: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Top and left of each crop of the lower half; the last ones end at the photo's borders."""
    bottom, right = size_hw[0] - SIZE, size_hw[1] - SIZE
    for top in sorted({*range(HALF_PX, bottom + 1, STEP), bottom}):
        for left in sorted({*range(0, right + 1, STEP), right}):
            yield top, left


def _window(plane: Plane, corner: tuple[int, int]) -> Plane:
    top, left = corner
    return plane[top : top + SIZE, left : left + SIZE]


def _on_canvas(plan: ProbePlan, crops: Sequence[Plane], masks: Sequence[Plane]) -> tuple[Tensor, Targets, Tensor]:
    """Images, targets and fits of crops (64, 64) uint8 with masks (64, 64) bool."""
    images = [to_float(crop[..., None]) for crop in crops]
    found = Labelled([str(i) for i in range(len(crops))], images, [(_mask_label(mask),) for mask in masks])
    return canvases(images, plan.canvas_hw), *targets_on(plan, found)


def _mask_label(mask: NDArray[np.bool_]) -> Label:
    return Label(COIN, "semantic_mask", mask, "iou", text="coin")


def _centres() -> NDArray[np.float64]:
    return np.array([(row["x"], row["y"]) for row in _rows()])


def _rows() -> list[dict[str, float]]:
    with LABELS.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main(Coins, __doc__)
