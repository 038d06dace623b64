"""Worker processes: threads of one Python process wait for each other wherever the work is Python, processes do not.

A process is started with the interpreter, the import path and the environment of this one, gets what it works with
once, and then takes one item at a time over a pipe. It does not run the caller's main module again, as those of
`multiprocessing` do, which would run a script without `if __name__ == "__main__"` twice. It heeds no signals, so that
Ctrl-C, or what a scheduler sends to all processes, stops the job as its first process says; and it ends when its pipe
does, so that none is left where the first process was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

from refinery.errors import RefineryError

_START = "import sys; sys.path[:] = {path}; from refinery.runtime.processes import serve; serve()"
PATIENCE_S = 20
"""Until a process that was told to end is killed."""
_HEEDED = ("SIGINT", "SIGTERM", "SIGHUP")


class WorkerProcesses:
    """Some processes; `call` may be used from as many threads at once. Ended by a `with` block.

    make: an importable function of one argument, which gives what is called with each item. argument: anything that can
    be pickled, already pickled. Raises OSError where no process can be started.
    """

    def __init__(self, count: int, make: Callable[[Any], Callable[[Any], Any]], argument: bytes) -> None:
        self.count = count
        self._all: list[subprocess.Popen[bytes]] = []
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        try:
            for _ in range(count):
                self._all.append(_started())
        except OSError:
            self.__exit__()
            raise
        for process in self._all:
            with contextlib.suppress(OSError):  # it has died already: the first call says so
                pickle.dump((pickle.dumps(make), argument), _pipe(process.stdin))
                _pipe(process.stdin).flush()
            self._free.put(process)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            with contextlib.suppress(OSError):
                _pipe(process.stdin).close()
        for process in self._all:
            _ended(process)
            _pipe(process.stdout).close()

    def call(self, item: Any) -> Any:
        """What a free process makes of an item. Raises what it raised, RefineryError where it died."""
        process = self._free.get()
        try:
            pickle.dump(item, _pipe(process.stdin))
            _pipe(process.stdin).flush()
            error, result = pickle.load(_pipe(process.stdout))  # noqa: S301  # of a process of ours
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise RefineryError(
                f"a worker process ended ({_how(_ended(process))}); run the same command again, it goes on from there; "
                "if that was for lack of memory, give the job more, or add --workers 1"
            ) from error
        finally:
            self._free.put(process)
        if error is not None:
            raise error
        return result


def serve() -> None:
    """A worker process: calls what it was told to with each item, until its input ends."""
    for name in _HEEDED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    items, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    with contextlib.suppress(EOFError, BrokenPipeError):
        work: Callable[[Any], Any] | None = None
        make, argument = pickle.load(items)  # noqa: S301  # of the process that started this one
        while True:
            item = pickle.load(items)  # noqa: S301
            try:
                work = work or pickle.loads(make)(pickle.loads(argument))  # noqa: S301
                reply: tuple[Exception | None, Any] = None, work(item)
            except Exception as error:  # it is raised where the call came from
                reply = _portable(error), None
            pickle.dump(reply, replies)
            replies.flush()


def _started() -> subprocess.Popen[bytes]:
    """A process with the import path of this one, out of reach of what a terminal sends to the processes before it."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(  # noqa: S603  # this interpreter
        [sys.executable, "-c", _START.format(path=json.dumps(sys.path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **one_thread},
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes]) -> int:
    """How a process ended that has nothing more to do; one that does not end is killed."""
    with contextlib.suppress(OSError):
        _pipe(process.stdin).close()
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same, where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # a library's error may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _pipe(file: IO[bytes] | None) -> IO[bytes]:
    assert file is not None
    return file
