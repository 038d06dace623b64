"""The state of a file as cheap as it can be had: whoever finds it unchanged need not read the file again."""

from __future__ import annotations

import time
from pathlib import Path

Stamp = tuple[int | str, ...]
"""Size, time of the last change and time of the last change of the inode (ns) of a file; of a file at an address what
its store tells. Times are those of the disk, in UTC: another time zone changes none."""

RECENT_NS = 2_000_000_000
"""A file changed so shortly ago may change again without another time: disks count in steps of up to two seconds."""


def stamp_of(path: Path) -> Stamp | None:
    """The file's state; None where it cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def settled_stamp_of(path: Path) -> Stamp | None:
    """The same, None too for a file that was changed a moment ago, whose state says little about what comes next."""
    stamp = stamp_of(path)
    if stamp is None or time.time_ns() - max(int(stamp[1]), int(stamp[2])) < RECENT_NS:
        return None
    return stamp
