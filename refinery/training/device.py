"""Where training runs and at what precision, found out and stated."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from refinery.config import Device, TrainPrecision
from refinery.errors import ProviderError
from refinery.processor import cores, is_slow_in_bf16

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Placement:
    """device: where tensors live. autocast: bfloat16 inside the networks' forward passes."""

    device: torch.device
    autocast: bool

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`, as the table and the summary print it."""
        return "bf16" if self.autocast else "fp32"


def place(device: Device, precision: TrainPrecision) -> Placement:
    """Choose device and precision. Raises ProviderError for a device that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ProviderError("device cuda was asked for, but torch finds no CUDA device; use --device cpu or auto")
    name = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    fast = torch.cuda.is_bf16_supported() if name == "cuda" else _cpu_has_bf16()
    share_cores()
    if name == "cpu":
        keep_freed_memory()
    return Placement(torch.device(name), precision == "bf16" or (precision == "auto" and fast))


def share_cores() -> None:
    """Give torch no more threads than this process has cores and CPU quota for; OMP_NUM_THREADS, if set, decides."""
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), cores()))


@contextmanager
def one_thread() -> Iterator[None]:
    """Tensors so small that handing them to other threads takes longer than the work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks instead of returning them: 1.3 to 2 times the training speed in fp32."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # absent from musl
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _cpu_has_bf16() -> bool:
    """True if the CPU multiplies bfloat16 itself, and not slower than float32, as where it is emulated."""
    capability = torch.backends.cpu.get_cpu_capability()
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    able = "AVX512" in capability and any(getattr(torch.cpu, check, bool)() for check in checks)
    return able and not is_slow_in_bf16()
