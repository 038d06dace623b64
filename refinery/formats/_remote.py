"""Tar datasets at an address: archives are fetched one ahead of the stream, and placed when they are whole.

`s3://bucket/shards`, `s3://bucket/shards/*.tar`, `https://host/train-{0000..0012}.tar`. Not a layout that is found out
by looking: the address names it. Archives are read as those of a folder are, in the order of their names; a job looks
at the beginning alone before it starts, because every look is a download.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from fnmatch import fnmatchcase
from io import BufferedReader
from itertools import islice
from pathlib import Path
from weakref import WeakValueDictionary

from refinery.errors import DatasetError, OutputError, RefineryError, SampleError, UsageError
from refinery.formats._files import COPY_BYTES, MAX_FILE_BYTES, Files, require_inside
from refinery.formats._problems import Problems
from refinery.formats._source import Loose
from refinery.formats._stamp import Stamp
from refinery.formats._store import MAX_FILES, Store, shown
from refinery.formats._tar import Member
from refinery.formats._tar_files import Archive, TarFiles
from refinery.formats._tar_kinds import TarKinds
from refinery.formats._tar_source import TarSource
from refinery.formats._tree import OWN_FOLDER
from refinery.pictures.choice import EVERYTHING, Choice
from refinery.sample import Sample

HEAD_SAMPLES = 256
PLACED = "placed.jsonl"
"""In the journal's folder: the address, then the name of each file that was placed there."""
HELD_ARCHIVES = 3
"""The one that is read, the one before, whose samples are still on their way, and the next one."""
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PATTERN = re.compile(r"[*?\[{]")


def open_address(address: str) -> StoreSource:
    """Open the tar archives that an address names.

    Raises DatasetError where there is none, RefineryError where the address does not answer, MissingExtraError.
    """
    web = address.startswith(("http://", "https://"))
    plain, mark, query = address.partition("?") if web else (address, "", "")
    folder, _, last = plain.rstrip("/").rpartition("/")
    if _PATTERN.search(folder):
        raise UsageError(f"{shown(address)}: a pattern may stand behind the last / only")
    if _PATTERN.search(last) or TarFiles.promises(last):
        store = Store(folder + mark + query)
        names = _named(store, store.called(last))
    else:
        store = Store(address)
        names = store.files()
    problems, safe = Problems(), []
    for name in names:
        if _is_inside(name):
            safe.append(name)
        else:
            problems.lose(f"{name[:200]!r}: not a path inside a dataset")
    if not any(map(TarFiles.promises, safe)):
        found = f"{len(safe):,} other files" if safe else "nothing"
        raise DatasetError(
            f"{shown(address)}: no tar archives (found {found}); expected {', '.join(TarFiles.suffixes)}; other "
            "layouts have to be copied to this machine first"
        )
    source = StoreSource(StoreFiles(store, tuple(safe), problems))
    if not any(isinstance(entry, Sample) for entry in source.entries()):
        why = "".join(f" ({line})" for line in source.problems()[:1])
        raise DatasetError(f"{shown(address)}: no images in its archives{why}")
    return source


class StoreFiles(TarFiles):
    """The files at an address, which are all known from the start. names: of all of them, relative to it."""

    def __init__(
        self,
        store: Store,
        names: tuple[str, ...],
        problems: Problems,
        left_out: frozenset[str] = frozenset(),
        held: Held | None = None,
    ) -> None:
        super().__init__(Path(store.address), None, left_out)
        self.store, self.problems = store, problems
        self._names = dict.fromkeys(names)
        self._held = held or Held(store)

    def without(self, files: frozenset[str]) -> StoreFiles:
        """The same without these files; what is fetched is shared."""
        return StoreFiles(self.store, tuple(self._names), self.problems, self._left_out | files, self._held)

    def archive(self, path: str) -> Archive:
        """An archive, fetched; the last few are held. Raises DatasetError where it is none, RefineryError."""
        return self._held.archive(path)

    def ahead(self, path: str) -> Future[Archive]:
        """Begin to fetch an archive that will be asked for; it is held as long as the answer is."""
        return self._held.begin(path)

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file beside the archives. Raises RefineryError."""
        with self.store.fetch(path) as file:
            while piece := file.read(COPY_BYTES):
                yield piece

    def whole(self, path: str) -> bytes:
        """The same at once. Raises SampleError where it is too large."""
        with self.store.fetch(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise SampleError(f"{path}: files beyond {MAX_FILE_BYTES:,} bytes are not read into memory")
        return data

    def _all(self) -> Iterator[str]:
        yield from self._names

    def _is_file(self, path: str) -> bool:
        return path in self._names


class Held:
    """Archives that are fetched or on their way: the last few, and those that somebody holds. Safe from threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: OrderedDict[str, Future[Archive]] = OrderedDict()
        self._open: WeakValueDictionary[str, Archive] = WeakValueDictionary()
        self._lock = threading.Lock()

    def begin(self, path: str) -> Future[Archive]:
        """The archive, at once or later; the thread that fetches it does not keep the process from ending."""
        with self._lock:
            known = self._recent.pop(path, None)
            future = known or Future[Archive]()
            self._recent[path] = future
            done = [name for name, each in self._recent.items() if each.done()]
            for name in done[: max(0, len(self._recent) - HELD_ARCHIVES)]:
                del self._recent[name]
            if known is None and (archive := self._open.get(path)) is not None:
                future.set_result(archive)
        if known is None and not future.done():
            threading.Thread(target=self._fetch, args=(path, future), name="fetch", daemon=True).start()
        return future

    def archive(self, path: str) -> Archive:
        """The archive. Raises DatasetError where it is none; RefineryError, after which it may be asked for again."""
        try:
            return self.begin(path).result()
        except DatasetError:
            raise
        except RefineryError:
            with self._lock:
                self._recent.pop(path, None)
            raise

    def _fetch(self, path: str, future: Future[Archive]) -> None:
        try:
            with self._store.fetch(path) as file:
                archive = Archive(file, path)
            with self._lock:
                self._open[path] = archive
            future.set_result(archive)
        except BaseException as error:  # whoever asks for it is told
            future.set_exception(error)


class StoreSource(TarSource):
    """Reads one archive after the other while the next one is fetched."""

    endless = True
    archives_judged = 1
    _files: StoreFiles

    def __init__(
        self,
        files: StoreFiles,
        near: WeakValueDictionary[str, Member] | None = None,
        kinds: TarKinds | None = None,
        choice: Choice = EVERYTHING,
    ) -> None:
        super().__init__(files, near, kinds, choice)
        self._needed: list[object] = []
        """The archive that is read and the next one, so that nothing makes them go before their samples come."""

    def files(self) -> dict[str, bool]:
        """All files by name, in order; whether each is an archive."""
        return {path: self._files.holds(path) for path in self._files.paths()}

    def stamp(self, path: str) -> Stamp | None:
        """What the store tells of the archive, or of the file beside the archives."""
        return self._files.store.stamp(self._files.locate(path)[0])

    def delivered(self, out: Path) -> TarSource:
        """The same archives in a folder on this machine."""
        return TarSource(TarFiles(out), kinds=self.kinds)

    def entries(self) -> Iterator[Sample | Loose]:
        """The files beside the archives and the first samples, the same at every call."""
        samples = 0
        yield from (Loose(path) for path in self._files.paths() if not self._files.holds(path))
        for path in filter(self._files.holds, self._files.paths()):
            for entry in self._entries_of(path):
                yield entry
                samples += isinstance(entry, Sample)
                if samples == HEAD_SAMPLES:
                    return

    def stream(self) -> Iterator[Sample | Loose]:
        """All of it."""
        paths = list(self._files.paths())
        following = filter(self._files.holds, paths)
        next(following, None)
        for path in paths:
            if self._files.holds(path):
                with contextlib.suppress(DatasetError):  # it is named and carried, below
                    self._needed.append(self._files.archive(path))  # first things first: the way is shared
                self._needed += [self._files.ahead(each) for each in islice(following, 1)]
                del self._needed[:-2]
            yield from self._entries_of(path)


class StoreOutput(Files):
    """Files that are placed at an address as soon as they are whole; refinery's own stay in the folder `out`.

    Which ones were placed is noted in `scratch`, so that a second run of the job need not ask.
    """

    is_local = False

    def __init__(self, store: Store, out: Path, scratch: Path) -> None:
        super().__init__(out, scratch)
        self._store = store
        self._note = scratch / PLACED
        self._placed = frozenset(_lines_of(self._note)[1:])
        if not self._note.exists():
            scratch.mkdir(parents=True, exist_ok=True)
            self._write(store.address, "w")

    def _write(self, text: str, mode: str) -> None:
        with self._note.open(mode, encoding="ascii") as file:
            file.write(f"{json.dumps(text)}\n")

    def place(self, temporary: Path, path: str) -> None:
        """Store a file there, and note it. Raises OutputError."""
        require_inside(path)
        self._store.place(temporary, path)
        self._write(path, "a")
        self._placed |= {path}
        temporary.unlink()

    def has(self, path: str) -> bool:
        """True if a file was placed there by this job."""
        return path in self._placed

    def reader(self, path: str) -> BufferedReader:
        """A file of the output, fetched. Raises RefineryError."""
        return self._store.fetch(path)


def is_begun(report: Path, address: str) -> bool:
    """True if a job with this report has begun to place files at the address, or a part of one."""
    notes = [report / OWN_FOLDER / PLACED, *(report / OWN_FOLDER).glob(f"parts/*/{PLACED}")]
    return any(_lines_of(note)[:1] == [address] for note in notes)


def _lines_of(note: Path) -> list[str]:
    """The address and the names of a note; a kill can have cut the last line short, whose file is placed again."""
    if not note.exists():
        return []
    data = note.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        note.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def _named(store: Store, last: str) -> list[str]:
    """The names that the last part of an address means; only patterns need a list of what is there."""
    wanted = _in_ranges(last)
    if not re.search(r"[*?\[]", last):
        return wanted
    return [name for name in store.files() if "/" not in name and any(fnmatchcase(name, each) for each in wanted)]


def _is_inside(name: str) -> bool:
    """True if a name can stand in a folder on this machine, and is not refinery's own."""
    if not name.isprintable() or "\\" in name:
        return False
    try:
        return bool(require_inside(name))
    except OutputError:
        return False


def _in_ranges(last: str) -> list[str]:
    """`a-{08..10}.tar` as a-08.tar, a-09.tar, a-10.tar. Raises UsageError."""
    match = _RANGE.search(last)
    if match is None:
        if "{" in last:
            raise UsageError(f"{last}: expected a range of numbers in braces, such as shard-{{0000..0012}}.tar")
        return [last]
    begin, end = int(match[1]), int(match[2])
    if not 0 <= end - begin < MAX_FILES:
        raise UsageError(f"{last}: expected a range that goes up, of at most {MAX_FILES:,} numbers")
    names = (f"{last[: match.start()]}{n:0{len(match[1])}d}{last[match.end() :]}" for n in range(begin, end + 1))
    return [name for each in names for name in _in_ranges(each)]
