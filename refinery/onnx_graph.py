"""The ONNX graph of a network, exported once for all networks that are built alike."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import metadata
from typing import Any

import onnx
import torch
from torch import Tensor, nn

import refinery
from refinery.errors import MissingExtraError, ModelError

OPSET = 18
LARGEST_KEPT_BYTES, MOST_KEPT = 32_000_000, 8
_GRAPHS: dict[str, bytes] = {}
"""Models that were exported, by how their networks are built."""


def exported(
    what: str,
    network: nn.Module,
    examples: Sequence[Tensor],
    dynamic: Any,
    inputs: list[str],
    outputs: list[str],
    anew: bool,
    like: bytes = b"",
) -> Any:
    """The ONNX proto of a network. Raises ModelError, or MissingExtraError for a package that export needs.

    The exporter takes ten seconds and more: a network that differs in nothing but weights from one that this process
    exported gets that one's graph, unless `anew`; so does one whose weights all have their place in `like`, a model
    that a network built alike was exported to before. Whoever calls this compares the result with torch.
    """
    if like and not anew and (proto := _with_weights(like, network)) is not None:
        del proto.metadata_props[:]
        return proto
    built = _how_built(network, [tuple(example.shape) for example in examples], dynamic, inputs, outputs)
    if not anew and built in _GRAPHS and (proto := _with_weights(_GRAPHS[built], network)) is not None:
        return proto
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                tuple(examples),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=dynamic,
                input_names=inputs,
                output_names=outputs,
                verbose=False,
            )
        assert program is not None
        proto = program.model_proto
    except ImportError as error:
        raise MissingExtraError(
            f"{what}: export needs {error.name or error}; pip install {error.name or ''}"
        ) from error
    except Exception as error:  # torch, onnxscript and onnx-ir each have their own
        raise ModelError(
            f"{what}: cannot be exported to ONNX with torch {torch.__version__} and onnxscript {_onnxscript()} "
            f"({_first_cause(error)}); an operation without ONNX counterpart, or versions that do not go together"
        ) from error
    _forget_where(proto.graph)
    proto.producer_name, proto.producer_version = "refinery", refinery.__version__
    if proto.ByteSize() <= LARGEST_KEPT_BYTES:
        _GRAPHS[built] = proto.SerializeToString()
        while len(_GRAPHS) > MOST_KEPT:
            del _GRAPHS[next(iter(_GRAPHS))]
    return proto


def _how_built(network: nn.Module, *call: object) -> str:
    """Everything that decides on the graph of a network, as far as it shows: its modules and their plain attributes."""
    modules = [
        (name, type(part).__qualname__, sorted((k, repr(v)) for k, v in vars(part).items() if _is_plain(k, v)))
        for name, part in network.named_modules()
    ]
    return repr((modules, [(name, tuple(value.shape)) for name, value in network.state_dict().items()], call))


def _is_plain(name: str, value: object) -> bool:
    return name != "training" and isinstance(value, bool | int | float | str | tuple | None)


def _with_weights(model: bytes, network: nn.Module) -> Any:
    """The proto of an exported model with the weights of a network built alike.

    None where not every weight stands in the graph by its name and shape, as where the exporter calculated with it.
    """
    proto = onnx.load_model_from_string(model)
    found = {initializer.name: initializer for initializer in proto.graph.initializer}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():  # counters of batch norm
            continue
        own = found.get(name)
        if own is None or tuple(own.dims) != tuple(value.shape) or not own.raw_data or value.dtype != torch.float32:
            return None
        own.raw_data = value.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
    return proto


def _first_cause(error: BaseException) -> str:
    """The kind and first line of what an error came from."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _onnxscript() -> str:
    try:
        return metadata.version("onnxscript")
    except metadata.PackageNotFoundError:
        return "(missing)"


def _forget_where(graph: Any) -> None:
    """Drop the exporter's stack traces: they hold paths of this machine."""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns about packages it does not need here, and some versions print to stdout, which is ours."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
