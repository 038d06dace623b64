"""What this machine's CPU does fast, as far as libraries do not tell."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def is_slow_in_bf16(about: str | None = None) -> bool:
    """Whether the CPU's bf16 instructions are slower than its fp32 ones: Intel's, unless it has AMX.

    Virtual machines may hide AMX. Measured on such a one: docs/dependencies.md.
    about: what /proc/cpuinfo says, read by default; where there is none, as on Windows, the answer is False.
    """
    if about is None:
        about = CPUINFO.read_text() if CPUINFO.exists() else ""
    return "GenuineIntel" in about and "amx_bf16" not in about
