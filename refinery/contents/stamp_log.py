"""The states of files that a job has read and written, `.refinery/stamps.jsonl`, so that they need not be read again.

A line of a sample, `{"id": "sample KEY", "in": [...], "out": [...], "labels": ...}`: states of its image and sidecars
in the input and in the output, and a digest of what files about many images say of it. A line of a file that belongs to
no sample or holds many: `{"id": "file PATH", "in": ..., "sha256": ...}`; of the latter in the output, `{"id": "output
PATH", "out": ...}`. Of several lines of one id the last counts. Nothing here is needed for the output: what the log
does not tell is read and compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from refinery.contents.line_index import Line, LineIndex
from refinery.formats._files import output_errors

NAME = "stamps.jsonl"
LABELS = "labels"
"""The id of the line about files about many images."""

CALIBRATION = "calibration"
"""The id of the line about the samples that the checks were calibrated on."""


class StampLog:
    """The log of one journal; lines may be added from several threads. Opened and closed by a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._index: LineIndex | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> StampLog:
        with output_errors(self.path):
            self._file = self.path.open("a+b")
            if self._file.tell():
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")  # ends what a kill cut short
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self._file, self._index):
            if opened is not None:
                with contextlib.suppress(OSError):  # a full disk has been reported by the write itself
                    opened.close()

    def get(self, name: str) -> Line:
        """The last line of this id that was added before `read_again`; empty where there is none."""
        if self._index is None:
            self.read_again()
            assert self._index is not None
        return self._index.get(name) or {}

    def sample(self, key: str) -> Line:
        """The line of a sample."""
        return self.get(f"sample {key}")

    def file(self, path: str) -> Line:
        """The line of a file."""
        return self.get(f"file {path}")

    def files(self) -> Iterable[str]:
        """Paths of all files that have a line, some of them more than once."""
        self.flush()
        with self.path.open("rb") as file:
            for text in file:
                if text.startswith(b'{"id": "file '):
                    yield json.loads(text)["id"].removeprefix("file ")

    def read_again(self) -> None:
        """Make lines known that were added since."""
        self.flush()
        if self._index is not None:
            self._index.close()
        self._index = LineIndex(self.path, "id")

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        """Add a line of this id. Raises OutputError."""
        assert self._file is not None
        with self._lock, output_errors(self.path):
            self._file.write(
                json.dumps({"id": name, **{key: value for key, value in content.items() if key != "id"}}).encode()
                + b"\n"
            )

    def flush(self) -> None:
        """Hand what was added to the system. Raises OutputError."""
        assert self._file is not None
        with self._lock, output_errors(self.path):
            self._file.flush()
