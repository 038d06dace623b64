"""A chunk of samples from its files to its manifest lines, by one thread: what a worker process does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from refinery.artifact import Artifact
from refinery.chunk import prepare_part, refine_chunk, whole_chunks
from refinery.config import Provider, RefinePrecision
from refinery.deliver import Delivery
from refinery.formats._files import Files
from refinery.formats._source import Source
from refinery.journal import Line
from refinery.runtime.probe_session import open_probe
from refinery.runtime.room import Room
from refinery.runtime.session import open_session
from refinery.sample import Sample
from refinery.work import RefineOptions


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs to do the same as the process that starts it.

    out, scratch: see `Files`. provider, precision: those that run there already. threads: of the model. options: with
    calibrated checks; the probe, which cannot be sent, is opened anew.
    """

    source: Source
    out: Path
    scratch: Path
    artifact: Artifact
    provider: Provider
    precision: RefinePrecision
    threads: int
    options: RefineOptions

    def __getstate__(self) -> dict[str, Any]:
        options = self.options
        if options.context is not None:
            options = replace(options, context=replace(options.context, probe=None))
        return {**self.__dict__, "options": options}


@dataclass(frozen=True)
class ChunkDone:
    """A chunk that is done: its lines, what is to be noted of its files in the log, and sentences for the user."""

    lines: list[Line]
    notes: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class ChunkWorker:
    """Refines, checks and delivers chunks."""

    def __init__(self, setup: WorkerSetup) -> None:
        threadpool_limits(1, user_api="blas")
        self._notes: list[tuple[str, Mapping[str, Any]]] = []
        self._said: list[str] = []
        self._source, self._options = setup.source, setup.options
        session = open_session(setup.artifact, setup.provider, setup.precision, setup.threads)
        self._session = replace(session, room=Room(self._said.append))
        if self._options.context is not None:
            context = replace(self._options.context, probe=open_probe(setup.artifact))
            self._options = replace(self._options, context=context)
        sink = self._source.sink(setup.out, setup.scratch)
        self._delivery = Delivery(self._source, sink, Files(setup.out, setup.scratch), self._options, self)

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        """Keep what is to be noted in the log, which one process alone writes; see `StampLog.add`."""
        self._notes.append((name, content))

    def __call__(self, samples: list[Sample]) -> ChunkDone:
        """Refine these samples and write their files. Raises RefineryError."""
        lines: list[Line] = []
        parts = whole_chunks(self._source, [prepare_part(self._source, list(samples), self._options)], self._options)
        for works in parts:
            lines.extend(self._delivery.finish(refine_chunk(self._session, works, self._options)))
        done = ChunkDone(lines, list(self._notes), list(self._said))
        self._notes.clear()
        self._said.clear()
        return done
