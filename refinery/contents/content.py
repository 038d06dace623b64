"""Hashes of files as a dataset gives them, and whether a sample still has the content that a manifest line says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refinery.errors import SampleError
from refinery.formats._files import chunks
from refinery.formats._source import Source
from refinery.sample import Sample

NOTHING = hashlib.sha256(b"").hexdigest()
"""Of an image that could not be read."""


def sha256_of(data: bytes) -> str:
    """Of bytes in memory, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_disk(path: Path) -> str | None:
    """Of a file of any size; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        for piece in chunks(path, path.name):
            digest.update(piece)
    except SampleError:
        return None
    return digest.hexdigest()


def sha256_of_file(source: Source, path: str) -> str | None:
    """Of a sidecar or loose file of any size; None where it cannot be read."""
    try:
        return sha256_of(source.read_file(path))
    except SampleError:  # too large for memory, no label, or not to be read
        return None if source.endless else sha256_of_disk(source.root / path)


def sidecars_of(source: Source, sample: Sample) -> dict[str, str | None]:
    """Hashes of a sample's sidecars by their names in the output."""
    return {to: sha256_of_file(source, path) for path, to in sample.carried()}


def has_content(source: Source, sample: Sample, line: Mapping[str, Any]) -> bool:
    """True if image and sidecars of a sample are those that a manifest line is about: reads all of them."""
    if not has_names(sample, line):
        return False
    try:
        image = source.read(sample)
    except SampleError:
        image = b""
    return bool(sha256_of(image) == line["source_sha256"] and sidecars_of(source, sample) == line["sidecars"])


def digest_of_sample(source: Source, sample: Sample) -> str:
    """The first 64 bits of a hash of a sample's image and sidecars together."""
    try:
        image = source.read(sample)
    except SampleError:
        image = b""
    return sha256_of(json.dumps([sha256_of(image), sidecars_of(source, sample)], sort_keys=True).encode())[:16]


def has_names(sample: Sample, line: Mapping[str, Any]) -> bool:
    """True if a manifest line tells of the files that a sample has now, as lines of an old refinery do not."""
    return line["image"] == sample.image and set(line.get("sidecars", ("",))) == set(sample.sidecars)
