"""What a person sees while a job runs: tables, a live bar on a terminal, plain lines in a log. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

LINE_EVERY_S = 10.0
_LOSSES = ("refiner_adversarial", "discriminator", "regularization")


class TerminalObserver:
    """Draws a bar where stderr is a terminal, and writes a line every ten seconds where it is not."""

    def __init__(self) -> None:
        # Paths may hold [brackets] or :colons:, which are neither markup nor emoji.
        self.console = Console(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stderr.isatty()
        )
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.last_line_at = 0.0
        self.asked_to_stop = False
        self.stops_politely = False

    def __enter__(self) -> TerminalObserver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """A title and two columns."""
        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            table.add_row(name, value)
        self.console.print(table)

    def say(self, sentence: str) -> None:
        """A line above the bar."""
        (self.bar.console if self.bar else self.console).print(sentence)

    def progress(self, record: dict[str, Any], total: int) -> None:
        """Move the bar, or write a line now and then; stops a job that the signal's own exception did not stop."""
        if self.asked_to_stop and not self.stops_politely:
            raise KeyboardInterrupt
        text = describe(record)
        if self.console.is_terminal:
            self._move_bar(record["done"], total, text)
            return
        now = time.monotonic()
        if now - self.last_line_at >= LINE_EVERY_S or 0 < total <= record["done"]:
            self.last_line_at = now
            self.say(f"{record['done']:,}/{total:,}  {text}" if total else f"{record['done']:,}  {text}")

    def interrupted(self) -> bool:
        """True if the user asked to stop; who asks this can stop politely."""
        self.stops_politely = True
        return self.asked_to_stop

    def finish(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _move_bar(self, done: int, total: int, text: str) -> None:
        if self.bar is None:
            columns = (
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task(text, total=total)
            self.bar.start()
        assert self.task is not None
        self.bar.update(self.task, completed=done, description=text)


def describe(record: Mapping[str, Any]) -> str:
    """Rate, losses and time left of a progress record in one line."""
    parts = [f"{record['images_per_s']:,.0f} images/s"]
    parts += [f"{name.replace('_', ' ')} {record[name]:.3f}" for name in _LOSSES if name in record]
    if "eta_s" in record:
        minutes, seconds = divmod(int(record["eta_s"]), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)
