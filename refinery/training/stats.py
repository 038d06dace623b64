"""The run's numbers as they come: one JSON line a log step, and TensorBoard when it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refinery.errors import OutputError

Record = dict[str, Any]


class StatsLog:
    """Appends records to `stats.jsonl`; a resumed run first drops the records after its checkpoint."""

    def __init__(self, folder: Path, resume_step: int) -> None:
        self.path = folder / "stats.jsonl"
        kept = [r for r in read_stats(folder) if r["step"] <= resume_step] if resume_step else []
        temporary = self.path.with_suffix(".tmp")
        try:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
            temporary.replace(self.path)
            self.file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error
        self.board = _tensorboard(folder)

    def write(self, record: Record) -> None:
        """Append one record; `step` is required, numbers go to TensorBoard too."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in record.items():
                if isinstance(value, int | float) and name != "step":
                    self.board.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Flush and close."""
        self.file.close()
        if self.board is not None:
            self.board.close()


def read_stats(folder: Path) -> list[Record]:
    """The records of a run; a line cut short by a kill is left out."""
    path = folder / "stats.jsonl"
    if not path.exists():
        return []
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
