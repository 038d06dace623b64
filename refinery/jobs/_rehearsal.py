"""The last steps of a training tried before the first one, with untrained networks: export, checks, room and rights."""

from __future__ import annotations

import shutil
from typing import Any

from refinery.artifact import MODEL_FILE, load
from refinery.config import TrainConfig
from refinery.errors import MissingExtraError, ModelError
from refinery.jobs._judge import trains_probe
from refinery.labels import LabelReader
from refinery.writable import require_room, require_writable

TOLERANCE = 1e-3
"""Largest |ONNX - torch| that a run's artifact may have."""
LOOKED_AT = 32
"""Labelled images that the shape of the label probe is taken from here."""
_EXPORTED: set[tuple[str, str]] = set()
"""Networks that this process exported before: a second run of one process (a sweep) need not wait again."""


def rehearse(
    folder: Any, method: Any, header: dict[str, Any], data: Any, reader: LabelReader, config: TrainConfig
) -> None:
    """Export the untrained refiner and a label probe, and write where the run will write; nothing stays behind.

    folder: a RunFolder. header: of its checkpoints. data: of `_train_data`. Raises ModelError or MissingExtraError
    where the networks cannot be exported here, OutputError where there is no room or no right to write.
    """
    import torch

    from refinery.onnx_export import export_checkpoint, export_probe
    from refinery.training import checkpoint

    for place in (folder.path, folder.samples, folder.checkpoints, folder.artifact):
        require_writable(place)
    require_room(folder.path, _needed_bytes(method), "two checkpoints and the artifact")
    probe = _probe(data, reader, config)
    networks = repr([header[name] for name in ("method", "settings", "channels", "real_channels")]), repr(probe)
    if networks in _EXPORTED:
        return
    shutil.rmtree(folder.rehearsal, ignore_errors=True)
    try:
        with torch.random.fork_rng(devices=[]):
            state = {**header, "step": 0, "refiner": _lively(method.refiner.state_dict())}
            untrained = folder.rehearsal / "untrained.safetensors"
            checkpoint.save(untrained, state)
            files = None if probe is None else export_probe(probe)
            export_checkpoint(untrained, folder.rehearsal, MODEL_FILE, TOLERANCE, files)
        load(folder.rehearsal)
        _EXPORTED.add(networks)
    except (MissingExtraError, ModelError) as error:
        raise type(error)(f"no step was trained, since the result could not be exported: {error}") from error
    finally:
        shutil.rmtree(folder.rehearsal, ignore_errors=True)


def _lively(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights of an untrained network with some noise: layers that begin as zeros would hide what follows them."""
    import torch

    return {
        name: value + 0.01 * torch.rand_like(value) if value.is_floating_point() else value
        for name, value in weights.items()
    }


def _probe(data: Any, reader: LabelReader, config: TrainConfig) -> Any:
    """An untrained label probe; None where the labels of some images give nothing to learn."""
    from refinery.training.probe import untrained_probe

    if not trains_probe(config) or data.real_channels != data.channels:
        return None
    images, samples = data.held_out.images[:LOOKED_AT], data.held_out.samples[:LOOKED_AT]
    labels = [reader.read(s, (i.shape[0], i.shape[1]))[0] for s, i in zip(samples, images, strict=True)]
    return untrained_probe(images, labels)


def _needed_bytes(method: Any) -> int:
    """Of two checkpoints (one is written while the other stands), the best one, and the artifact.

    Optimisers keep up to two numbers for each weight once they have begun.
    """
    state = _tensor_bytes(method.state()) + _tensor_bytes(method.own_state())
    weights = sum(_tensor_bytes(dict(module.state_dict())) for module in (method.refiner, method.trained))
    return 2 * (state + 3 * weights) + 4 * weights


def _tensor_bytes(tree: Any) -> int:
    if hasattr(tree, "element_size"):
        return int(tree.numel() * tree.element_size())
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return sum(map(_tensor_bytes, children))
