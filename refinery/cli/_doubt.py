"""The question which images are pictures: asked on a terminal, an error of one line a candidate anywhere else."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from refinery.cli._ending import printable
from refinery.config import RefineConfig, TrainConfig
from refinery.errors import PicturesInDoubt, options_of
from refinery.report.terminal import TerminalObserver

Settings = TypeVar("Settings", TrainConfig, RefineConfig)
Job = Callable[[Settings], dict[str, Any]]


def with_answer(
    job: Job[Settings], settings: Settings, json_output: bool, observer: TerminalObserver
) -> dict[str, Any]:
    """What the job gives; a doubt about which images are pictures is asked about once, where somebody can answer.

    Raises PicturesInDoubt where nobody can, or nobody does.
    """
    try:
        return job(settings)
    except PicturesInDoubt as doubt:
        if json_output or not _is_terminal():
            raise
        answer = _ask(doubt, observer)
        if answer is None:
            raise
        images, maps = answer
        observer.say(printable(f"as if given: {options_of(images, maps)}"))
        return job(dataclasses.replace(settings, images=images, maps=maps))


def _ask(doubt: PicturesInDoubt, observer: TerminalObserver) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The answer that a person chooses by its number; None where there is none to choose from, or no number comes."""
    if not doubt.answers:
        return None
    for line in doubt.lines():
        observer.say(printable(line))
    observer.say("number of the answer, or nothing for 1; Ctrl-C ends:")
    line = sys.stdin.readline()
    text = line.strip() or ("1" if line else "")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= len(doubt.answers):
        return None
    return doubt.answers[int(text) - 1]


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
