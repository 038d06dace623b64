"""Both ends of a refine job: where the samples come from, where they go, and where its journal stands."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from refinery.config import OnDrift, RefineConfig
from refinery.dataset import open_dataset
from refinery.errors import DatasetError, UsageError
from refinery.formats._pipe import PipeSink, PipeSource, standard_input
from refinery.formats._source import Sink, Source
from refinery.journal import Journal
from refinery.sample import Sample

PIPE = "-"


def open_input(path: str, out: str) -> Source:
    """A dataset, or for `-` the tar archive that standard input is.

    Raises DatasetError where there is not one image, UsageError where nothing is piped in, or where the dataset's
    layout cannot become the tar stream that `out` asks for.
    """
    if path != PIPE:
        source = open_dataset(Path(path))
        if out == PIPE and source.layout != "folder":
            raise UsageError(
                f"--out -: a tar stream is made of a folder of images or of another stream, and {path} is "
                f"{source.layout}; give a folder, or for tar archives: cat SHARDS | refinery refine - --out -"
            )
        return source
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("-: nothing is piped in; write: tar -c --sort=name -C synth . | refinery refine - --out ...")
    source = PipeSource(standard_input())
    if not any(isinstance(entry, Sample) for entry in source.entries()):
        why = "; ".join(source.problems()[:1])
        raise DatasetError(
            f"standard input: no images in it{f' ({why})' if why else ''}; expected a tar archive with the files of a "
            "sample behind each other"
        )
    return source


def require_ends(config: RefineConfig) -> None:
    """Raises UsageError where the output is missing, the input, inside it, or around it, or cannot be a pipe."""
    if config.report:
        require_apart(None if config.source == PIPE else Path(config.source), config.report, "--report")
    if config.out == PIPE:
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("--out -: standard output would be a tar archive; pipe it on, or give a folder")
    elif config.source == PIPE:
        require_apart(None, config.out)
    else:
        require_apart(Path(config.source), config.out)
    if config.shard and PIPE in (config.source, config.out):
        raise UsageError("--shard divides a dataset that every part can read; a stream is refined by one job")
    if config.report and config.out != PIPE:
        raise UsageError("--report is for --out -; with a folder the report lies in it, under .refinery")


def require_place(config: RefineConfig, on_drift: OnDrift) -> None:
    """Raises UsageError where there is no folder for what goes into quarantine. on_drift: what holds for this model."""
    if on_drift == "quarantine" and config.out == PIPE and not config.report:
        raise UsageError("--on-drift quarantine keeps refined images apart: with --out - give --report FOLDER too")


def require_apart(source: Path | None, out: str, option: str = "--out") -> Path:
    """The output folder. Raises UsageError if it is missing, the input, inside it, or around it."""
    if not out:
        raise UsageError("--out is missing: give a folder for the refined dataset")
    if source is None:
        return Path(out)
    inner, outer = Path(out).resolve(), source.resolve()
    if inner == outer:
        raise UsageError(f"{option} {out} is the input itself; the input is never changed: give another folder")
    if outer in inner.parents:
        raise UsageError(
            f"{option} {out} lies inside the input {source}; it would be read as input: give a folder outside"
        )
    if inner in outer.parents:
        raise UsageError(f"{option} {out} holds the input {source}; give a folder of its own")
    return Path(out)


@contextlib.contextmanager
def working_folder(config: RefineConfig) -> Iterator[Path]:
    """The folder that the journal lies in: the output, or for a pipe the report's, which is new, or a passing one.

    Raises UsageError where the report's folder is not empty.
    """
    if config.out != PIPE:
        yield Path(config.out)
    elif config.report:
        folder = Path(config.report)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--report {folder}: is there already; a pipeline cannot be gone on with: give a new one")
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="refinery-") as passing:
            yield Path(passing)


def open_sink(source: Source, config: RefineConfig, journal: Journal) -> Sink:
    """Where refined samples go."""
    return source.sink(journal.out, journal.folder) if config.out != PIPE else PipeSink(source, sys.stdout.buffer)
