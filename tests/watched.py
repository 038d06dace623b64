"""Commands that are watched: any socket they open ends them, and their home is a folder of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

KILLED = -31
"""Exit code of a process that SIGSYS ended: the filter's answer to socket(2), from Python, a library or a child."""

_NUMBERS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Of seccomp's architecture, and of socket(2) there."""

CAN_WATCH = sys.platform == "linux" and platform.machine() in _NUMBERS

_LAUNCHER = """
import ctypes, os, struct, sys
arch, number = map(int, sys.argv[1:3])
def step(code, value, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, value)
allow, trap = 0x7FFF0000, 0x00030000
program = b"".join([
    step(0x20, 4), step(0x15, arch, 1, 0), step(0x06, allow),      # another architecture: let it pass
    step(0x20, 0), step(0x15, number, 0, 1), step(0x06, trap), step(0x06, allow),
])
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
steps = ctypes.create_string_buffer(program)
given = Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(given)):   # no new privileges; seccomp filter
    sys.exit(f"no filter: errno {ctypes.get_errno()}")
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def run_watched(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in which socket(2) is deadly. home: made here; all caches and settings are to go there."""
    home.mkdir(exist_ok=True)
    numbers = [str(number) for number in _NUMBERS[platform.machine()]]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("XDG_") and "TELEMETRY" not in k}
    environment = {**kept, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("DO_NOT_TRACK", None)
    return subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *numbers, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def files_of(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
