"""The map of the house names every room, and no room that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rooms() -> set[str]:
    """Folders and modules right under the package."""
    entries = [path for path in (ROOT / "refinery").iterdir() if not path.name.startswith(("_", "."))]
    folders = {f"{path.name}/" for path in entries if (path / "__init__.py").is_file()}
    return folders | {path.name for path in entries if path.suffix == ".py"}


def test_the_map_has_a_row_for_every_room() -> None:
    tables = MAP.split("## The way of a sample")[0]
    named = {
        name
        for row in tables.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    assert named == rooms()


def test_every_file_that_the_map_names_is_there() -> None:
    names = re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", MAP)
    missing = [name for name in names if not list((ROOT / "refinery").glob(f"**/{name}"))]
    assert not missing
