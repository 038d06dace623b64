"""Traffic signs: what classifiers trained on each kind of image do on photos of signs they never saw.

8,000 rendered signs of 26 classes at 32x32 px (`examples/signs`, seed 1) and 3,800 unlabelled photos for the refiners;
tested on 1,080 photos of 108 other signs (GTSRB), accuracy, with intervals over the signs (tracks) and seeds. Students
of real photos learn from five sixths of the 108 signs and are tested on the last sixth, six times.

    python benchmarks/downstream/signs.py --data DATA --work work/signs --seeds 5 --minutes 300
    python benchmarks/downstream/signs.py --work work/signs --table

DATA holds signs/pictograms, signs/real and signs/real_val. The strength of the augmentation (1.0 of 0.5, 1.0, 1.5:
`--tune`) was chosen on these same photos for the rival, synthetic + augmentation, and is the same for all arms.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from _downstream import main
from _task import EXAMPLES, Task

from refinery.dataset import open_dataset
from refinery.labels import open_labels
from refinery.sample import Label
from refinery.training.probe_targets import ProbePlan
from refinery.utility.compare import Photos
from refinery.utility.datasets import canvases, read_labelled, targets_on
from refinery.utility.student import Recipe


class Signs(Task):
    """26 classes of signs."""

    name, unit, higher, label = "signs", "accuracy", True, "class_id"
    count, seed, canvas_hw = 8000, 1, (32, 32)
    recipe = Recipe(batch=128, width=24, steps=700)
    plain_steps = 1500

    def simulator(self) -> list[str]:
        """32 px signs."""
        pictograms = str(self.data / "signs" / "pictograms")
        return [str(EXAMPLES / "signs" / "simulate.py"), "--size", "32", "--pictograms", pictograms]

    def real_folder(self) -> Path:
        """380 other signs."""
        return self.data / "signs" / "real"

    def labels_of(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """The class."""
        return tuple(label for label in labels if label.name == "class_id")

    def photos(self, plan: ProbePlan) -> Photos:
        """108 signs, ten photos each; a group is one sign."""
        folder = self.data / "signs" / "real_val"
        with (folder / "labels.csv").open(newline="") as file:
            tracks = {Path(row["file"]).stem: row["track"] for row in csv.DictReader(file)}
        source = open_dataset(folder)
        found = read_labelled(source, open_labels(source), None, channels=3)
        targets, fits = targets_on(plan, found)
        return Photos(canvases(found.images, self.canvas_hw), targets, fits, [tracks[key] for key in found.keys])


if __name__ == "__main__":
    main(Signs, __doc__)
