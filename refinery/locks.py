"""Locks of folders: held by one process while it lives, or shared by some; gone when it dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from refinery.errors import OutputError


def hold(path: Path, taken: str, locks: list[IO[bytes]], shared: bool = False) -> None:
    """Hold a lock file, made where it is missing; its open file is added to `locks`, and closing that gives it back.

    A lock may be removed by who holds it alone. Raises OutputError where another process holds it; `taken` says so.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no fcntl; there two runs into one folder are the user's to avoid
        return
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise OutputError(
                f"{taken}; wait, or give another --out"
            ) from None  # its number is that of too few threads
        except OSError as error:
            file.close()
            raise OutputError(
                f"{path.parent}: the disk offers no file locks ({error.strerror}); give an --out elsewhere"
            ) from error
        if _is_there(file, path):
            locks.append(file)
            return
        file.close()  # its holder removed it between our opening and locking it


def _is_there(file: IO[bytes], path: Path) -> bool:
    """True if an open file is the one that has this path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
