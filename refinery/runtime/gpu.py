"""What ONNX Runtime is told on an NVIDIA GPU: libraries that pip installed, convolutions, half precision.

CUDA searches the best algorithm of each convolution anew for every shape of input, by default by trying them all, which
takes hundreds of ms a shape; by heuristics it takes a few (microsoft/onnxruntime#19838 and #22705; not measured here).
So images of any number of sizes need no warm-up. Inputs and outputs are not bound to device memory: each batch comes
from the CPU and goes back there once, as a plain run does it.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import numpy as np

from refinery.errors import ModelError

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
