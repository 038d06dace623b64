"""Write docs/commands.md, the help of every command, and docs/settings.md, every TOML key with its default."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from refinery.config import ExportConfig, InspectConfig, RefineConfig, TrainConfig
from refinery.registry import find, names

COMMANDS = ("", "train", "refine", "export", "inspect")


def page() -> str:
    """The whole page."""
    drawn_by = " and ".join(f"{name} {version(name)}" for name in ("typer", "rich"))
    parts = [
        f"# Commands\n\nWritten by `make docs` with {drawn_by}; every option also has its place in the TOML "
        "(docs/settings.md).\n"
    ]
    parts += [f"## refinery {command}".rstrip() + f"\n\n```text\n{help_of(command)}\n```\n" for command in COMMANDS]
    return "\n".join(parts)


def settings_page() -> str:
    """Every key of every table."""
    tables = {"train": TrainConfig, "refine": RefineConfig, "export": ExportConfig, "inspect": InspectConfig}
    tables |= {name: find("method", name).Settings for name in names("method")}
    parts = [
        "# Settings\n\nWritten by `make docs`. `--config c.toml` gives any of these; an option on the command line "
        "wins, and a key that nobody knows is an error. A run keeps its resolved settings in `config.toml`.\n"
    ]
    for name, kind in tables.items():
        notes = _notes(kind)
        rows = [f"| `{f.name}` | `{f.default!r}` | {notes.get(f.name, '')} |" for f in dataclasses.fields(kind)]
        parts.append("\n".join([f"## [{name}]\n", "| key | default | |", "| --- | --- | --- |", *rows, ""]))
    return "\n".join(parts)


def _notes(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass, also of those that it inherits."""
    notes: dict[str, str] = {}
    for own in reversed([each for each in kind.__mro__ if dataclasses.is_dataclass(each)]):
        body = ast.parse(inspect.getsource(own)).body[0].body
        notes |= {
            field.target.id: " ".join(note.value.value.split())
            for field, note in pairwise(body)
            if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr)
        }
    return notes


def help_of(command: str) -> str:
    """`refinery COMMAND --help`, 100 columns wide, without colour."""
    environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    arguments = [sys.executable, "-m", "refinery", *command.split(), "--help"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


if __name__ == "__main__":
    docs = Path(__file__).parent
    (docs / "commands.md").write_text(page(), encoding="utf-8")
    (docs / "settings.md").write_text(settings_page(), encoding="utf-8")
