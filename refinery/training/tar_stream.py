"""Labelled images out of an endless tar stream, in the order of WebDataset, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refinery.formats._tar import LeaveOut, Read, grouped, key_of, read_members


@dataclass(frozen=True)
class StreamSample:
    """files: contents by relative path, in the order they came; key: what their names have in common."""

    key: str
    files: dict[str, bytes]


def read_samples(read: Read, leave_out: LeaveOut) -> Iterator[StreamSample]:
    """The samples of a stream until it ends; see `grouped`. Raises DatasetError as `read_members` does."""
    for group in grouped(read_members(read, leave_out)):
        yield StreamSample(key_of(group[0].path), {each.path: each.data or b"" for each in group})
