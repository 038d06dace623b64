"""What ONNX Runtime is told on an NVIDIA GPU: libraries that pip installed, convolutions, half precision.

CUDA searches the best algorithm of each convolution anew for every shape of input, by default by trying them all, which
takes hundreds of ms a shape; by heuristics it takes a few (microsoft/onnxruntime#19838 and #22705; not measured here).
How batches go there and back: `runtime.binding`.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from refinery.artifact import Manifest
from refinery.errors import ModelError, ProviderError
from refinery.runtime.binding import Allocate, Lane, pageable
from refinery.runtime.fit import Fit
from refinery.runtime.pinned import PageLocked, cuda_runtime

STREAMS = {"cuda": 2, "tensorrt": 1}
"""Batches at the same time: one is copied while another is computed. TensorRT would build its engine for each."""

DEVICE = "cuda"
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


def providers(name: str, half: bool) -> list[tuple[str, dict[str, Any]]]:
    """Execution providers by preference, with their options. name: cuda or tensorrt."""
    tensorrt = {"trt_fp16_enable": str(half)}  # without its caches, which would lie in the current folder
    return [*([(TENSORRT, tensorrt)] if name == "tensorrt" else []), (CUDA, _CUDA_OPTIONS)]


def load_libraries() -> None:
    """Load CUDA and cuDNN where pip installed them (`refinery[gpu]`): no loader finds them there by itself."""
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells stdout what is missing
            preload(directory="")


def require_started(name: str, session: Any) -> None:
    """Raise ProviderError where ONNX Runtime went on without the provider."""
    if (TENSORRT if name == "tensorrt" else CUDA) in session.get_providers():
        return
    needs = "TensorRT 10 beside " if name == "tensorrt" else ""
    raise ProviderError(
        f"provider {name} does not start (ONNX Runtime fell back to "
        f"{session.get_providers()[0]}): it needs {needs}an NVIDIA driver, CUDA 13 and cuDNN 9 "
        "(pip install 'refinery[gpu]'); use --provider auto, openvino or cpu"
    )


def try_out(lanes: Sequence[Lane], known: Manifest) -> None:
    """A small image through each stream: what loads at the first run loads now, and what fails is ProviderError.

    Not of a model from elsewhere, which does not say what sizes it takes.
    """
    if known.method == Manifest().method:
        return
    side = Fit(known.size_multiple, max(32, known.min_side_px)).padded((1, 1))
    given = [np.zeros((1, known.channels, *side), np.float32)]
    if known.latent:
        given.append(np.zeros((1, known.latent), np.float32))
    try:
        for lane in lanes:
            lane.run(given)
    except Exception as error:  # ONNX Runtime raises its own classes
        raise ProviderError(
            f"provider cuda starts but does not run the model ({' '.join(str(error).split())[:200]}); "
            "use --provider auto, openvino or cpu"
        ) from error


def host_memory() -> tuple[Allocate, str]:
    """What makes buffers on the host: page-locked, or pageable with a sentence that says so."""
    try:
        locked = PageLocked(cuda_runtime())
        locked((1,))
    except (OSError, MemoryError, AttributeError) as error:
        return pageable, f"no page-locked memory ({error}): copies to the GPU and back take longer"
    return locked, ""


def in_half(model: bytes) -> bytes:
    """The same network with weights and arithmetic in fp16, inputs and outputs in fp32. Raises ModelError."""
    import onnx

    known = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    finally:
        sys.path[:] = known  # importing it adds a folder of scripts
    proto = onnx.load_model_from_string(model)
    largest = max((_largest(weights) for weights in proto.graph.initializer), default=0.0)
    if largest > float(np.finfo(np.float16).max):
        raise ModelError(f"weights of up to {largest:.3g}: more than fp16 holds; use --precision fp32")
    converted: bytes = convert_float_to_float16(proto, keep_io_types=True).SerializeToString()
    return converted


def _largest(weights: Any) -> float:
    from onnx import TensorProto, numpy_helper

    if weights.data_type != TensorProto.FLOAT:
        return 0.0
    return float(np.abs(numpy_helper.to_array(weights)).max(initial=0.0))
