"""The artifact: what training leaves for refining. `refiner.onnx` and `manifest.json`; no torch, no pickle.

Reading one from a stranger: the ONNX file must be one file (no external data), of standard operators only, within a
size limit, with one image in (and latent numbers, if it has noise) and one image out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from refinery.errors import ModelError

VERSION = 1
MODEL_FILE, MANIFEST_FILE = "refiner.onnx", "manifest.json"
PROBE_FILES = {"image": "probe.onnx", "object": "probe_objects.onnx"}
"""Of a label probe, by what its networks look at."""

MAX_MODEL_BYTES, MAX_PROBE_BYTES = 2_000_000_000, 200_000_000
MAX_FOLDS = 16
INPUT, LATENT, OUTPUT = "synthetic", "latent", "refined"
MAX_LATENT = 65_536
MAX_MULTIPLE = 1024
_ONNX_FLOAT = 1


@dataclass(frozen=True)
class Manifest:
    """What refining must know about a refiner.

    channels: of the images it takes. out_channels: of those it makes. bits: of the images it was trained on.
    size_multiple: height and width must be multiples of this. min_side_px: smallest height and width.
    receptive_field_px: side of the square of input pixels that an output pixel sees, norms by each image's own
    statistics left out; 0: not known. cell_px: moving an image by so many pixels moves what is made of it, see
    `runtime.fit`; 0: not known. latent: how many normal numbers it takes beside each image.
    parity: {"tolerance", "max_abs", "shapes"} of ONNX against torch in [-1, 1] units. training: where the images came
    from ({"synthetic", "real"} with counts and fingerprints), steps, drift and realism when it was chosen. probe: what
    is known about the label probe beside it, see `runtime.probe_session`; empty when there is none.
    check_thresholds: of the label checks, calibrated on held-out samples with this refiner; empty: their defaults.
    student: of a network that was taught by another one: of which ("of"), and how far they agree on images that it did
    not learn from ("levels" of 255, share of samples whose labels "failed"); empty: it was not.
    """

    method: str = "unknown"
    channels: int = 1
    out_channels: int = 1
    bits: int = 8
    value_range: tuple[float, float] = (-1.0, 1.0)
    size_multiple: int = 1
    min_side_px: int = 8
    receptive_field_px: int = 0
    cell_px: int = 0
    latent: int = 0
    deterministic: bool = True
    model_sha256: str = ""
    parity: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    check_thresholds: dict[str, float] = field(default_factory=dict)
    student: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    version: int = VERSION


_DEFAULTS: dict[str, Any] = dataclasses.asdict(Manifest())


@dataclass(frozen=True)
class ProbeFiles:
    """A label probe as files: what is known about it, and an ONNX model for each way to look at an image.

    description: {"folds", "views": {VIEW: {...}}, "labels": [...]}; models: by view, the keys of PROBE_FILES.
    """

    description: dict[str, Any] = field(repr=False)
    models: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Artifact:
    """A refiner ready to be run: its file, what is known about it, and the bytes as they were checked.

    fixed_batch, fixed_hw: what the ONNX file fixes of its input; 0: left open, as `refinery export` leaves all three.
    """

    path: Path
    manifest: Manifest
    model: bytes = field(repr=False)
    probe: ProbeFiles | None = None
    fixed_batch: int = 0
    fixed_hw: tuple[int, int] = (0, 0)

    @property
    def sha256(self) -> str:
        """Hash of the ONNX file: part of a job's identity."""
        return hashlib.sha256(self.model).hexdigest()

    def fixes(self) -> str:
        """What of its input the file fixes, in words; empty: nothing."""
        size = f"{_size(self.fixed_hw)} px only" if any(self.fixed_hw) else ""
        return ", ".join(filter(None, [size, f"{self.fixed_batch} at once" if self.fixed_batch else ""]))


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
    model = _read_model(file, MAX_MODEL_BYTES)
    shape = inspect_onnx(model, file)
    manifest = _read_manifest(file, shape)
    if manifest.channels != shape.channels and shape.channels:
        raise ModelError(
            f"{file}: takes {shape.channels} channel(s), but its {MANIFEST_FILE} says {manifest.channels}: they are "
            "not of one export; export the run again"
        )
    if manifest.latent != shape.latent:
        raise ModelError(
            f"{file}: takes {shape.latent} latent number(s), but its {MANIFEST_FILE} says {manifest.latent}: they are "
            "not of one export; export the run again"
        )
    if manifest.model_sha256 not in ("", hashlib.sha256(model).hexdigest()):
        raise ModelError(f"{file}: is not the file its {MANIFEST_FILE} describes (hash differs); export the run again")
    probe = _read_probe(file.parent, manifest.probe) if manifest.probe else None
    return Artifact(file, manifest, model, probe, shape.batch, shape.size_hw)


def write_probe(folder: Path, probe: ProbeFiles) -> dict[str, Any]:
    """Write the models of a label probe whole; returns what the manifest is to say about it."""
    views = {}
    for view, model in probe.models.items():
        inspect_probe_onnx(model, folder / PROBE_FILES[view], probe.description["folds"])
        temporary = folder / (PROBE_FILES[view] + ".tmp")
        temporary.write_bytes(model)
        temporary.replace(folder / PROBE_FILES[view])
        views[view] = {**probe.description["views"][view], "sha256": hashlib.sha256(model).hexdigest()}
    return {**probe.description, "views": views}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json whole."""
    temporary = folder / (MANIFEST_FILE + ".tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(manifest), indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST_FILE)


@dataclass(frozen=True)
class ModelShape:
    """Channels of the images that a model takes and makes, how many latent numbers, images and px; 0: left open."""

    channels: int
    out_channels: int
    latent: int
    batch: int = 0
    size_hw: tuple[int, int] = (0, 0)


def inspect_onnx(model: bytes, name: Path | str) -> ModelShape:
    """What a refiner takes and makes. Raises ModelError for what is not one safe refiner."""
    graph = _safe_graph(model, name)
    inputs = _inputs(graph)
    noisy = len(inputs) == 2 and inputs[1].name == LATENT
    if not (len(inputs) == 1 or noisy) or len(graph.output) != 1:
        raise ModelError(
            f"{name}: {len(inputs)} input(s) and {len(graph.output)} output(s); a refiner has one of each, and an "
            f"input named {LATENT!r} if it has noise"
        )
    shape = ModelShape(
        _image_channels(inputs[0], name),
        _image_channels(graph.output[0], name, "output"),
        _latent_numbers(inputs[1], name) if noisy else 0,
        *_fixed(inputs[0]),
    )
    makes = _fixed(graph.output[0])
    if any(made and made != taken for made, taken in zip(makes[1], shape.size_hw, strict=True)):
        raise ModelError(
            f"{name}: makes images of {_size(makes[1])} px of {_size(shape.size_hw)} px; a refiner keeps height and "
            "width"
        )
    for verb, channels in (("takes", shape.channels), ("makes", shape.out_channels)):
        if channels not in (0, 1, 3):
            raise ModelError(f"{name}: {verb} {channels} channels; refinery refines gray (1) and colour (3) images")
    return shape


def inspect_probe_onnx(model: bytes, name: Path | str, folds: int) -> None:
    """Raise ModelError for what is not one safe label probe: images in, answers of each fold out."""
    graph = _safe_graph(model, name)
    inputs = _inputs(graph)
    expected = [probe_output(fold) for fold in range(folds)]
    if len(inputs) != 1 or [value.name for value in graph.output] != expected:
        found = ", ".join(value.name for value in graph.output)[:80]
        raise ModelError(
            f"{name}: {len(inputs)} input(s) and outputs {found}; a label probe has one input and outputs "
            f"{', '.join(expected)}; export the run again"
        )
    _image_channels(inputs[0], name)


def probe_output(fold: int) -> str:
    """Name of the output that holds the answers of the networks of a fold."""
    return f"fold{fold}"


def _safe_graph(model: bytes, name: Path | str) -> Any:
    """The graph of a model that is one file of standard operators. Raises ModelError."""
    import onnx  # takes a quarter second: only when a model is read

    try:
        proto = onnx.load_model_from_string(model)
    except AttributeError:  # another package that is called onnx
        raise
    except Exception as error:  # protobuf raises its own classes
        raise ModelError(f"{name}: not an ONNX file; export one with `refinery export`") from error
    if proto.functions:
        raise ModelError(f"{name}: defines operators of its own (functions); export it with its functions inlined")
    _refuse_external_data(proto.graph, name)
    domains = _domains(proto.graph) | {i.domain for i in proto.opset_import}
    if domains - {"", "ai.onnx"}:
        raise ModelError(
            f"{name}: uses operators of {', '.join(sorted(domains - {'', 'ai.onnx'}))}; only standard ones run"
        )
    return proto.graph


def _inputs(graph: Any) -> list[Any]:
    initialisers = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialisers]


def _image_channels(value: Any, name: Path | str, what: str = "input") -> int:
    """Channels of a value that is a batch of images, 0 if left open. Raises ModelError for other values."""
    dims, kind = value.type.tensor_type.shape.dim, value.type.tensor_type.elem_type
    if ((what == "input" or dims) and len(dims) != 4) or kind != _ONNX_FLOAT:
        sides = ", ".join(str(dim.dim_param or dim.dim_value or "?") for dim in dims)
        raise ModelError(
            f"{name}: its {what} is not a float image batch (batch, channels, height, width) but {_kind(kind)} "
            f"({sides}); export it with float32 ends"
        )
    if dims and dims[1].dim_value not in (1, 3) and dims[3].dim_value in (1, 3):
        raise ModelError(
            f"{name}: its {what} has channels last (batch, height, width, channels); refinery runs models of (batch, "
            "channels, height, width): export it with a transpose at both ends"
        )
    return int(dims[1].dim_value) if dims else 0


def _fixed(value: Any) -> tuple[int, tuple[int, int]]:
    """Images a batch, and height and width, that a value of (batch, channels, height, width) fixes; 0: left open."""
    dims = value.type.tensor_type.shape.dim
    if not dims:
        return 0, (0, 0)
    return int(dims[0].dim_value), (int(dims[2].dim_value), int(dims[3].dim_value))


def _size(size_hw: tuple[int, int]) -> str:
    """Width by height, with what is left open as `any`."""
    return "x".join(str(side or "any") for side in reversed(size_hw))


def _kind(number: int) -> str:
    """What ONNX calls a type of values."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(number)).lower()


def _latent_numbers(value: Any, name: Path | str) -> int:
    """How many latent numbers an input takes for each image. Raises ModelError for other inputs."""
    dims = value.type.tensor_type.shape.dim
    count = int(dims[1].dim_value) if len(dims) == 2 else 0
    if not 1 <= count <= MAX_LATENT or value.type.tensor_type.elem_type != _ONNX_FLOAT:
        raise ModelError(f"{name}: its input {LATENT!r} is not a float batch (batch, 1 to {MAX_LATENT:,} numbers)")
    return count


def _read_model(file: Path, largest: int) -> bytes:
    try:
        size = file.stat().st_size
        if size > largest:
            raise ModelError(f"{file}: {size:,} bytes; refinery reads models up to {largest:,}")
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error


def _read_probe(folder: Path, description: dict[str, Any]) -> ProbeFiles:
    """The models that a manifest's probe names; where they lie is fixed. Raises ModelError."""
    views, folds = description.get("views"), description.get("folds")
    known = isinstance(views, dict) and set(views) <= set(PROBE_FILES) and len(views) > 0
    if not known or type(folds) is not int or not 1 <= folds <= MAX_FOLDS:
        raise ModelError(f"{folder / MANIFEST_FILE}: not a label probe (folds or views); export the run again")
    models: dict[str, bytes] = {}
    for view, about in cast("dict[str, Any]", views).items():
        file = folder / PROBE_FILES[view]
        models[view] = _read_model(file, MAX_PROBE_BYTES)
        expected = about.get("sha256") if isinstance(about, dict) else None
        if expected != hashlib.sha256(models[view]).hexdigest():
            raise ModelError(
                f"{file}: is not the file its {MANIFEST_FILE} describes (hash differs); export the run again"
            )
        inspect_probe_onnx(models[view], file, folds)
    return ProbeFiles(description, models)


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


def _read_manifest(file: Path, shape: ModelShape) -> Manifest:
    """What is known about a model; of a lone .onnx file only its shape (channels left open are taken as gray)."""
    path = file.parent / MANIFEST_FILE
    channels = shape.channels or 1
    if file.name != MODEL_FILE or not path.exists():
        return Manifest(channels=channels, out_channels=shape.out_channels or channels, latent=shape.latent)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in dataclasses.fields(Manifest)}
        raw.setdefault("out_channels", raw.get("channels", 1))
        manifest = Manifest(**{k: v for k, v in raw.items() if k in known})
        kinds = {k: (list, tuple) if isinstance(v, tuple) else type(v) for k, v in _DEFAULTS.items()}
        valid = all(isinstance(raw[k], kind) for k, kind in kinds.items() if k in raw)
        valid = valid and isinstance(manifest.parity.get("max_abs", 0.0), int | float)
        valid = valid and manifest.receptive_field_px >= 0 and 0 <= manifest.cell_px <= MAX_MULTIPLE
        valid = valid and 1 <= manifest.size_multiple <= MAX_MULTIPLE and 1 <= manifest.min_side_px <= MAX_MULTIPLE
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not a refinery manifest ({error}); export the run again") from error
    if manifest.version != VERSION:
        raise ModelError(
            f"{path}: manifest version {manifest.version}, this refinery reads {VERSION}; export the run again"
        )
    if not valid or manifest.channels not in (1, 3) or manifest.out_channels not in (1, 3):
        raise ModelError(f"{path}: not a refinery manifest (a value of the wrong kind); export the run again")
    return manifest
