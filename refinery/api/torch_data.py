"""Refining inside a training: a dataset for torch's DataLoader that gives refined images with their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import data

from refinery.api.datasets import Dataset
from refinery.api.refiner import Refiner
from refinery.sample import Label

Transform = Callable[[Any, tuple[Label, ...]], Any]


class RefinedDataset(data.Dataset[Any]):
    """Item i: image i of a dataset refined when it is asked for, as (image, labels), or what `transform` makes of both.

    dataset: of `refinery.open_dataset`. refiner: of `refinery.load`, best with threads=1 where there are workers; each
    worker process, forked or spawned, opens the model for itself. image: (H, W, C) of the dataset's dtype. transform:
    called with both; what it returns must be what the DataLoader can collate. seed: of a refiner with noise, whose
    looks depend on the image's key; give another one each epoch with `set_seed`, before the loader starts its workers.
    Labels are not checked here: `refinery refine` and `refinery.audit` do that.
    """

    def __init__(self, dataset: Dataset, refiner: Refiner, transform: Transform | None = None, seed: int = 0) -> None:
        self.dataset, self.refiner, self.transform, self.seed = dataset, refiner, transform, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Raises SampleError for an image that cannot be read, ModelError for one that the refiner does not take."""
        sample = self.dataset[index]
        image = self.refiner(sample.image, self.seed, [sample.key])
        return (image, sample.labels) if self.transform is None else self.transform(image, sample.labels)

    def set_seed(self, seed: int) -> None:
        """Other noise from now on."""
        self.seed = seed
