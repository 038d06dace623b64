"""Eyes: what models trained on each kind of image know about the iris and the gaze in photos.

6,000 rendered 60x36 eyes (`examples/eyes`, seed 1) and the unlabelled photos of DATA/eyes/real, but for the test
photos, for the refiners. Three tests, none of which a refiner can train for:

- The iris centre in 75 photos, px, against `eyes_labels.csv`: the mean of two people's independent drawings of the
  ellipse at eight times the size. Their median distance of 0.32 px is what no figure should be trusted below.
- Consistency, on 600 unlabelled photos: a photo is shifted by known whole px, up to 3 each way with its border
  repeated, and the iris centre should move by just that and the gaze not at all (mean px, mean degrees).
- Agreement, on the same photos: mean distance of the students of several seeds to their mean. A student that always
  answers the same would be perfect here, so this is worth reading beside the first test only.

All photos show one person, and a photo is a group of its own: the intervals hold for other photos of this person, not
for other people. Which photos were taken after one another is not known.

    python benchmarks/downstream/eyes.py --data DATA --work work/eyes --seeds 5 --minutes 300
    python benchmarks/downstream/eyes.py --work work/eyes --table

The strength of the augmentation (1.0 of 0.5, 1.0, 1.5: `--tune`) was chosen on these same photos for the rival. The
arms of real photos are trained on five sixths of the 75 and run only when named (`--arms real`): so few photos are no
upper bound. They know no gaze.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _consistency import apart, moved, shifted_by, values_of
from _downstream import main
from _task import Task
from numpy.typing import NDArray
from torch import Tensor, nn

from refinery.dataset import open_dataset
from refinery.image import Decoded, as_channels, to_float
from refinery.sample import Label
from refinery.training.probe_targets import ProbePlan, Targets
from refinery.utility.compare import Photos, mean_of
from refinery.utility.datasets import Labelled, canvases, targets_on
from refinery.utility.student import Recipe, answers_of, errors_of

LABELS = Path(__file__).parent / "eyes_labels.csv"
WATCHED, LARGEST_PX = 600, 3


class Eyes(Task):
    """Iris centre and gaze."""

    name, unit, higher, label = "eyes", "px", False, "iris_center"
    count, seed, canvas_hw = 6000, 1, (36, 60)
    recipe = Recipe(batch=64, width=24, steps=700)
    plain_steps = 1000
    left_out = (*Task.left_out, "real")

    def real_folder(self) -> Path:
        """Links to all photos that are no test photos."""
        folder, tested = self.work / "real", {row["file"] for row in _rows()}
        if not folder.exists():
            unfinished = self.work / "real-unfinished"
            unfinished.mkdir(exist_ok=True)
            for photo in sorted(self._photos().iterdir()):
                if photo.name not in tested and not (unfinished / photo.name).exists():
                    (unfinished / photo.name).symlink_to(photo.resolve())
            unfinished.rename(folder)
        return folder

    def labels_of(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """Iris centre and gaze angles."""
        return tuple(label for label in labels if label.name in ("iris_center", "gaze"))

    def photos(self, plan: ProbePlan) -> Photos:
        """The 75 labelled photos."""
        places = {row["file"]: (float(row["iris_center_x"]), float(row["iris_center_y"])) for row in _rows()}
        images = _read(self._photos(), set(places))
        labels = [(Label(self.label, "keypoint", np.array(places[name])),) for name in images]
        found = Labelled(list(images), list(images.values()), labels)
        targets, fits = targets_on(plan, found)
        return Photos(canvases(found.images, self.canvas_hw), targets, fits, found.keys)

    def watch(self, plan: ProbePlan, network: nn.Module) -> dict[str, NDArray[np.float32]]:
        """Values on the watched photos, and by how much those on their shifted copies differ from what they should."""
        photos = self._watched_photos()
        shifted, shift_px = shifted_by(photos, LARGEST_PX, torch.Generator().manual_seed(0))
        values = values_of(plan, answers_of(network, photos))
        expected = moved(plan, values, shift_px)
        known = torch.ones(len(photos), len(plan.parts), dtype=torch.bool)
        errors = errors_of(plan, answers_of(network, shifted), Targets(expected, known))
        noted = {f"consistency {part.name}": errors[:, p].numpy() for p, part in enumerate(plan.parts)}
        return noted | {f"values {part.name}": values[:, part.target_slice].numpy() for part in plan.parts}

    def watched(self, found: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, Any]:
        """Consistency over photos and seeds, and agreement of the seeds where there are several."""
        told: dict[str, Any] = {}
        for name, unit in (("iris_center", "px"), ("gaze", "deg")):
            if any(f"consistency {name}" not in each for each in found):
                continue
            errors = {f"consistency, {unit}": np.stack([each[f"consistency {name}"] for each in found])}
            if len(found) > 1:
                errors[f"agreement, {unit}"] = apart(np.stack([each[f"values {name}"] for each in found]), unit)
            for key, each in errors.items():
                interval = mean_of(each.astype(float), [str(i) for i in range(each.shape[1])])
                told[key] = {end: round(getattr(interval, end), 4) for end in ("mean", "low", "high")}
        return told

    def _photos(self) -> Path:
        return self.data / "eyes" / "real"

    def _watched_photos(self) -> Tensor:
        folder = self.real_folder()
        names = sorted(path.name for path in folder.iterdir())
        chosen = {names[i] for i in np.linspace(0, len(names) - 1, WATCHED).round().astype(int)}
        return canvases(list(_read(folder, chosen).values()), self.canvas_hw)


def _rows() -> list[dict[str, str]]:
    with LABELS.open(newline="") as file:
        return list(csv.DictReader(file))


def _read(folder: Path, names: set[str]) -> dict[str, NDArray[np.float32]]:
    """Photos (36, 60, 1) in [-1, 1] by file name, in the order of the names."""
    source = open_dataset(folder)
    found: dict[str, NDArray[np.float32]] = {}
    for sample in source.entries():
        name = Path(getattr(sample, "image", "")).name
        if name in names:
            decoded = source.decode(source.read(sample), sample)
            if isinstance(decoded, Decoded):
                found[name] = as_channels(to_float(decoded.pixels), 1)
    return dict(sorted(found.items()))


if __name__ == "__main__":
    main(Eyes, __doc__)
