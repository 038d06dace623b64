"""The picture of a dataset's labels as they were read, drawn before work starts."""

from __future__ import annotations

from pathlib import Path

from refinery.dataset import iter_decoded
from refinery.errors import OutputError, SampleError
from refinery.formats._source import Source
from refinery.jobs._labels import LabelTable
from refinery.jobs._observer import Observer
from refinery.labels import LabelReader
from refinery.report.label_sheet import TILES, LabelledTile, draw_sheet
from refinery.report.picture import save_png


def save_label_sheet(
    source: Source, reader: LabelReader, table: LabelTable, path: Path, observer: Observer
) -> str | None:
    """Draw a dozen samples spread over the dataset, with every label where it was read; where the picture lies.

    A picture that cannot be written is told and ends nothing; None then.
    """
    tiles: list[LabelledTile] = []
    for sample, decoded in iter_decoded(source, TILES):
        if not isinstance(decoded, SampleError):
            labels, problems = reader.read(sample, decoded.size_hw)
            tiles.append(LabelledTile(sample.key, decoded.pixels, labels, problems))
    if not tiles:
        return None
    title = f"{Path(str(source.root)).name}: labels as they were read, {len(tiles)} of its images"
    try:
        save_png(draw_sheet(tiles, table.labels, title), path)
    except OutputError as error:
        observer.say(str(error))
        return None
    observer.say(f"labels as they were read: {path}")
    return str(path)
