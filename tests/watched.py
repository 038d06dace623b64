"""Commands under a filter of the kernel: a socket to other machines ends them, or no thread can be started."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

KILLED = -31
"""Exit code of a process that SIGSYS ended, the filter's answer to socket(2): from Python, a library or a child."""

_SOCKET, _THREADS = {"x86_64": [41], "aarch64": [198]}, {"x86_64": [56, 57, 58, 435], "aarch64": [220, 435]}
"""Numbers of socket(2), and of clone(2), fork(2), vfork(2) and clone3(2)."""
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_UNIX, _NONE = 1, (1 << 32) - 1
"""First argument that is spared: sockets of this machine (the C library asks one for the user's name), or none."""
_TRAP, _TRY_AGAIN = 0x00030000, 0x00050000 + errno.EAGAIN

CAN_WATCH = sys.platform == "linux" and platform.machine() in _ARCHITECTURES

_LAUNCHER = """
import ctypes, os, struct, sys
arch, action, spared, *numbers = map(int, sys.argv[1].split(","))
def step(code, value, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, value)
allow = 0x7FFF0000
program = b"".join([
    step(0x20, 4), step(0x15, arch, 1, 0), step(0x06, allow),      # another architecture: let it pass
    step(0x20, 0),
    *(
        step(0x15, number, 0, 4) + step(0x20, 16)                   # the call's first argument
        + step(0x15, spared, 1, 0) + step(0x06, action) + step(0x06, allow)
        for number in numbers
    ),
    step(0x06, allow),
])
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
steps = ctypes.create_string_buffer(program)
given = Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(given)):   # no new privileges; seccomp filter
    sys.exit(f"no filter: errno {ctypes.get_errno()}")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def run_watched(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in which socket(2) is deadly, but for those of this machine. home: where caches go."""
    home.mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("XDG_") and "TELEMETRY" not in k}
    environment = {**kept, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("DO_NOT_TRACK", None)
    return _run(_TRAP, _UNIX, _SOCKET, arguments, environment)


def run_without_threads(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` in which no thread and no process can be started, as at a limit of them."""
    return _run(_TRY_AGAIN, _NONE, _THREADS, arguments, {**os.environ, "OMP_NUM_THREADS": "1"})


def _run(
    action: int, spared: int, numbers: dict[str, list[int]], arguments: tuple[str, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    machine = platform.machine()
    program = ",".join(map(str, (_ARCHITECTURES[machine], action, spared, *numbers[machine])))
    return subprocess.run(
        [sys.executable, "-c", _LAUNCHER, program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def files_of(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
