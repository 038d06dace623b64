"""What surrounds each command: errors as one line, and signals as a request to stop."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from refinery.cli._ending import (
    FAILED,
    INTERRUPT_CODE,
    INTERRUPTED,
    OUT_OF_THREADS,
    complain,
    drop_stdout,
    lacks_threads,
    sentence,
    unwritten,
)
from refinery.cli._start import asked_to_heed
from refinery.errors import PicturesInDoubt, RefineryError
from refinery.report.terminal import TerminalObserver

ASK_AGAIN_S = 0.02


@contextmanager
def command(debug: bool) -> Iterator[TerminalObserver]:
    """Errors as one line on stderr and the right exit code; Ctrl-C, SIGTERM and SIGHUP as a request to stop."""
    observer = TerminalObserver()
    with signals(observer):
        try:
            with observer:
                yield observer
        except PicturesInDoubt as error:
            for line in error.lines():
                complain(line, debug)
            raise typer.Exit(error.exit_code) from None
        except RefineryError as error:
            complain(OUT_OF_THREADS if lacks_threads(error) else str(error), debug)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain(INTERRUPTED)
            raise typer.Exit(INTERRUPT_CODE) from None
        except BrokenPipeError as error:
            drop_stdout()
            complain(unwritten(error), debug)
            raise typer.Exit(FAILED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            complain(sentence(error), debug)
            raise typer.Exit(FAILED) from None


@contextmanager
def signals(observer: TerminalObserver) -> Iterator[None]:
    """The first signal asks the job to stop; the job or a second one raises KeyboardInterrupt.

    Never in the middle of an import: it would be taken for a package that is not there, or leave the import lock held.
    """
    before = {number: signal.getsignal(number) for number in asked_to_heed()}

    def ask(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame) and _elsewhere(again, number):
            return
        first, observer.asked_to_stop = not observer.asked_to_stop, True
        if not (first and observer.stops_politely):
            raise KeyboardInterrupt
        _elsewhere(observer.say, "stopping after this step; press Ctrl-C again to stop at once")

    def again(number: int) -> None:
        time.sleep(ASK_AGAIN_S)
        if signal.getsignal(number) is not ask:
            return
        if hasattr(signal, "pthread_kill"):  # wakes the main thread from its sleep
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _elsewhere(action: Callable[[Any], None], argument: Any) -> bool:
    """Do something in a thread of its own, and say whether one could be started.

    A handler may have come between any two instructions of the main thread, also while it writes a line or starts a
    thread: it must not write to the same stream, nor take a lock that the main thread may hold.
    """
    try:
        _thread.start_new_thread(action, (argument,))
    except RuntimeError:
        return False
    return True


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
