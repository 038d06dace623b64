"""Things made one after the other in a thread, a few of them before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")
LOOK_UP_S = 0.1


class Ahead(Generic[Made]):
    """make(first), make(first + 1), ... in this order, at most `depth` of them made and not yet taken.

    What `make` raises, `take` raises. The thread ends with `close` and never keeps the program from ending.
    """

    def __init__(self, make: Callable[[int], Made], first: int, depth: int = 2) -> None:
        self._make, self._first = make, first
        self._made: queue.Queue[tuple[Made | None, BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refinery-ahead", daemon=True)
        self._thread.start()

    def take(self) -> Made:
        """The next one; waits for it. Raises what making it raised, and after that does so again."""
        made, error = self._made.get()
        if error is not None:
            self._stop.set()
            self._made.put((None, error))
            raise error
        return made  # type: ignore[return-value]

    def close(self) -> None:
        """End the thread, whatever it does; what was made and not taken is lost."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        number = self._first
        while not self._stop.is_set():
            try:
                made: tuple[Made | None, BaseException | None] = (self._make(number), None)
            except BaseException as error:  # carried over to whoever takes
                made = (None, error)
            self._hand_over(made)
            if made[1] is not None:
                return
            number += 1

    def _hand_over(self, made: tuple[Made | None, BaseException | None]) -> None:
        """Wait until there is room, or until nobody wants it any more."""
        while not self._stop.is_set():
            try:
                self._made.put(made, timeout=LOOK_UP_S)
                return
            except queue.Full:
                continue
