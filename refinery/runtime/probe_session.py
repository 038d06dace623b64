"""The label probe of an artifact, loaded into ONNX Runtime: of each fold only its own networks run."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from refinery.artifact import INPUT, PROBE_FILES, Artifact, probe_output
from refinery.checks._prober import ProbedLabel
from refinery.errors import ModelError
from refinery.runtime.label_probe import LabelProbe, Runner, View
from refinery.runtime.probe_answers import Part
from refinery.sample import FloatArray

MAX_SIDE_PX, MAX_PARTS, MAX_OUTPUTS = 256, 256, 1 << 20


def open_probe(artifact: Artifact, threads: int = 1) -> LabelProbe | None:
    """The artifact's label probe, ready to be asked; None when it has none.

    threads: of each inference, on the CPU. Raises ModelError for a probe that is broken or not what its manifest says.
    """
    if artifact.probe is None:
        return None
    about, folder = artifact.probe.description, artifact.path.parent
    try:
        views = {name: _view(raw) for name, raw in about["views"].items()}
        labels = {label.name: label for label in (_label(raw) for raw in about["labels"])}
        _agree(views, labels)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{folder / 'manifest.json'}: not a label probe ({_one_line(error)}); export the run again"
        ) from error
    runners = {
        name: [
            _runner(artifact.probe.models[name], fold, folder / PROBE_FILES[name], threads)
            for fold in range(about["folds"])
        ]
        for name in views
    }
    return LabelProbe(labels, views, runners)


def _view(raw: Any) -> View:
    view: View = _build(View, {**raw, "parts": [_build(Part, part) for part in raw["parts"]]})
    sides = (*view.canvas_hw, *view.smallest_hw, *view.largest_hw)
    if not all(side > 0 for side in sides) or max(view.canvas_hw) > MAX_SIDE_PX or view.channels not in (1, 3):
        raise ValueError("a size that no view has")
    inside = all(part.answer >= 0 and part.answer_slice.stop <= view.outputs for part in view.parts)
    if not view.parts or len(view.parts) > MAX_PARTS or not inside or not 0 < view.outputs <= MAX_OUTPUTS:
        raise ValueError("parts that do not fit its answers")
    return view


def _agree(views: Mapping[str, View], labels: Mapping[str, ProbedLabel]) -> None:
    """Raise ValueError where labels and the parts of a view say different things about one label."""
    for view in views.values():
        for part in view.parts:
            label = labels.get(part.name)
            if label is None or label.form != part.form:
                raise ValueError("parts without their label")
            if part.form == "class" and (label.classes != part.classes or not part.classes):
                raise ValueError("classes that differ")
            if part.form == "region" and not 0 <= part.item < min(view.regions - 1, len(label.classes)):
                raise ValueError("a region that no mask has")


def _label(raw: Any) -> ProbedLabel:
    label: ProbedLabel = _build(ProbedLabel, raw)
    measured = (*label.bounds.values(), *label.errors.values(), *(value for row in label.power for value in row))
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in measured):
        raise ValueError("a measure that is no number")
    shares = [float(share) for share in label.bounds]
    sizes = [size for size, _ in label.power]
    if not all(0 < share < 1 for share in shares) or sizes != sorted(sizes) or (label.competent and not sizes):
        raise ValueError("measures that contradict each other")
    numbers = (label.details.get(name, 0.0) for name in ("sure", "doubt"))
    if not all(isinstance(value, int | float) for value in numbers):
        raise ValueError("a detail that is no number")
    return label


def _build(kind: Any, raw: Any) -> Any:
    """A dataclass from JSON, every value of its own kind. Raises ValueError; unknown keys are left out."""
    if not isinstance(raw, Mapping):
        raise TypeError(f"{kind.__name__} is no object")
    hints = get_type_hints(kind)
    known = {field.name: raw[field.name] for field in fields(kind) if field.name in raw}
    return kind(**{name: _as_kind(value, hints[name], name) for name, value in known.items()})


def _as_kind(value: Any, hint: Any, name: str) -> Any:
    """The value as the annotation says: lists become tuples, whole numbers may stand for others."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        fits = value in inner and isinstance(value, str)
    elif origin is tuple:
        fits = isinstance(value, list | tuple)
        if fits:
            kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
            return tuple(_as_kind(own, own_kind, name) for own, own_kind in zip(value, kinds, strict=True))
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif hint is int:
        fits = type(value) is int
    elif origin in (Union, types.UnionType):
        raise TypeError(f"{name}: no rule for {hint}")
    else:
        fits = isinstance(value, hint)
    if not fits:
        raise ValueError(f"{name} is of the wrong kind")
    return value


def _runner(model: bytes, fold: int, path: Path, threads: int) -> Runner:
    """A session of the networks of one fold alone."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        whole = onnx.load_model_from_string(model)
        part = Extractor(whole).extract_model([INPUT], [probe_output(fold)])
        session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnx and ONNX Runtime raise their own classes
        raise ModelError(f"{path}: ONNX Runtime cannot run it ({_one_line(error)}); export the run again") from error

    def run(canvases: FloatArray) -> FloatArray:
        try:
            return np.asarray(session.run(None, {INPUT: canvases})[0], np.float32)
        except Exception as error:  # ONNX Runtime raises its own classes
            raise ModelError(f"{path}: does not take {canvases.shape} ({_one_line(error)}); export again") from error

    return run


def _one_line(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"
        if str(error).strip()
        else type(error).__name__
    )
