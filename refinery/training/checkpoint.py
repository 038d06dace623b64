"""Checkpoints without pickles: tensors in a safetensors file, everything else as JSON in its header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from refinery.errors import ModelError

VERSION = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers, strings and None; appears whole or not at all."""
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(state, tensors, "")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"refinery": json.dumps({"version": VERSION, "state": skeleton})})
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Read what save wrote, on the CPU. Raises ModelError for a missing, foreign or newer file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("refinery", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such checkpoint") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a refinery checkpoint ({error}); pickled files are never read") from error
    if header.get("version") != VERSION:
        raise ModelError(
            f"{path}: checkpoint version {header.get('version')}, this refinery reads {VERSION}; train again or use "
            "the refinery that wrote it"
        )
    state: dict[str, Any] = _unpack(header["state"], tensors)
    return state


def _pack(tree: Any, tensors: dict[str, Tensor], path: str) -> Any:
    if isinstance(tree, Tensor):
        tensors[path] = tree.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(tree, dict):
        return {"dict": [[key, _pack(value, tensors, f"{path}/{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [_pack(value, tensors, f"{path}/{i}") for i, value in enumerate(tree)]}
    return {"value": tree}


def _unpack(packed: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    if kind == "list":
        return [_unpack(value, tensors) for value in content]
    return content


def remove_temporary(folder: Path) -> None:
    """Delete what a killed run left half-written."""
    for leftover in folder.glob("*.tmp"):
        os.unlink(leftover)
