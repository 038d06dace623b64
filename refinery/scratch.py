"""A temporary folder where there is none: read-only containers have one place that can be written, the output."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch(output: str | Path) -> Iterator[None]:
    """While this lasts there is a temporary folder: the usual one, else one of its own beside or in the output.

    It is TMPDIR meanwhile, for libraries too, and removed at the end. Where the output cannot be written either,
    nothing happens: the job says so itself.
    """
    folder = None if _is_there() else _made(Path(output))
    if folder is None:
        yield
        return
    before, tempfile.tempdir = os.environ.get("TMPDIR"), str(folder)
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _is_there() -> bool:
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return False
    return True


def _made(output: Path) -> Path | None:
    """A new folder beside the output or the first folder above it that is there, else in the output; None: nowhere."""
    above = output.absolute().parent
    while not above.exists():
        above = above.parent
    for place in (above, output):
        try:
            return Path(tempfile.mkdtemp(prefix=".refinery-", dir=place))
        except OSError:
            continue
    return None
