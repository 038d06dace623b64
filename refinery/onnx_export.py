"""Checkpoint to ONNX: dynamic batch, height and width, one file, parity with torch proved on several shapes."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

import refinery
from refinery.artifact import (
    INPUT,
    LATENT,
    MODEL_FILE,
    OUTPUT,
    Manifest,
    ProbeFiles,
    inspect_onnx,
    probe_output,
    write_manifest,
    write_probe,
)
from refinery.errors import ModelError, OutputError
from refinery.onnx_graph import exported
from refinery.processor import cores
from refinery.registry import find
from refinery.runtime.fit import Fit
from refinery.training import checkpoint
from refinery.training.device import share_cores
from refinery.training.probe import TrainedProbe, TrainedView

_SHAPES = ((1, 8, 8), (2, 36, 60), (3, 33, 47), (1, 64, 96))
"""(batch, height, width) that parity is measured on, padded to what the refiner takes: smallest, usual, odd, larger."""


def export_checkpoint(
    path: Path, folder: Path, file_name: str, tolerance: float, probe: ProbeFiles | None = None, like: bytes = b""
) -> Manifest:
    """Write `folder/file_name` and, beside a refiner.onnx, its manifest and the label probe.

    like: an ONNX model whose graph may be taken if, with this checkpoint's weights, it answers as torch does: exporting
    takes ten seconds and more.

    Raises ModelError when the ONNX model differs from torch by more than `tolerance` ([-1, 1] units) on any shape;
    nothing is written then.
    """
    share_cores()
    state = checkpoint.load(path)
    refiner = rebuild(state)
    channels = state["channels"]
    for anew in (False, True):
        model = to_onnx(refiner, channels, state["method"], anew, like)
        parity = measure_parity(model, refiner, channels)
        worst = max(parity, key=lambda shape: (math.isnan(parity[shape]), parity[shape]))
        if parity[worst] <= tolerance:
            break
    else:
        raise ModelError(
            f"{path}: ONNX and torch differ by {parity[worst]:.2e} at {worst}, more than the tolerance "
            f"{tolerance:.2e}: not written; raise --tolerance only if you know why"
        )
    manifest = Manifest(
        method=state["method"],
        channels=channels,
        out_channels=state.get("real_channels", channels),
        bits=state["bits"],
        size_multiple=int(getattr(refiner, "size_multiple", 1)),
        min_side_px=_least_side(refiner),
        receptive_field_px=int(getattr(refiner, "receptive_field_px", 0)),
        cell_px=int(getattr(refiner, "cell_px", 0)),
        latent=_latent(refiner),
        deterministic=not _latent(refiner),
        model_sha256=hashlib.sha256(model).hexdigest(),
        parity={"tolerance": tolerance, "max_abs": parity[worst], "shapes": list(parity)},
        training={**state["training"], "step": state["step"]},
        versions=_versions(),
    )
    return _write(folder, file_name, model, manifest, probe)


def rebuild(state: dict[str, Any]) -> nn.Module:
    """The refiner of a checkpoint, in eval mode on the CPU. Raises ModelError if weights and settings disagree."""
    try:
        method = find("method", state["method"])
        known = {field.name for field in dataclasses.fields(method.Settings)}
        settings = method.Settings(**{k: v for k, v in state["settings"].items() if k in known})
        channels = state["channels"]
        refiner: nn.Module = method.build_refiner(channels, state.get("real_channels", channels), settings)
        refiner.load_state_dict(state["refiner"] if "refiner" in state else state["method_state"]["refiner"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"checkpoint does not fit its own settings ({error}); it was written by another refinery"
        ) from error
    return refiner.eval()


def to_onnx(refiner: nn.Module, channels: int, method: str, anew: bool = False, like: bytes = b"") -> bytes:
    """The refiner as one ONNX file with dynamic batch, height and width; with noise it takes latent numbers, too.

    anew: do not put its weights into the graph of another one that was exported before, or of the model `like`.
    """
    multiple, batch = int(getattr(refiner, "size_multiple", 1)), torch.export.Dim("batch")
    height, width = (multiple * torch.export.Dim(name) if multiple > 1 else torch.export.Dim(name) for name in "hw")
    high, wide = Fit(multiple, _least_side(refiner)).padded((24, 32))
    examples, dynamic, names = [torch.zeros(2, channels, high, wide)], [{0: batch, 2: height, 3: width}], [INPUT]
    if latent := _latent(refiner):
        examples, dynamic, names = [*examples, torch.zeros(2, latent)], [*dynamic, {0: batch}], [INPUT, LATENT]
    proto = exported("refiner", refiner, examples, dynamic, names, [OUTPUT], anew, like)
    for key, value in (("refinery.method", method), ("refinery.channels", str(channels)), ("refinery.range", "-1 1")):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    model: bytes = proto.SerializeToString()
    return model


def measure_parity(model: bytes, refiner: nn.Module, channels: int) -> dict[str, float]:
    """Largest |ONNX Runtime CPU - torch fp32| by input shape, on uniform noise in [-1, 1] and normal latent numbers."""
    session = _session(model)
    generator = np.random.default_rng(0)
    parity: dict[str, float] = {}
    fit, latent = Fit(int(getattr(refiner, "size_multiple", 1)), _least_side(refiner)), _latent(refiner)
    for batch, *size_hw in _SHAPES:
        height, width = fit.padded((size_hw[0], size_hw[1]))
        given = {INPUT: generator.uniform(-1, 1, (batch, channels, height, width)).astype(np.float32)}
        if latent:
            given[LATENT] = generator.standard_normal((batch, latent), dtype=np.float32)
        with torch.inference_mode():
            expected = refiner(*(torch.from_numpy(value) for value in given.values())).numpy()
        got = session.run(None, given)[0]
        parity[f"{batch}x{channels}x{height}x{width}"] = float(np.abs(got - expected).max())
    return parity


def _session(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()  # left open, it would be one for each core of the machine
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _latent(refiner: nn.Module) -> int:
    """How many latent numbers a refiner takes beside each image."""
    return int(getattr(refiner, "latent", 0))


def _least_side(refiner: nn.Module) -> int:
    return int(getattr(refiner, "min_side_px", 8))


def export_probe(probe: TrainedProbe, tolerance: float = 1e-3) -> ProbeFiles:
    """A label probe as ONNX: for each view one file, with one output (batch, networks, answers) for each fold.

    Raises ModelError when ONNX and torch differ by more than `tolerance` times the largest answer (at least 1).
    """
    return ProbeFiles(
        probe.describe(), {name: _view_to_onnx(name, view, tolerance) for name, view in probe.views.items()}
    )


class _Folds(nn.Module):
    """All networks of a view: images (B, C, h, w) to (B, M, A) for each fold."""

    def __init__(self, networks: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.folds = nn.ModuleList([nn.ModuleList(list(own)) for own in networks])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.stack([network(images) for network in cast("nn.ModuleList", own)], 1) for own in self.folds)


def _view_to_onnx(name: str, view: TrainedView, tolerance: float) -> bytes:
    """One view's networks; raises ModelError."""
    try:
        return _compared_view(name, view, tolerance, anew=False)
    except ModelError:
        return _compared_view(name, view, tolerance, anew=True)


def _compared_view(name: str, view: TrainedView, tolerance: float, anew: bool) -> bytes:
    folds = _Folds(view.networks).eval()
    names = [probe_output(fold) for fold in range(len(view.networks))]
    noise = np.random.default_rng(0).uniform(-1, 1, (3, view.view.channels, *view.view.canvas_hw)).astype(np.float32)
    batch = [{0: torch.export.Dim("batch")}]
    proto = exported(f"label probe ({name}s)", folds, [torch.from_numpy(noise)], batch, [INPUT], names, anew)
    model: bytes = proto.SerializeToString()
    session = _session(model)
    with torch.inference_mode():
        expected = [answers.numpy() for answers in folds(torch.from_numpy(noise))]
    for got, want in zip(session.run(names, {INPUT: noise}), expected, strict=True):
        difference, largest = float(np.abs(got - want).max()), max(1.0, float(np.abs(want).max()))
        if not difference <= tolerance * largest:
            raise ModelError(f"label probe ({name}s): ONNX and torch differ by {difference:.2e}; not written")
    return model


def _write(folder: Path, file_name: str, model: bytes, manifest: Manifest, probe: ProbeFiles | None) -> Manifest:
    inspect_onnx(model, folder / file_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / (file_name + ".tmp")
        temporary.write_bytes(model)
        temporary.replace(folder / file_name)
        if file_name == MODEL_FILE:
            manifest = dataclasses.replace(manifest, probe=write_probe(folder, probe) if probe else {})
            write_manifest(folder, manifest)
    except OSError as error:
        raise OutputError(f"{folder}: the artifact cannot be written ({error.strerror}); give another --out") from error
    return manifest


def _versions() -> dict[str, str]:
    return {
        "refinery": refinery.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }
