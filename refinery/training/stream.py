"""A simulator's samples: the first ones as a labelled dataset on disk, all further ones as images for training."""

from __future__ import annotations

import queue
import shutil
import threading
from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from refinery.errors import DatasetError, OutputError, SampleError
from refinery.formats._source import Source
from refinery.image import decode
from refinery.sample import Sample
from refinery.training.cache import MB
from refinery.training.data import ImageSet, Kind, Pixels, kind_of
from refinery.training.simulator import Simulator
from refinery.training.tar_stream import StreamSample, read_samples

WAITING, WAITING_MB = 64, 64
"""Decoded images that wait to be fetched; then the simulator waits too."""
TIMES_LARGER = 4
"""An image may have so many times the pixels of the largest one of the first part."""
NAMED = 5
LOOK_UP_S = 0.1


@dataclass(frozen=True)
class Wanted:
    """Which images of a stream can be used.

    endings: of the names of pictures, behind the sample's key (`.png`); all other images are masks and the like. kind:
    channels and bits. crop_hw: no smaller than this. most_px: no more than so many pixels. avoid: pictures that are
    held out, should they come again.
    """

    endings: Set[str]
    kind: Kind
    crop_hw: tuple[int, int]
    most_px: int
    avoid: Set[str]


def wanted_like(source: Source, images: ImageSet, crop_hw: tuple[int, int], aside: Sequence[ImageSet]) -> Wanted:
    """What a stream should go on with, after its first part. source, images: that part. aside: what is held out."""
    endings = {_ending(entry.image) for entry in source.entries() if isinstance(entry, Sample)}
    avoid = {sample.image for held in aside for sample in held.samples}
    most_px = TIMES_LARGER * int(images.sizes_hw.prod(1).max())
    return Wanted(endings, (images.channels, images.bits), crop_hw, most_px, avoid)


class Stream:
    """Reads a simulator; `news` is what a person should be told, and may be asked for by any thread."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.arrived = self.left_out = 0
        self.ended = False
        self._samples = read_samples(simulator.read, self._leave_out)
        self._news: deque[str] = deque()
        self._images: queue.Queue[Pixels] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None

    def first_part(self, folder: Path, count: int, limit_mb: int, least: int) -> int:
        """Write the first `count` samples as files into a new folder, fewer where they exceed `limit_mb`; how many.

        Raises DatasetError where the simulator ends before `least` samples, OutputError where they cannot be written.
        """
        shutil.rmtree(folder, ignore_errors=True)
        written = size = 0
        wrong = ""
        try:
            while written < count and size < limit_mb * MB:
                sample = next(self._samples, None)
                if sample is None:
                    break
                size += _write(folder, sample)
                written += 1
        except DatasetError as error:
            wrong = str(error)
        if written < least:
            reason = self._why_ended(wrong)
            raise DatasetError(f"{self.simulator.name}: {written} sample(s) came, training needs {least}; {reason}")
        if wrong or (written < count and size < limit_mb * MB):
            self._end(wrong)
        return written

    def begin(self, wanted: Wanted) -> None:
        """Start to read all further samples in a thread."""
        image_bytes = wanted.most_px * wanted.kind[0] * wanted.kind[1] // 8
        self._images = queue.Queue(max(2, min(WAITING, WAITING_MB * MB // image_bytes)))
        self._reader = threading.Thread(target=self._read_all, args=[wanted], name="refinery-stream", daemon=True)
        self._reader.start()

    def fetch(self, most: int) -> list[Pixels]:
        """The images that have arrived since, at most so many; never waits."""
        images: list[Pixels] = []
        try:
            while len(images) < most:
                images.append(self._images.get_nowait())
        except queue.Empty:
            pass
        self.arrived += len(images)
        return images

    def news(self) -> list[str]:
        """Lines that were not told yet."""
        lines = []
        while self._news:
            lines.append(self._news.popleft())
        return lines

    def close(self) -> None:
        """Stop reading and end the simulator."""
        self._stop.set()
        self.simulator.close()
        if self._reader is not None:
            self._reader.join(timeout=10)

    @property
    def closed(self) -> bool:
        """True if `close` was called."""
        return self._stop.is_set()

    def _read_all(self, wanted: Wanted) -> None:
        wrong = ""
        try:
            for sample in self._samples:
                if (image := self._usable(sample, wanted)) is not None:
                    self._hand_over(image)
                if self._stop.is_set():
                    return
        except DatasetError as error:
            wrong = str(error)
        except Exception as error:  # whatever it is, training goes on with what it has
            wrong = f"{type(error).__name__}: {error}"
        if not self._stop.is_set():
            self._end(wrong)

    def _usable(self, sample: StreamSample, wanted: Wanted) -> Pixels | None:
        """The sample's picture, decoded; None where it has none, or not one that fits."""
        picture = next((path for path in sample.files if path[len(sample.key) :] in wanted.endings), None)
        if picture is None or picture in wanted.avoid:
            return None
        try:
            pixels = decode(sample.files[picture], picture).pixels
        except SampleError as error:
            self._leave_out(str(error))
            return None
        (height, width), own = pixels.shape[:2], kind_of(pixels)
        large = height >= wanted.crop_hw[0] and width >= wanted.crop_hw[1]
        if own == wanted.kind and large and height * width <= wanted.most_px:
            return pixels
        self._leave_out(
            f"{picture}: {width}x{height} px of {own[0]} channel(s) and {own[1]} bits does not fit the rest"
        )
        return None

    def _hand_over(self, image: Pixels) -> None:
        while not self._stop.is_set():
            try:
                self._images.put(image, timeout=LOOK_UP_S)
                return
            except queue.Full:
                continue

    def _leave_out(self, line: str) -> None:
        self.left_out += 1
        if self.left_out <= NAMED:
            self._news.append(f"left out: {line}")

    def _end(self, wrong: str) -> None:
        """Note that nothing more comes, and why."""
        self._news.append(f"simulator: {self._why_ended(wrong)}; training goes on with the images that came")
        self.ended = True

    def _why_ended(self, wrong: str) -> str:
        return self.simulator.ending() or wrong or "its stream ended"


def _write(folder: Path, sample: StreamSample) -> int:
    """Write a sample's files; how many bytes. Raises DatasetError for a name that comes twice, OutputError."""
    for path, data in sample.files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise DatasetError(f"{path}: comes twice in the stream; give every sample a name of its own") from error
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({error.strerror}); give another --out") from error
    return sum(map(len, sample.files.values()))


def _ending(path: str) -> str:
    """What stands behind a sample's key: `a/00012.rgb.png` -> `.rgb.png`."""
    name = path.rpartition("/")[2]
    return name[len(name.partition(".")[0]) :]
