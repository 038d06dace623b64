"""The artifact: what training leaves for refining. `refiner.onnx` and `manifest.json`; no torch, no pickle.

Reading one from a stranger: the ONNX file must be one file (no external data), of standard operators only, within a
size limit, with one image in and one image out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refinery.errors import ModelError

VERSION = 1
MODEL_FILE, MANIFEST_FILE = "refiner.onnx", "manifest.json"
MAX_MODEL_BYTES = 2_000_000_000
INPUT, OUTPUT = "synthetic", "refined"


@dataclass(frozen=True)
class Manifest:
    """What refining must know about a refiner.

    channels: of the images it takes. bits: of the images it was trained on. size_multiple: height and width must be
    multiples of this. min_side_px: smallest height and width. receptive_field_px: input pixels an output pixel sees.
    parity: {"tolerance", "max_abs", "shapes"} of ONNX against torch in [-1, 1] units. training: where the images came
    from ({"synthetic", "real"} with counts and fingerprints), steps, drift and realism when it was chosen.
    """

    method: str = "unknown"
    channels: int = 1
    bits: int = 8
    value_range: tuple[float, float] = (-1.0, 1.0)
    size_multiple: int = 1
    min_side_px: int = 8
    receptive_field_px: int = 0
    deterministic: bool = True
    model_sha256: str = ""
    parity: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    version: int = VERSION


_DEFAULTS: dict[str, Any] = dataclasses.asdict(Manifest())


@dataclass(frozen=True)
class Artifact:
    """A refiner ready to be run: its file, what is known about it, and the bytes as they were checked."""

    path: Path
    manifest: Manifest
    model: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hash of the ONNX file: part of a job's identity."""
        return hashlib.sha256(self.model).hexdigest()


def resolve(path: str | Path) -> Path:
    """The .onnx file of a run folder, an artifact folder, or itself. Raises ModelError if there is none."""
    given = Path(path)
    for candidate in (given, given / MODEL_FILE, given / "artifact" / MODEL_FILE):
        if candidate.is_file():
            return candidate
    if (given / "checkpoints").is_dir():
        raise ModelError(
            f"{given}: a run without an artifact: it is not finished; resume it, or `refinery export {given}`"
        )
    raise ModelError(f"{given}: no model there; expected a run folder, an artifact folder or an .onnx file")


def newest_run(runs: Path) -> Path:
    """The finished run (one with a summary and an artifact) that finished last. Raises ModelError if there is none."""
    finished = [p for p in runs.glob("*/summary.json") if (p.parent / "artifact" / MODEL_FILE).is_file()]
    if not finished:
        raise ModelError(f"no finished run under ./{runs}; train one with `refinery train`, or name one with --model")
    return max(finished, key=lambda summary: (summary.stat().st_mtime_ns, str(summary))).parent


def load(path: str | Path) -> Artifact:
    """Read and check an artifact. Raises ModelError for anything foreign, broken or unsafe."""
    file = resolve(path)
    try:
        size = file.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{file}: {size:,} bytes; refinery reads models up to {MAX_MODEL_BYTES:,}")
        model = file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    channels = inspect_onnx(model, file)
    manifest = _read_manifest(file, channels)
    if manifest.channels != channels and channels:
        raise ModelError(
            f"{file}: takes {channels} channel(s), but its {MANIFEST_FILE} says {manifest.channels}: they are not of "
            "one export; export the run again"
        )
    if manifest.model_sha256 not in ("", hashlib.sha256(model).hexdigest()):
        raise ModelError(f"{file}: is not the file its {MANIFEST_FILE} describes (hash differs); export the run again")
    return Artifact(file, dataclasses.replace(manifest, channels=channels or manifest.channels), model)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json whole."""
    temporary = folder / (MANIFEST_FILE + ".tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST_FILE)


def inspect_onnx(model: bytes, name: Path | str) -> int:
    """Channels of the input (0 if the model leaves them open). Raises ModelError for what is not one safe refiner."""
    import onnx  # takes a quarter second: only when a model is read

    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf raises its own classes
        raise ModelError(f"{name}: not an ONNX file; export one with `refinery export`") from error
    if proto.functions:
        raise ModelError(f"{name}: defines operators of its own (functions); export it with its functions inlined")
    graph = proto.graph
    _refuse_external_data(graph, name)
    domains = _domains(graph) | {i.domain for i in proto.opset_import}
    if domains - {"", "ai.onnx"}:
        raise ModelError(
            f"{name}: uses operators of {', '.join(sorted(domains - {'', 'ai.onnx'}))}; only standard ones run"
        )
    initialisers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialisers]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelError(f"{name}: {len(inputs)} input(s) and {len(graph.output)} output(s); a refiner has one of each")
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) != 4 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"{name}: its input is not a float image batch (batch, channels, height, width)")
    channels = dims[1].dim_value
    if channels not in (0, 1, 3):
        raise ModelError(f"{name}: takes {channels} channels; refinery refines gray (1) and colour (3) images")
    return int(channels)


def _graphs(graph: Any) -> list[Any]:
    """A graph and the graphs inside its nodes."""
    found, queue = [], [graph]
    while queue:
        current = queue.pop()
        found.append(current)
        for node in current.node:
            for attribute in node.attribute:
                queue.extend([attribute.g] if attribute.HasField("g") else [])
                queue.extend(attribute.graphs)
    return found


def _domains(graph: Any) -> set[str]:
    return {node.domain for inner in _graphs(graph) for node in inner.node}


def _refuse_external_data(graph: Any, name: Path | str) -> None:
    attributes = [a for inner in _graphs(graph) for node in inner.node for a in node.attribute]
    sparse = [s for inner in _graphs(graph) for s in inner.sparse_initializer]
    sparse += [s for a in attributes for s in (a.sparse_tensor, *a.sparse_tensors)]
    tensors = [t for inner in _graphs(graph) for t in inner.initializer]
    tensors += [t for a in attributes for t in (a.t, *a.tensors)] + [t for s in sparse for t in (s.values, s.indices)]
    if any(t.external_data or t.data_location == 1 for t in tensors):
        raise ModelError(f"{name}: keeps weights in other files (external data), which is refused; save it as one file")


def _read_manifest(file: Path, channels: int) -> Manifest:
    """What is known about a model; of a lone .onnx file only its channels (0 there: left open, taken as gray)."""
    path = file.parent / MANIFEST_FILE
    if file.name != MODEL_FILE or not path.exists():
        return Manifest(channels=channels or 1)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in dataclasses.fields(Manifest)}
        manifest = Manifest(**{k: v for k, v in raw.items() if k in known})
        kinds = {k: (list, tuple) if isinstance(v, tuple) else type(v) for k, v in _DEFAULTS.items()}
        valid = all(isinstance(raw[k], kind) for k, kind in kinds.items() if k in raw)
        valid = valid and isinstance(manifest.parity.get("max_abs", 0.0), int | float)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not a refinery manifest ({error}); export the run again") from error
    if manifest.version != VERSION:
        raise ModelError(
            f"{path}: manifest version {manifest.version}, this refinery reads {VERSION}; export the run again"
        )
    if not valid or manifest.channels not in (1, 3):
        raise ModelError(f"{path}: not a refinery manifest (a value of the wrong kind); export the run again")
    return manifest
