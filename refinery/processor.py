"""What this process may use of its machine, and what the CPU does fast: as far as libraries do not tell, or get wrong.

A container sees all cores and all memory of its machine and may use a part of them. Threads beyond the CPU time that
is granted make all others wait: with a quota of one CPU on a machine of two, four training steps took 303 s with two
threads and 37 s with one.
"""

from __future__ import annotations

import os
from pathlib import Path

from refinery import cgroup

CPUINFO = Path("/proc/cpuinfo")
THREADS_A_CORE, OTHER_THREADS = 5, 16
"""Of a job: the model's, the workers', the streams', those of matrix products and of compiling, and a few beside."""


def visible_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores(proc: Path = cgroup.PROC) -> int:
    """Threads that compute at the same time without waiting for each other, at least 1.

    The cores this process may run on, whole CPUs of its group's quota, and what its group has room for in threads.
    """
    counts = [visible_cores()]
    if (quota := cgroup.cpu_quota(proc)) is not None:
        counts.append(int(quota))
    if (room := cgroup.room_for_threads(proc)) is not None:
        counts.append((room - OTHER_THREADS) // THREADS_A_CORE)
    return max(1, min(counts))


def memory_bytes(proc: Path = cgroup.PROC) -> int:
    """Memory that this process may use: the machine's, or its group's limit; a terabyte where nobody tells."""
    limits = [1 << 40, cgroup.memory_limit(proc) or 1 << 40]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits)


def limit_threads() -> None:
    """Have libraries that are imported after this start as many threads as there are cores, where those are fewer.

    They ask for the cores they see, not for a quota. OMP_NUM_THREADS, where it is set, is left to decide.
    """
    if cores() < visible_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def is_slow_in_bf16(about: str | None = None) -> bool:
    """True if the CPU's bf16 instructions are slower than its fp32 ones: Intel's, unless it has AMX.

    Virtual machines may hide AMX. Measured on such a one: docs/dependencies.md.
    about: what /proc/cpuinfo says, read by default; where there is none, as on Windows, the answer is False.
    """
    if about is None:
        about = CPUINFO.read_text() if CPUINFO.exists() else ""
    return "GenuineIntel" in about and "amx_bf16" not in about
