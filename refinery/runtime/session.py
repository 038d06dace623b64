"""A refiner loaded into an execution provider: CUDA, OpenVINO or the CPU; what was chosen is known, never guessed.

ONNX Runtime runs TensorRT, CUDA and CPU. OpenVINO runs through its own runtime, not through ONNX Runtime's plug-in
provider: the plug-in offers no device on CPUs that are not Intel's, the runtime itself does (measured:
docs/dependencies.md).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from refinery.artifact import Artifact
from refinery.config import Provider, RefinePrecision
from refinery.errors import MissingExtraError, ModelError, ProviderError
from refinery.processor import cores, is_slow_in_bf16
from refinery.runtime import gpu
from refinery.runtime.binding import BoundRunner, Lane
from refinery.runtime.fit import Fit
from refinery.runtime.room import Room
from refinery.runtime.runner import Runner

ProviderName = Literal["tensorrt", "cuda", "openvino", "cpu"]
_ORDER: tuple[ProviderName, ...] = ("cuda", "openvino", "cpu")
_NO_HALF = "runs on a CPU, where fp16 is slower than fp32; use --provider cuda, or --precision fp32 or auto"


@dataclass(frozen=True)
class Session:
    """A refiner that is ready, and how it runs."""

    run: Runner
    """May be called from as many threads at once as there are streams."""
    provider: ProviderName
    precision: str
    streams: int = 1
    note: str = ""
    """What a faster provider lacked, when `auto` had to go on without it, and what slows down the one that runs."""
    latent: int = 0
    """How many latent numbers it takes beside each image."""
    fit: Fit = field(default_factory=Fit)
    """What sizes it takes, and how far it sees."""
    batch: int = 0
    """How many images it takes at once, where its file fixes that; 0: any number."""
    room: Room = field(default_factory=Room)
    """How much goes in at once, found out by what failed."""


def open_session(
    artifact: Artifact, provider: Provider, precision: RefinePrecision, threads: int = 0, streams: int = 1
) -> Session:
    """Load the model into the first provider that starts, or into the one that was asked for.

    threads: for inference on the CPU; 0: one per core. streams: batches that run at the same time, sharing the threads:
    with one thread each they do not wait for one another when other work takes a core. On a GPU no more of them than
    `gpu.STREAMS`.
    Raises ProviderError when the provider or precision asked for does not start, never falling back in silence.
    """
    opened = _open(artifact, provider, precision, threads or cores(), streams)
    known = artifact.manifest
    fit = Fit(known.size_multiple, known.min_side_px, known.receptive_field_px, known.cell_px, artifact.fixed_hw)
    return replace(opened, latent=known.latent, fit=fit, batch=artifact.fixed_batch)


def _open(artifact: Artifact, provider: Provider, precision: RefinePrecision, threads: int, streams: int) -> Session:
    streams = max(1, min(streams, threads))
    if provider != "auto":
        return _OPENERS[provider](artifact, precision, threads, streams)
    notes: list[str] = []
    for name in _ORDER:
        if not _offered(name, precision):
            continue
        try:
            opened = _OPENERS[name](artifact, precision, threads, streams)
            return replace(opened, note="; ".join(filter(None, [*notes, opened.note])))
        except (MissingExtraError, ModelError, ProviderError) as error:
            notes.append(str(error))
    raise ProviderError(
        "; ".join(notes) or f"no execution provider runs {precision} here; use --precision fp32 or auto"
    )


def _offered(name: ProviderName, precision: RefinePrecision) -> bool:
    """True if `auto` should try this provider: it is there, and does what is asked."""
    if name == "cuda":
        return precision != "bf16" and _cuda_device_present()
    if name == "openvino":
        return precision != "fp16" and importlib.util.find_spec("openvino") is not None
    return precision not in ("bf16", "fp16")


def _cuda_device_present() -> bool:
    """An NVIDIA device node: asking ONNX Runtime for CUDA without one logs errors and falls back."""
    return any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/version"))


def _open_gpu(
    name: ProviderName, artifact: Artifact, precision: RefinePrecision, threads: int, streams: int
) -> Session:
    if precision == "bf16":
        raise ProviderError(
            f"the {name} provider runs fp32 and fp16; bf16 runs on openvino; use --precision fp32 or auto"
        )
    half = precision == "fp16"
    model = gpu.in_half(artifact.model) if half and name == "cuda" else artifact.model  # TensorRT does it itself
    if _cuda_device_present():
        gpu.load_libraries()
    opened = []
    for _ in range(min(streams, gpu.STREAMS[name])):  # one after the other, and none where the first does not start
        opened.append(_onnxruntime(replace(artifact, model=model), gpu.providers(name, half), threads))
        gpu.require_started(name, opened[-1])
    allocate, note = gpu.host_memory()
    lanes = [Lane(session, gpu.DEVICE, allocate) for session in opened]
    if name == "cuda":  # TensorRT would build an engine for it
        gpu.try_out(lanes, artifact.manifest)
    return Session(BoundRunner(lanes), name, "fp16" if half else "fp32", len(lanes), note)


def _open_cuda(artifact: Artifact, precision: RefinePrecision, threads: int, streams: int) -> Session:
    return _open_gpu("cuda", artifact, precision, threads, streams)


def _open_tensorrt(artifact: Artifact, precision: RefinePrecision, threads: int, streams: int) -> Session:
    return _open_gpu("tensorrt", artifact, precision, threads, streams)


def _open_cpu(artifact: Artifact, precision: RefinePrecision, threads: int, streams: int) -> Session:
    if precision == "bf16":
        raise ProviderError("the cpu provider has no bf16 convolution; use --provider openvino, or --precision fp32")
    if precision == "fp16":
        raise ProviderError(f"the cpu provider {_NO_HALF}")
    session = _onnxruntime(artifact, [("CPUExecutionProvider", {})], max(1, threads // streams))
    return Session(_OnnxRuntimeRunner(session), "cpu", "fp32", streams)


def _open_openvino(artifact: Artifact, precision: RefinePrecision, threads: int, streams: int) -> Session:
    if precision == "fp16":
        raise ProviderError(f"the openvino provider {_NO_HALF}")
    core = _import_openvino().Core()
    try:
        able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        raise ProviderError(
            f"OpenVINO finds no CPU to run on ({_first_line(error)}); use --provider cpu, or install it again: "
            "pip install --force-reinstall openvino"
        ) from error
    if precision == "bf16" and not able:
        raise ProviderError("this CPU has no bf16 instructions; use --precision fp32 or auto")
    wanted = precision == "bf16" or (precision == "auto" and not is_slow_in_bf16())
    chosen = "bf16" if able and wanted else "fp32"
    settings = {
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[chosen],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,  # it pins the first thread of every process to the same core
    }
    try:
        compiled = core.compile_model(core.read_model(artifact.model, b""), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(
            f"{artifact.path}: OpenVINO cannot run it ({_first_line(error)}); try --provider cpu"
        ) from error
    return Session(_OpenVinoRunner(compiled), "openvino", chosen, streams)


def _import_openvino() -> Any:
    """OpenVINO; its telemetry is off since refinery was imported. Raises MissingExtraError, ProviderError."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise _broken_openvino(error) from error
        raise MissingExtraError("provider openvino needs the package openvino; pip install openvino") from error
    except Exception as error:  # a package that does not import may raise anything
        raise _broken_openvino(error) from error
    return openvino


def _broken_openvino(error: Exception) -> ProviderError:
    return ProviderError(
        f"the package openvino cannot be imported ({_first_line(error)}); pip install --force-reinstall openvino, or "
        "use --provider cpu"
    )


_OPENERS = {"tensorrt": _open_tensorrt, "cuda": _open_cuda, "openvino": _open_openvino, "cpu": _open_cpu}


class _OnnxRuntimeRunner:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = [value.name for value in session.get_inputs()]

    def __call__(self, images: NDArray[np.float32], latent: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        given = [images] if latent is None else [images, latent]
        refined: NDArray[np.float32] = self.session.run(None, dict(zip(self.inputs, given, strict=True)))[0]
        return refined


class _OpenVinoRunner:
    """A request holds its inputs and outputs, so each thread has one of its own.

    Each thread's first inference is made alone: OpenVINO's bindings set themselves up in the first calls, and threads
    that do so at once can wait for each other for ever: one holds the interpreter's lock, one the set-up's.
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled
        self.own = threading.local()
        self.first_call = threading.Lock()

    def __call__(self, images: NDArray[np.float32], latent: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        given = [images] if latent is None else [images, latent]
        if hasattr(self.own, "request"):
            return self._infer(given)
        with self.first_call:
            self.own.request = self.compiled.create_infer_request()
            return self._infer(given)

    def _infer(self, given: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        refined: NDArray[np.float32] = self.own.request.infer(given, share_inputs=True)[0]
        return refined


def _onnxruntime(artifact: Artifact, providers: Sequence[tuple[str, dict[str, Any]]], threads: int) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # what matters is read back from the session, not from its log
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decode and encode need the cores too
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints when a provider does not start
            return onnxruntime.InferenceSession(artifact.model, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime raises its own classes
        raise ModelError(
            f"{artifact.path}: ONNX Runtime cannot run it ({_first_line(error)}); export it again"
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says first, behind the places in OpenVINO's sources that it came through."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line[:200] for line in lines if line and not line.startswith("Exception from")), type(error).__name__)
