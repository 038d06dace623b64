"""Whether worker processes pay, by what the stream itself shows: threads first, processes where those wait, or back.

A process takes a second or two to start, so a short job starts none; nor does one whose threads keep all cores busy.
Whether processes are faster depends on the machine, the images and the labels: both ways make the same files, and the
faster one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

TRIAL_S = 3.0
"""Of a stream in one way, from when it runs evenly, that tells its rate."""

PAYS_S = 12.0
"""Of work in the first way that has to be left for processes to pay."""

IDLE = 0.1
"""Share of the cores' time that has to be idle in the first way: what processes could use."""
Item = TypeVar("Item")


class Pace(Generic[Item]):
    """Gives chunks to one way after the other, and measures their rates.

    chunks: lists of images to come. left: how many images they hold; 0: nobody knows, and the first way stays.
    skipped: results that come before the way runs evenly. cores: that this process may use. clock, cpu_clock: seconds,
    the second of this process's CPU time.
    """

    def __init__(
        self,
        chunks: Iterator[list[Item]],
        left: int,
        skipped: int,
        cores: int,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.left = left
        self.rate = 0.0
        """Images/s of the way before this one."""
        self.stopped = False
        """Whether the way before was ended by its `stop`, with chunks left."""
        self._chunks, self._cores = chunks, cores
        self._clock, self._cpu_clock = clock, cpu_clock
        self._begin(skipped)

    def start(self, skipped: int) -> None:
        """Measure another way."""
        self.rate = self.now()
        self._begin(skipped)

    def until(self, stop: Callable[[], bool]) -> Iterator[list[Item]]:
        """The chunks before `stop` is true, asked before each; the others are left for another way (`stopped`)."""
        self.stopped = False
        while not (stopped := stop()) and (chunk := next(self._chunks, None)) is not None:
            self.left -= len(chunk)
            yield chunk
        self.stopped = stopped

    def count(self, images: int) -> None:
        """So many came out together."""
        if self._skipped > 0:
            self._skipped -= 1
            self._begun, self._cpu_begun = self._clock(), self._cpu_clock()
        else:
            self._done += images
        self._last, self._cpu_last = self._clock(), self._cpu_clock()

    def now(self) -> float:
        """Images/s of this way so far, 0 where that cannot be told yet."""
        return self._done / self._seconds() if self._seconds() > 0 else 0.0

    def idle(self) -> float:
        """Share of the cores' time in which this process did nothing, 0 to 1: its threads waited for each other."""
        if self._seconds() <= 0:
            return 0.0
        return max(0.0, 1 - (self._cpu_last - self._cpu_begun) / (self._cores * self._seconds()))

    def pays(self) -> bool:
        """True if a trial of the first way is over, cores were idle in it, and enough is left to try another one."""
        return self._seconds() >= TRIAL_S and self.left > PAYS_S * self.now() and self.idle() >= IDLE

    def is_slower(self) -> bool:
        """True if a trial of this way is over and showed it slower than the one before."""
        return self._seconds() >= TRIAL_S and self.now() < self.rate

    def _seconds(self) -> float:
        return self._last - self._begun

    def _begin(self, skipped: int) -> None:
        self._skipped, self._done = skipped, 0
        self._begun = self._last = self._clock()
        self._cpu_begun = self._cpu_last = self._cpu_clock()
