"""Who watches a job: the command line draws a bar or writes lines, the Python API is silent."""

from __future__ import annotations

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
        """Whether the user asked to stop."""


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
