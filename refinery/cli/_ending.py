"""How a command ends when it does not end well: one line on stderr that says what to do, and the exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

DONE, FAILED, LABELS_FAILED, INTERRUPT_CODE = 0, 1, 3, 130
INTERRUPTED = "interrupted; run the same command again to go on (a training run: refinery train --resume RUN)"
OUT_OF_MEMORY = (
    "out of memory; give the job more, or let it take less: a smaller --batch-size, fewer --workers, and for training "
    "a smaller --crop, or memory_mb in the TOML"
)
OUT_OF_THREADS = (
    "no further thread or process can be started here; raise the limit (ulimit -u, pids of the container), or take "
    "fewer: --workers 1 and OMP_NUM_THREADS=1"
)
NO_TEMPORARY_FOLDER = "no temporary folder can be written ({0}); set TMPDIR to a folder that can be"
_MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc", "failed to allocate")
_THREAD_WORDS = ("can't start new thread", "resource temporarily unavailable", "pthread_create")


def complain(message: str, debug: bool = False) -> None:
    """The one line of error; before it the traceback, if asked for."""
    if debug:
        traceback.print_exc()
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)


def printable(text: str) -> str:
    """Text whose names can be printed anywhere: what steers a terminal or is no character comes as an escape."""
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def sentence(error: Exception) -> str:
    """What an error that is none of refinery's own says to a user."""
    if (about := _of_the_machine(error)) is not None:
        return about
    if (about := broken_package(error)) is not None:
        return about
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror or error}" if error.filename else str(error.strerror or error)
    return f"{type(error).__name__}: {error}; this is a bug of refinery: please report it with --debug"


def unwritten(error: OSError) -> str:
    """What is said where the result could not be written to standard output."""
    return f"standard output cannot be written ({error.strerror}); the result is not there: give it another place"


def nobody_reads(error: OSError) -> bool:
    """True if standard output was closed or its terminal is gone, so that a text for people has no reader."""
    return error.errno in (errno.EBADF, errno.EIO, errno.ENXIO)


def drop_stdout() -> None:
    """From now on what goes to standard output is dropped, also what still waits there to be written."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def lacks_threads(error: BaseException) -> bool:
    """True if something failed since no thread or process could be started, whatever was made of that on the way."""
    return any(
        (isinstance(cause, OSError) and cause.errno == errno.EAGAIN) or _has(str(cause).lower(), _THREAD_WORDS, cause)
        for cause in _causes(error)
    )


def _of_the_machine(error: BaseException) -> str | None:
    """Memory, threads or temporary folder that ran out, also where a library has wrapped that error; None: neither."""
    for cause in _causes(error):
        said = str(cause).lower()
        number = cause.errno if isinstance(cause, OSError) else None
        if isinstance(cause, MemoryError) or number == errno.ENOMEM or _has(said, _MEMORY_WORDS, cause):
            return OUT_OF_MEMORY
        if lacks_threads(cause):
            return OUT_OF_THREADS
        if isinstance(cause, FileNotFoundError) and "no usable temporary directory" in said:
            return NO_TEMPORARY_FOLDER.format(said.partition(" in ")[2].strip("[]").replace("'", ""))
    return None


def _has(said: str, words: tuple[str, ...], cause: BaseException) -> bool:
    return isinstance(cause, RuntimeError | ImportError) and any(word in said for word in words)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was raised from or while handling."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def broken_package(error: Exception) -> str | None:
    """What is said of another package that cannot be imported, or is not the one it is called; None: it is not that."""
    module, path = _culprit(error)
    if module is None or module.split(".")[0] in ("", "refinery", "__main__"):
        return None
    name, said = module.split(".")[0], " ".join(str(error).split())[:200]
    if path is None and isinstance(error, ModuleNotFoundError):
        return f"the package {name} is not installed ({said}); install refinery again: pip install refinery"
    return (
        f"the package {name} cannot be used, as it lies at {path or 'a place unknown'} ({type(error).__name__}: "
        f"{said}); {_cure(name, path, said)}"
    )


def _culprit(error: Exception) -> tuple[str | None, str | None]:
    """Name and file of the module that is to blame; (None, None) where none is."""
    if isinstance(error, ImportError) and error.name:
        return error.name, error.path or _file_of(error.name)
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return error.obj.__name__, _file_of(error.obj.__name__)
    found: tuple[str | None, str | None] = (None, None)
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        if name.split(".")[0] == "refinery":
            found = (None, None)
        elif frame.f_code.co_name == "<module>":
            found = (name, frame.f_code.co_filename)
        trace = trace.tb_next
    return found


def _file_of(name: str) -> str | None:
    module = sys.modules.get(name) or sys.modules.get(name.split(".")[0])
    return getattr(module, "__file__", None)


def _cure(name: str, path: str | None, said: str) -> str:
    if "cannot open shared object file" in said:
        return f"install the system library {said.partition(': cannot open')[0].rpartition(' ')[2]}"
    if path is None:
        return f"install it again: pip install --force-reinstall {name}"
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(path).resolve().is_relative_to(Path(folder).resolve()):
            return f"it comes from PYTHONPATH: take {folder} out of it"
    if "site-packages" not in path and Path(path).resolve().is_relative_to(Path.cwd()):
        return "it lies in the current folder: rename it, or run refinery elsewhere"
    return f"install it again: pip install --force-reinstall {name}"
