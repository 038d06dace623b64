"""Batches through buffers that are bound once: ONNX Runtime's IO binding, and a session for each stream.

An input goes through host memory into a buffer on the device, and the output comes straight into host memory. The
buffers stay bound until another shape comes; the host's then serve that one, since making page-locked memory is slow.
While one stream copies, another one computes.

A session each, since a CUDA session holds the plans of its convolutions for one shape of batch, and makes them anew
whenever the shape changes (`last_x_dims` in onnxruntime/core/providers/cuda/nn/conv.cc); running a shape in advance on
a session that works on another would throw away what is in use. So while one stream plans for a new size, the other
goes on; and a batch goes to the idle session that had its shape last, which spares plans where sizes alternate.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shapes = tuple[tuple[int, ...], ...]
Allocate = Callable[[tuple[int, ...]], NDArray[np.float32]]


def pageable(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Ordinary host memory, not initialised."""
    return np.empty(shape, np.float32)


class Lane:
    """One ONNX Runtime session and its buffers, for one thread at a time.

    device: `cuda` or `cpu`, where the session takes its inputs. allocate: makes the buffers on the host.
    """

    def __init__(self, session: Any, device: str, allocate: Allocate = pageable) -> None:
        self._session, self._device, self._allocate = session, device, allocate
        self._hosts: dict[str, NDArray[np.float32]] = {}
        self._bound: _Bound | None = None
        self.last: Shapes = ()

    def run(self, given: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The refined batch, in memory of its own. Raises what ONNX Runtime raises; no buffer is kept then."""
        shapes = shapes_of(given)
        try:
            if self._bound is None or shapes != self.last:
                self._bound, self.last = None, shapes
                self._bound = _Bound(self._session, self._device, self._host, shapes)
            return self._bound.run(given)
        except BaseException:
            self._bound = None
            self._hosts.clear()
            raise

    def kept_bytes(self) -> int:
        """Host memory of the buffers: for each input and the output at most twice what the largest batch took."""
        return sum(host.nbytes for host in self._hosts.values())

    def _host(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The buffer on the host of an input or the output, made anew where it is too small."""
        count = math.prod(shape)
        known = self._hosts[name].size if name in self._hosts else 0
        if known < count:
            self._hosts.pop(name, None)
            self._hosts[name] = self._allocate((max(count, 2 * known),))
        return self._hosts[name][:count].reshape(shape)


class BoundRunner:
    """A runner (see `runtime.runner`) for as many threads as it has lanes; more wait for one."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._idle = list(lanes)
        self._freed = threading.Condition()

    def __call__(self, images: NDArray[np.float32], latent: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        given = [images] if latent is None else [images, latent]
        lane = self._take(shapes_of(given))
        try:
            return lane.run(given)
        finally:
            with self._freed:
                self._idle.append(lane)
                self._freed.notify()

    def _take(self, shapes: Shapes) -> Lane:
        """The idle lane that had these shapes last, else the one that has been idle longest."""
        with self._freed:
            while not self._idle:
                self._freed.wait()
            lane = next((lane for lane in self._idle if lane.last == shapes), self._idle[0])
            self._idle.remove(lane)
            return lane


def shapes_of(given: Sequence[NDArray[np.float32]]) -> Shapes:
    """Which buffers a batch goes through."""
    return tuple(array.shape for array in given)


class _Bound:
    """The bound buffers of one shape of batch; the first batch tells what shape comes out.

    host: makes the buffer on the host of an input or output, by its name and shape.
    """

    def __init__(
        self, session: Any, device: str, host: Callable[[str, tuple[int, ...]], NDArray[np.float32]], shapes: Shapes
    ) -> None:
        from onnxruntime import OrtValue

        self._session, self._host, self._binding = session, host, session.io_binding()
        self._output: str = session.get_outputs()[0].name
        self._refined: NDArray[np.float32] | None = None
        self._inputs = []
        for declared, shape in zip(session.get_inputs(), shapes, strict=True):
            value = OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device)
            self._binding.bind_ortvalue_input(declared.name, value)
            self._inputs.append((host(declared.name, shape), value))
        self._binding.bind_output(self._output, "cpu")

    def run(self, given: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        for array, (host, value) in zip(given, self._inputs, strict=True):
            np.copyto(host, array)
            value.update_inplace(host)
        self._session.run_with_iobinding(self._binding)
        if self._refined is not None:
            return self._refined.copy()
        first: NDArray[np.float32] = self._binding.copy_outputs_to_cpu()[0]
        self._refined = self._host(self._output, first.shape)
        self._binding.bind_output(self._output, "cpu", 0, np.float32, first.shape, self._refined.ctypes.data)
        return first
