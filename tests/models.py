"""Small ONNX models, made without torch."""

from __future__ import annotations

import hashlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from refinery.artifact import MODEL_FILE, Manifest, write_manifest


def model(nodes=None, channels=1, inputs=None, outputs=None, initialisers=(), domains=("",), functions=()) -> bytes:
    """y = 0.5 x, or the nodes given; `synthetic` (B, channels, H, W) to `refined`."""
    shape = ["batch", channels, "height", "width"]
    nodes = nodes or [helper.make_node("Mul", ["synthetic", "half"], ["refined"])]
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    graph = helper.make_graph(
        nodes,
        "refiner",
        inputs or [helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, shape)],
        outputs or [helper.make_tensor_value_info("refined", TensorProto.FLOAT, shape)],
        [half, *initialisers],
    )
    opsets = [helper.make_opsetid(domain, 18 if domain == "" else 1) for domain in domains]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    return proto.SerializeToString()


def blur(channels: int = 1) -> bytes:
    """y = x * 3x3 mean of each channel, zeros outside."""
    weights = np.zeros((channels, channels, 3, 3), np.float32)
    for channel in range(channels):
        weights[channel, channel] = 1 / 9
    node = helper.make_node("Conv", ["synthetic", "weights"], ["refined"], pads=[1, 1, 1, 1])
    return model([node], channels, initialisers=[numpy_helper.from_array(weights, "weights")])


def write_artifact(folder, onnx_bytes: bytes | None = None, **changes):
    """An artifact folder: refiner.onnx and manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx_bytes = model() if onnx_bytes is None else onnx_bytes
    (folder / MODEL_FILE).write_bytes(onnx_bytes)
    write_manifest(folder, Manifest(**{"model_sha256": hashlib.sha256(onnx_bytes).hexdigest(), **changes}))
    return folder
