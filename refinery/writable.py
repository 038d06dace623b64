"""Whether there is room and right to write, asked before a long job, so that none is lost to its last step."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from refinery.errors import OutputError

MB = 2**20


def require_writable(folder: Path, option: str = "--out", what: str = "") -> None:
    """Raise OutputError where no file can be made in a folder, or the folder itself cannot; nothing stays behind.

    option: which the user may give to have it elsewhere. what: is to be written there, as the message's subject.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        subject = f"{what} " if what else ""
        raise OutputError(f"{folder}: {subject}cannot be written ({error.strerror}); give another {option}") from error


def require_place(path: Path, option: str = "--out", what: str = "") -> None:
    """Raise OutputError where a file cannot be written at this path, new or in place of one."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, expected a path for a file; give another {option}")
    require_writable(path.parent, option, what)


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise OutputError where the disk of a folder has less free space than that. what: for what, as its subject."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder}: {free // MB:,} MB are free, but {what} take up to {needed_bytes // MB + 1:,} MB; make room, or "
            "give an --out elsewhere"
        )
