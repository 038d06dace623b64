"""Checkpoints without pickles: tensors in a safetensors file, everything else as JSON in its header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from refinery.errors import ModelError, OutputError

VERSION = 2


def save(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers, strings and None; appears whole or not at all.

    Raises OutputError when the disk is full or not to be written.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(state, tensors)
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777  # as the umask has it; safetensors makes files for their owner alone
        save_file(tensors, temporary, metadata={"refinery": json.dumps({"version": VERSION, "state": skeleton})})
        temporary.chmod(mode)
        temporary.replace(path)
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: cannot be written ({error}); make room, then go on with --resume") from error


def load(path: Path) -> dict[str, Any]:
    """Read what save wrote, on the CPU, in the memory order it had. Raises ModelError for a foreign or newer file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get("refinery", "{}")))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such checkpoint") from error
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: not a refinery checkpoint ({error}); pickled files are never read") from error
    if header.get("version") != VERSION:
        raise ModelError(
            f"{path}: checkpoint version {header.get('version')}, this refinery reads {VERSION}; train again or use "
            "the refinery that wrote it"
        )
    try:
        return dict(_unpack(header["state"], tensors))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: a broken checkpoint ({type(error).__name__}: {error}); use another one") from error


def _pack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        name = f"{len(tensors):05d}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"channels_last" if _is_channels_last(tree) else "tensor": name}
    if isinstance(tree, dict):
        return {"dict": [[key, _pack(value, tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [_pack(value, tensors) for value in tree]}
    return {"value": tree}


def _unpack(packed: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "channels_last":
        return tensors[content].contiguous(memory_format=torch.channels_last)
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    if kind == "list":
        return [_unpack(value, tensors) for value in content]
    return content


def _is_channels_last(tensor: Tensor) -> bool:
    """True if it must lie in memory that way again: fused optimisers pair a weight's state with it by memory order."""
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
