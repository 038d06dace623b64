"""Layout `tar`: shards as WebDataset writes them, the files of a sample behind each other, the key up to the first dot.

A sample's image is `shard-0001.tar/00012.png`. Any member that is a plain file with a safe name is carried, headers and
all; what an archive holds beside those (links, devices, paths that lead out) is refused and named.
"""

from __future__ import annotations

from pathlib import Path

from refinery.errors import DatasetError
from refinery.formats._tar_files import TarFiles
from refinery.formats._tar_source import TarSource


def sniff(path: Path) -> bool:
    """True if the path is a tar archive, or a folder that holds some and no image file anywhere."""
    if path.is_file():
        return TarFiles.promises(path.name)
    return TarFiles.are_all_of(path)


def open_source(path: Path) -> TarSource:
    """Open an archive or a folder of them. Raises DatasetError."""
    if path.is_dir():
        return TarSource(TarFiles(path))
    files = TarFiles(path.parent, path.name)
    source = TarSource(files)
    if next(files.archive(path.name).members(files.problems), None) is None:
        lines = files.problems.lines() or [f"{path}: no plain file in it"]
        raise DatasetError(f"{lines[0]}; expected a tar archive of images with the files that belong to them")
    return source
