"""Who watches a job: the command line draws a bar or writes lines, the Python API is silent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol


class Observer(Protocol):
    """Told what happens; asked whether to stop."""

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """What was found out before work starts."""

    def say(self, sentence: str) -> None:
        """A plain sentence for the user."""

    def progress(self, record: dict[str, Any], total: int) -> None:
        """Numbers of the moment; `done` says how far the job is, of `total` (0: unknown)."""

    def interrupted(self) -> bool:
        """True if the user asked to stop."""


class Silent:
    """Watches without a word."""

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""

    def progress(self, record: dict[str, Any], total: int) -> None:
        """Nothing."""

    def interrupted(self) -> bool:
        """Never."""
        return False


class Progress:
    """Counts samples; what an earlier run did counts as done but not into the rate."""

    def __init__(self, observer: Observer, total: int, before: int = 0) -> None:
        self.observer, self.total, self.before = observer, total, before
        self.done, self.started = 0, time.monotonic()

    def __call__(self, count: int) -> None:
        """So many more are done; stops here when the user asked to.

        Raises KeyboardInterrupt, at a place where no lock is held: raised anywhere, it can leave a future's lock taken,
        and the pool's threads wait for ever.
        """
        if self.observer.interrupted():
            raise KeyboardInterrupt
        self.done += count
        if self.done > self.before:
            rate = (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)
            self.observer.progress({"done": self.done, "images_per_s": round(rate, 1)}, self.total)
