"""Page-locked host memory: a GPU reads and writes it by itself, without a copy into the driver's own buffers.

ONNX Runtime gives such memory to Python only for providers that are plugged in (`OrtEpDevice.memory_info`), so it comes
from the CUDA runtime that the provider has loaded.
Source: CUDA Runtime API, memory management: cudaHostAlloc, cudaFreeHost.
"""

from __future__ import annotations

import ctypes
import math
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RUNTIMES = ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll")


class PageLocked:
    """Makes float32 arrays in page-locked memory, which is given back with the last view of an array.

    runtime: the CUDA runtime, or what has its two functions.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def __call__(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Not initialised. Raises MemoryError."""
        count, address = math.prod(shape), ctypes.c_void_p()
        failed = self._runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(4 * count), ctypes.c_uint(0))
        if failed or address.value is None:
            raise MemoryError(f"cudaHostAlloc of {4 * count:,} bytes of page-locked memory: CUDA error {failed}")
        memory = (ctypes.c_float * count).from_address(address.value)
        weakref.finalize(memory, self._runtime.cudaFreeHost, address).atexit = False
        return np.ctypeslib.as_array(memory).reshape(shape)


def cuda_runtime() -> Any:
    """The CUDA runtime of this process. Raises OSError where none is loaded."""
    for name in _RUNTIMES:
        try:
            return ctypes.CDLL(name, mode=getattr(os, "RTLD_NOLOAD", ctypes.DEFAULT_MODE))
        except OSError:
            continue
    raise OSError("no CUDA runtime is loaded")
