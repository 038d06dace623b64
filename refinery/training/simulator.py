"""A running simulator: a command that writes a tar stream, or whatever is piped into standard input.

A command is run by the shell, with the user's rights, because the user typed it: the command line takes it from the
option `--synthetic` alone, never from a TOML, which may have come with somebody's dataset or run.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from refinery.errors import UsageError

CHUNK_BYTES = 1 << 20
LOOK_UP_S = 0.2
END_S = 2.0
"""How long a simulator that was asked to end may take."""
TAIL_BYTES = 4096
WIDEST = 200


def is_stream(synthetic: str) -> bool:
    """True if this names a stream instead of a path: `-` or a command with a trailing pipe."""
    return synthetic.strip() == "-" or is_command(synthetic)


def is_command(synthetic: str) -> bool:
    """True if this is a command: `python simulate.py |`."""
    return synthetic.rstrip().endswith("|")


class Simulator:
    """Bytes of a simulator that runs while this is open; at the end it is killed with all that it started.

    synthetic: as in `is_stream`. Raises UsageError where nothing can be read.
    """

    def __init__(self, synthetic: str) -> None:
        self.name = synthetic.rstrip().removesuffix("|").strip() if is_command(synthetic) else "standard input"
        self._closing, self._reading = threading.Event(), threading.Lock()
        self._waiting = bytearray()
        self._tail = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        if is_command(synthetic):
            self._process = self._start(self.name)
            assert self._process.stdout is not None
            self._fd = self._process.stdout.fileno()
        elif sys.stdin is None or sys.stdin.isatty():
            raise UsageError("--synthetic -: nothing is piped in; write: python simulate.py | refinery train ...")
        else:
            self._fd = os.dup(sys.stdin.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, count: int) -> bytes:
        """So many bytes; fewer only when the simulator has ended or `close` was called."""
        while len(self._waiting) < count and (chunk := self._more()):
            self._waiting += chunk
        data = bytes(self._waiting[:count])
        del self._waiting[:count]
        return data

    def ending(self) -> str:
        """What is wrong about how it ended, with the last line it wrote to stderr; empty: it ended well or runs on."""
        if self._process is None:
            return ""
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return ""
        if self._listener:
            self._listener.join(END_S)
        lines = self._tail.decode("utf-8", "replace").strip().splitlines()
        last = f": {lines[-1].strip()[-WIDEST:]}" if lines else ""
        return f"it ended with exit code {code}{last}" if code else ""

    def close(self) -> None:
        """End the simulator, first politely, and wait until it is gone."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._reading:
            if self._process is None:
                os.close(self._fd)
            else:
                self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for ask in (_terminate, _kill):
            ask(process)
            try:
                process.wait(END_S)
                break
            except subprocess.TimeoutExpired:
                continue
        _kill(process)  # whatever the shell left behind
        if self._listener:
            self._listener.join(END_S)
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        if not command:
            raise UsageError("--synthetic '|': no command before the pipe; write: --synthetic 'python simulate.py |'")
        process = subprocess.Popen(  # noqa: S602 (typed by the user: see the module's text)
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, args=[process], name="refinery-stderr", daemon=True)
        self._listener.start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Take what it writes to stderr, so that it never waits for us, and keep the end of it."""
        assert process.stderr is not None
        while chunk := process.stderr.read(TAIL_BYTES):
            self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def _more(self) -> bytes:
        while not self._closing.is_set():
            with self._reading:
                if self._closing.is_set():
                    break
                if os.name == "nt" or select.select([self._fd], [], [], LOOK_UP_S)[0]:
                    return os.read(self._fd, CHUNK_BYTES)
        return b""


def _terminate(process: subprocess.Popen[bytes]) -> None:
    _signal(process, process.terminate, signal.SIGTERM)


def _kill(process: subprocess.Popen[bytes]) -> None:
    _signal(process, process.kill, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal(process: subprocess.Popen[bytes], alone: Callable[[], None], number: int) -> None:
    """To the shell and all that it started; they are a group of their own."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            alone()
    except (ProcessLookupError, PermissionError):
        return
