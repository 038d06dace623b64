"""What stands before the first import that takes long: standard streams that hold, and signals that are heard."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from types import FrameType

from refinery.cli import _ending
from refinery.processor import limit_threads

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a job to end; SIGHUP comes when a terminal or an ssh connection is gone."""


def prepare() -> None:
    """Reserve the standard descriptors, make both streams safe, listen for signals, and heed the CPU quota."""
    _reserve_descriptors()
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _wrapped(_Dropping(2, "w", closefd=False), "backslashreplace")
    if sys.stdout is None:
        sys.stdout = _wrapped(_Refusing(1, "w", closefd=False), "replace")
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.reconfigure(errors="replace")  # what a terminal cannot show ends no command
    for number in asked_to_heed():
        signal.signal(number, _end_at_once)
    limit_threads()


def asked_to_heed() -> list[int]:
    """The signals that end a job; not SIGHUP where it is ignored: nohup is there so that the job goes on."""
    hangup = getattr(signal, "SIGHUP", None)
    return [n for n in ENDING if n != hangup or signal.getsignal(n) is not signal.SIG_IGN]


class _Dropping(io.FileIO):
    """A descriptor that takes everything: what cannot be written is dropped."""

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


class _Refusing(io.FileIO):
    """A descriptor that was closed when the process began."""

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]  # noqa: ARG002
        raise OSError(errno.EBADF, "it is closed")


def _wrapped(raw: io.FileIO, errors: str) -> io.TextIOWrapper:
    encoding = getattr(sys.__stderr__, "encoding", None) or getattr(sys.__stdout__, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=True)


def _reserve_descriptors() -> None:
    """Open the null device on each of 0, 1 and 2 that is closed: a file of the job would get its number otherwise, and
    what a library prints would be written into that file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _end_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Before a command has begun there is nothing to put away.

    The first process of a container (PID 1) hears of no signal that it has no handler for, so this one is set first.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"error: {_ending.INTERRUPTED}\n".encode())  # the main thread may be writing to stderr
    os._exit(_ending.INTERRUPT_CODE)
