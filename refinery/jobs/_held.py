"""What a training run holds while it lasts and gives back at its end: a simulator, and decoded images on disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refinery.config import TrainConfig
from refinery.dataset import open_dataset
from refinery.errors import UsageError
from refinery.formats._source import Source
from refinery.pictures.choice import Choice


class Held:
    """Where the images come from. Nothing of it is left over at the end, also after an error or Ctrl-C.

    Kept is a simulator's first part, `RUN/simulated`, which the labels of the run are read from; but not where the run
    was never begun. folder: a RunFolder.
    """

    def __init__(self, config: TrainConfig, folder: Any, resume: bool, say: Callable[[str], None]) -> None:
        from refinery.training import distributed
        from refinery.training.cache import DiskCache

        self.config, self.folder, self.resume, self.say = config, folder, resume, say
        rank = distributed.rank()
        self.cache = DiskCache(folder.path / (f"cache-{rank}" if rank else "cache"), config.cache_mb)
        self.stream: Any = None

    def __enter__(self) -> Self:
        self.cache.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is not None:
            self.stream.close()
        self.cache.clear()
        if self.stream is not None and not self.folder.config.exists():
            shutil.rmtree(self.folder.simulated, ignore_errors=True)

    def open_synthetic(self, least: int, paired: bool) -> Source:
        """The synthetic dataset: the path of the settings, or the first samples of a simulator, at least `least`.

        Raises DatasetError, UsageError.
        """
        from refinery.training.simulator import is_stream

        if paired and (self.config.balance_real != "none" or is_stream(self.config.synthetic)):
            raise UsageError("paired training takes folders and draws partners together: no simulator, no balance_real")
        if not is_stream(self.config.synthetic):
            return self._opened(Path(self.config.synthetic))
        self._run_simulator(least)
        return self._opened(self.folder.simulated)

    def _opened(self, path: Path) -> Source:
        choice = Choice(self.config.images, self.config.maps)
        return open_dataset(path, choice=choice, asks=not self.config.yes)

    def batches(
        self, images: Any, crop_hw: tuple[int, int], batch_size: int, chance: Any, device: Any, aside: Sequence[Any]
    ) -> Any:
        """What draws from the simulator's stream. images: its first part. aside: ImageSets that are held out."""
        from refinery.training.stream import wanted_like
        from refinery.training.stream_batches import StreamBatches

        source, memory_mb = self._opened(self.folder.simulated), self.config.memory_mb
        self.stream.begin(wanted_like(source, images, crop_hw, aside))
        return StreamBatches(images, self.stream, crop_hw, batch_size, chance, device, memory_mb, self.say, ahead=2)

    def _run_simulator(self, least: int) -> None:
        from refinery.training import distributed
        from refinery.training.simulator import Simulator
        from refinery.training.stream import Stream

        if distributed.size() > 1:
            raise UsageError("--synthetic: a simulator feeds one process only; write its images into a folder first")
        if self.config.balance != "none":
            raise UsageError('balance: a simulator decides itself how often it draws what; leave balance = "none"')
        self.folder.require(self.resume)
        began = time.monotonic()
        self.stream = Stream(Simulator(self.config.synthetic))
        if self.resume:
            return
        count = self.stream.first_part(self.folder.simulated, self.config.first_samples, self.config.cache_mb, least)
        self.say(f"simulator: {count:,} samples written to {self.folder.simulated} ({time.monotonic() - began:.0f} s)")
        for line in self.stream.news():
            self.say(line)
