"""Both ends of a refine job: where the samples come from, where they go, and where its journal stands."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from refinery.config import OnDrift, RefineConfig
from refinery.dataset import open_dataset, require_no_doubt, with_choice
from refinery.errors import DatasetError, OutputError, UsageError
from refinery.formats._pipe import PipeSink, PipeSource, standard_input
from refinery.formats._remote import StoreOutput, is_begun, open_address
from refinery.formats._source import IntoFiles, Sink, Source
from refinery.formats._store import Store, is_address, local_path, overlap, shown
from refinery.journal import Journal
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.sample import Sample

PIPE = "-"


def open_input(path: str, out: str, choice: Choice = EVERYTHING, asks: bool = False) -> Source:
    """A dataset, on this machine or at an address, or for `-` the tar archive that standard input is.

    choice, asks: as `open_dataset` takes them.

    Raises DatasetError where there is not one image, UsageError where nothing is piped in, or where the dataset's
    layout cannot become the tar stream or the archives that `out` asks for, RefineryError where an address does not
    answer.
    """
    if path != PIPE:
        source = _opened(path, choice, asks)
        if is_address(out) and source.layout != "tar":
            raise UsageError(
                f"--out {shown(out)}: what goes to an address is tar archives, and {path} is {source.layout}; give "
                "archives (tar --sort=name -cf shard.tar -C FOLDER .), or refine into a folder"
            )
        if out == PIPE and source.layout != "folder":
            raise UsageError(
                f"--out -: a tar stream is made of a folder of images or of another stream, and {shown(path)} is "
                f"{source.layout}; give a folder, or for tar archives: cat SHARDS | refinery refine - --out -"
            )
        return source
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("-: nothing is piped in; write: tar -c --sort=name -C synth . | refinery refine - --out ...")
    source = PipeSource(standard_input(), choice)
    if not any(isinstance(entry, Sample) for entry in source.entries()):
        why = "; ".join(source.problems()[:1])
        raise DatasetError(
            f"standard input: no images in it{f' ({why})' if why else ''}; expected a tar archive with the files of a "
            "sample behind each other"
        )
    return _judged(source, "standard input", choice, asks)


def _opened(path: str, choice: Choice, asks: bool) -> Source:
    if is_address(path):
        return _judged(open_address(path), shown(path), choice, asks)
    return open_dataset(Path(path), choice=choice, asks=asks)


def _judged(source: Source, where: str, choice: Choice, asks: bool) -> Source:
    source = with_choice(source, choice, where)
    if asks:
        require_no_doubt(source, where)
    return source


def require_ends(config: RefineConfig) -> None:
    """Raises UsageError where the output is missing, the input, inside it, or around it, or cannot be a pipe."""
    source, out, report = config.source, config.out, config.report
    read, written = _on_disk(source), _on_disk(out)
    local = None if read is None else Path(read)
    if report:
        if is_address(report):
            raise UsageError(f"--report {shown(report)}: the journal grows there; give a folder on this machine")
        require_apart(local, report, "--report")
    if out == PIPE:
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError("--out -: standard output would be a tar archive; pipe it on, or give a folder")
    elif is_address(out):
        _require_address(source, out, report)
    if written is not None:
        require_apart(local, written)
    if config.shard and PIPE in (source, out):
        raise UsageError("--shard divides a dataset that every part can read; a stream is refined by one job")
    if report and out != PIPE and not is_address(out):
        raise UsageError("--report is for --out - and addresses; with a folder the report lies in it, under .refinery")


def _require_address(source: str, out: str, report: str) -> None:
    """The same for an output at an address."""
    if not report:
        raise UsageError(f"--out {shown(out)}: give --report FOLDER too, for the journal that the job goes on by")
    if source == PIPE:
        raise UsageError(f"--out {shown(out)}: a stream goes to a folder or to --out -; pipe that on")
    if is_address(source) and overlap(source, out):
        raise UsageError(
            f"--out {shown(out)}: lies in, around or beside the input {shown(source)}, which is never changed; give "
            "an address of its own"
        )


def _on_disk(end: str) -> str | None:
    """The path on this machine that an end is, if it is one; "" where it is missing."""
    if end == PIPE:
        return None
    path = local_path(end) if is_address(end) else end
    return None if path is None else str(path)


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
    """The folder that the journal lies in: the output, or the report's, which is new for a pipe, or a passing one.

    Raises UsageError where the report's folder is not empty.
    """
    if config.out != PIPE:
        yield Path(config.report if is_address(config.out) else config.out)
    elif config.report:
        folder = Path(config.report)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--report {folder}: is there already; a pipeline cannot be gone on with: give a new one")
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="refinery-") as passing:
            yield Path(passing)


def open_output(config: RefineConfig) -> Store | None:
    """Where the address that the output goes to leads; None for one on this machine.

    Raises UsageError where nothing can be written there, OutputError where something lies there already.
    """
    if not is_address(config.out):
        return None
    store = Store(config.out)
    if not store.takes_files:
        raise UsageError(f"--out {store.address}: cannot be written to over HTTP; give s3://, gs:// or a folder")
    if store.files() and not is_begun(Path(config.report), store.address):  # so: a part notes before it places
        raise OutputError(
            f"{store.address}: is not empty and no output of a job with this --report; give another --out"
        )
    return store


def open_sink(source: Source, config: RefineConfig, journal: Journal, store: Store | None) -> Sink:
    """Where refined samples go."""
    if store is not None:
        return cast(IntoFiles, source).sink_into(StoreOutput(store, journal.out, journal.folder))
    return source.sink(journal.out, journal.folder) if config.out != PIPE else PipeSink(source, sys.stdout.buffer)
