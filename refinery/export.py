"""Checkpoint to ONNX: dynamic batch, height and width, one file, parity with torch proved on several shapes."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import refinery
from refinery.artifact import INPUT, MODEL_FILE, OUTPUT, Manifest, inspect_onnx, write_manifest
from refinery.errors import ModelError, OutputError
from refinery.registry import find
from refinery.training import checkpoint

OPSET = 18
_SHAPES = ((1, 8, 8), (2, 36, 60), (3, 33, 47), (1, 64, 96))
"""(batch, height, width) that parity is measured on: smallest, usual, odd, larger."""


def export_checkpoint(path: Path, folder: Path, file_name: str, tolerance: float) -> Manifest:
    """Write `folder/file_name` and, beside a refiner.onnx, its manifest.

    Raises ModelError when the ONNX model differs from torch by more than `tolerance` ([-1, 1] units) on any shape;
    nothing is written then.
    """
    state = checkpoint.load(path)
    refiner = rebuild(state)
    model = to_onnx(refiner, state["channels"], state["method"])
    parity = measure_parity(model, refiner, state["channels"])
    worst = max(parity, key=lambda shape: (math.isnan(parity[shape]), parity[shape]))
    if not parity[worst] <= tolerance:
        raise ModelError(
            f"{path}: ONNX and torch differ by {parity[worst]:.2e} at {worst}, more than the tolerance "
            f"{tolerance:.2e}: not written; raise --tolerance only if you know why"
        )
    manifest = Manifest(
        method=state["method"],
        channels=state["channels"],
        bits=state["bits"],
        receptive_field_px=int(getattr(refiner, "receptive_field_px", 0)),
        model_sha256=hashlib.sha256(model).hexdigest(),
        parity={"tolerance": tolerance, "max_abs": parity[worst], "shapes": list(parity)},
        training={**state["training"], "step": state["step"]},
        versions=_versions(),
    )
    _write(folder, file_name, model, manifest)
    return manifest


def rebuild(state: dict[str, Any]) -> nn.Module:
    """The refiner of a checkpoint, in eval mode on the CPU. Raises ModelError if weights and settings disagree."""
    try:
        method = find("method", state["method"])
        known = {field.name for field in dataclasses.fields(method.Settings)}
        settings = method.Settings(**{k: v for k, v in state["settings"].items() if k in known})
        refiner: nn.Module = method.build_refiner(state["channels"], settings)
        refiner.load_state_dict(state["refiner"] if "refiner" in state else state["method_state"]["refiner"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"checkpoint does not fit its own settings ({error}); it was written by another refinery"
        ) from error
    return refiner.eval()


def to_onnx(refiner: nn.Module, channels: int, method: str) -> bytes:
    """The refiner as one ONNX file with dynamic batch, height and width."""
    example = torch.zeros(2, channels, 24, 32)
    dynamic = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with _quiet():
        program = torch.onnx.export(
            refiner,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=[dynamic],
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _forget_where(proto.graph)
    proto.producer_name, proto.producer_version = "refinery", refinery.__version__
    for key, value in (("refinery.method", method), ("refinery.channels", str(channels)), ("refinery.range", "-1 1")):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    model: bytes = proto.SerializeToString()
    return model


def _forget_where(graph: Any) -> None:
    """Drop the exporter's stack traces: they hold paths of this machine."""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]


def measure_parity(model: bytes, refiner: nn.Module, channels: int) -> dict[str, float]:
    """Largest |ONNX Runtime CPU - torch fp32| by input shape, on uniform noise in [-1, 1]."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    parity: dict[str, float] = {}
    for batch, height, width in _SHAPES:
        images = generator.uniform(-1, 1, (batch, channels, height, width)).astype(np.float32)
        with torch.inference_mode():
            expected = refiner(torch.from_numpy(images)).numpy()
        got = session.run(None, {INPUT: images})[0]
        parity[f"{batch}x{channels}x{height}x{width}"] = float(np.abs(got - expected).max())
    return parity


def _write(folder: Path, file_name: str, model: bytes, manifest: Manifest) -> None:
    inspect_onnx(model, folder / file_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / (file_name + ".tmp")
        temporary.write_bytes(model)
        temporary.replace(folder / file_name)
        if file_name == MODEL_FILE:
            write_manifest(folder, manifest)
    except OSError as error:
        raise OutputError(f"{folder}: the artifact cannot be written ({error.strerror}); give another --out") from error


def _versions() -> dict[str, str]:
    return {
        "refinery": refinery.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about packages it does not need here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
