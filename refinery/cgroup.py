"""The limits of the control groups that this process is in (containers, batch systems), of version 1 and 2.

A limit holds for a group and all groups below it, so the smallest one on the way up counts. Where there are no control
groups, as on other systems than Linux, nothing is limited.
Source: Linux kernel documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/; proc_pid_mountinfo(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")
_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2**63 where memory is not limited."""


def cpu_quota(proc: Path = PROC) -> float | None:
    """CPUs' worth of time that this process may use; None: not limited.

    proc: the folder of the process, with `cgroup` and `mountinfo`.
    """
    quotas = [_share(_words(folder / "cpu.max")) for folder in _folders("", proc)]
    quotas += [
        _share(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
        for folder in _folders("cpu", proc)
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(proc: Path = PROC) -> int | None:
    """Bytes that this process and the others of its group may use; None: not limited."""
    limits = [_number(folder / "memory.max") for folder in _folders("", proc)]
    limits += [_number(folder / "memory.limit_in_bytes") for folder in _folders("memory", proc)]
    return min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)


def room_for_threads(proc: Path = PROC) -> int | None:
    """Processes and threads that may still be started; None: not limited."""
    rooms = []
    for folder in (*_folders("", proc), *_folders("pids", proc)):
        most, running = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most is not None and running is not None:
            rooms.append(max(0, most - running))
    return min(rooms, default=None)


def _folders(controller: str, proc: Path) -> Iterator[Path]:
    """The group's folder and those above it. controller: of version 1; empty: version 2."""
    try:
        groups = (proc / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (proc / "mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        for root, mounted in _mounts(controller, mounts):
            inner = Path(path)
            inside = inner.relative_to(root) if inner.is_relative_to(root) else Path()
            yield mounted / inside
            yield from (mounted / above for above in inside.parents)


def _mounts(controller: str, lines: list[str]) -> Iterator[tuple[str, Path]]:
    """What of the tree of groups is mounted, and where. lines: of /proc/PID/mountinfo."""
    for line in lines:
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        fields = mount.split(" ")
        if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
            yield _unescaped(fields[3]), Path(_unescaped(fields[4]))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _number(file: Path) -> int | None:
    words = _words(file)
    return int(words[0]) if words and words[0].isdecimal() else None


def _share(words: list[str]) -> float | None:
    """Quota and period in us as CPUs; `max` and -1 are no quota."""
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        return None
    return int(words[0]) / int(words[1])
