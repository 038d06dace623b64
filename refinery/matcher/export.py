"""Write the matcher's two networks as ONNX graphs for the label checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from refinery.checks._outlines import OFFSETS_PX, POSITIONS
from refinery.matcher.network import FEATURES, SIDE, Features, Sectors
from refinery.onnx_graph import exported

SECTOR_INPUTS = ["source", "refined", "source_at", "refined_at", "steps", "counts", "away", "normals", "is_area"]
SECTOR_OUTPUTS = ["moves", "factors", "shown", "designs"]


def write_graphs(features: Features, sectors: Sectors, folder: Path) -> None:
    """features.onnx and sectors.onnx, for any number of images of any size and any number of things."""
    folder.mkdir(parents=True, exist_ok=True)
    batch, height, width = (torch.export.Dim(name) for name in ("batch", "height", "width"))
    sizes: Any = ({0: batch, 2: height, 3: width},)
    images = [torch.zeros(2, 3, 40, 56)]
    graph = exported("the matcher's features", features.eval(), images, sizes, ["image"], ["features"], anew=True)
    (folder / "features.onnx").write_bytes(graph.SerializeToString())
    shape = (3, POSITIONS, len(OFFSETS_PX))
    example = [
        torch.randn(500, FEATURES + 2),
        torch.randn(800, FEATURES),
        torch.zeros(shape, dtype=torch.int64),
        torch.zeros(shape, dtype=torch.int64),
        torch.zeros(SIDE * SIDE, dtype=torch.int64),
        torch.ones(shape),
        torch.randn(*shape, 2),
        torch.randn(*shape[:2], 2),
        torch.zeros(shape[0]),
    ]
    pixels, padded, things = (torch.export.Dim(name) for name in ("pixels", "padded", "things"))
    of_things = {0: things}
    sizes = ({0: pixels}, {0: padded}, of_things, of_things, {}, of_things, of_things, of_things, of_things)
    said = exported("the matcher's sectors", sectors.eval(), example, sizes, SECTOR_INPUTS, SECTOR_OUTPUTS, anew=True)
    (folder / "sectors.onnx").write_bytes(said.SerializeToString())
