"""What a reading found wrong with a dataset as a whole: each line once, never more than fit on a screen or two."""

from __future__ import annotations

KEPT = 100


class Problems:
    """Lines for a person; a repeated line counts once, lines beyond `KEPT` are only counted."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._lost: dict[str, None] = {}
        self._full = False
        self._more_lost = False

    def add(self, line: str) -> None:
        """Note one line; names that cannot be printed are escaped."""
        shown = line.replace("\n", "\\n").encode("utf-8", "backslashreplace").decode("utf-8")
        if shown in self._lines:
            return
        if len(self._lines) < KEPT:
            self._lines[shown] = None
        else:
            self._full = True

    def lose(self, line: str) -> None:
        """Note a line about something of the dataset that cannot be carried."""
        self.add(line)
        shown = line.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n")
        if shown in self._lost or len(self._lost) < KEPT:
            self._lost.setdefault(shown)
        else:
            self._more_lost = True

    def lost(self) -> list[str]:
        """The lines about what cannot be carried; the first `KEPT` and whether there are more."""
        return [*self._lost, *([f"more of this kind; the first {KEPT} are listed"] if self._more_lost else [])]

    def lines(self) -> list[str]:
        """All lines in the order they were found."""
        rest = [f"more problems of this kind; the first {KEPT} are listed"] if self._full else []
        return [*self._lines, *rest]


def reason(error: OSError) -> str:
    """What the operating system says, without numbers and paths."""
    return (error.strerror or str(error) or type(error).__name__).strip()
