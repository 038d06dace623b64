"""The result of a command, printed once."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

import typer

from refinery.cli._ending import FAILED, complain, drop_stdout, nobody_reads, printable, unwritten
from refinery.report.terminal import TerminalObserver


def print_result(
    result: dict[str, Any],
    as_json: bool,
    observer: TerminalObserver,
    text: Callable[[dict[str, Any]], str],
    to: TextIO | None = None,
) -> None:
    """The result on stdout, or elsewhere: one JSON object, or text for people.

    A text that nobody can read, since stdout was closed or its terminal is gone, is dropped; any other result that
    cannot be written ends the command with an error.
    """
    observer.finish()
    try:
        print(json.dumps(result, default=_plain) if as_json else printable(text(result)), file=to)
        (to or sys.stdout).flush()
    except OSError as error:
        drop_stdout()
        if as_json or not nobody_reads(error):
            complain(unwritten(error))
            raise typer.Exit(FAILED) from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.item() if hasattr(value, "item") else str(value)
