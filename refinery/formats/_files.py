"""Files of an output folder: whole under their name or not there at all, and never outside the folder."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath

from refinery.errors import OutputError, SampleError
from refinery.formats._problems import reason
from refinery.formats._tree import OWN_FOLDER

MAX_FILE_BYTES = 1 << 30
"""An image or sidecar beyond this is not read into memory; carrying has no limit."""
COPY_BYTES = 1 << 20

_ADVICE = {
    errno.ENOSPC: "free some space and run the same command again; it goes on from there",
    errno.EDQUOT: "free some of your quota and run the same command again; it goes on from there",
    errno.EACCES: "change its permissions or choose another output folder",
    errno.EPERM: "change its permissions or choose another output folder",
    errno.EROFS: "choose an output folder on a disk that can be written to",
    errno.ENAMETOOLONG: "choose an output folder with a shorter path",
}


def read_whole(path: Path, name: str) -> bytes:
    """A file's bytes. Raises SampleError where it cannot be read or is larger than MAX_FILE_BYTES."""
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise SampleError(f"{name}: {size:,} bytes; files beyond {MAX_FILE_BYTES:,} are not read into memory")
            return file.readall()
    except OSError as error:
        raise _unreadable(name, error) from error


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses while writing `path` into one OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the output folder and run the same command again")
        raise OutputError(f"{path}: cannot be written ({reason(error)}); {advice}") from error


class Files:
    """Writes into the folder `out`: first under a temporary name, then renamed, without waiting for the disk.

    scratch: where one process keeps what does not last, so that several can write into `out`; `out/.refinery` if none.
    """

    is_local = True

    def __init__(self, out: Path, scratch: Path | None = None) -> None:
        self.out = out
        self.own = out / OWN_FOLDER
        self.scratch = scratch or self.own
        self._temporary = self.scratch / "tmp"
        self._tag = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._count = itertools.count()
        self._ready_folder: Path | None = None

    def write(self, path: str, data: bytes) -> None:
        """Store `data` under a relative path. Raises OutputError."""
        with self.replacing(path) as temporary:
            temporary.write_bytes(data)

    def write_own(self, path: str, data: bytes) -> None:
        """Store `data` under a relative path in refinery's own folder. Raises OutputError."""
        with self.replacing(path, own=True) as temporary:
            temporary.write_bytes(data)

    def copy(self, pieces: Iterator[bytes], path: str) -> None:
        """Store what `pieces` gives under a relative path. Raises OutputError, and what reading them raises."""
        with self.replacing(path) as temporary, temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)

    def has(self, path: str) -> bool:
        """True if the output has a file of this name."""
        return (self.out / path).exists()

    def reader(self, path: str) -> BufferedReader:
        """A file of the output. Raises OutputError where it is missing."""
        target = self.target(path)
        try:
            return target.open("rb")
        except OSError as error:
            raise OutputError(f"{target}: cannot be read back ({reason(error)}); run the same command again") from error

    def read_back(self, path: str) -> bytes:
        """The same at once."""
        with self.reader(path) as file:
            return file.read()

    def place(self, temporary: Path, path: str) -> None:
        """Give a file that is whole its name in the output. Raises OutputError, OSError."""
        temporary.replace(self.target(path))

    @contextmanager
    def replacing(self, path: str, own: bool = False) -> Iterator[Path]:
        """A temporary file that takes the name `path` if the block ends well. Raises OutputError."""
        require_inside(path)
        target = (self.own if own else self.out) / path
        temporary = self._temporary / f"{self._tag}-{next(self._count)}"
        with output_errors(target):
            self._temporary.mkdir(parents=True, exist_ok=True)
            try:
                yield temporary
                if own:
                    temporary.replace(self.target(path, own))
                else:
                    self.place(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def target(self, path: str, own: bool = False) -> Path:
        """Where a relative path lies in the output, its folder made. Raises OutputError where it would leave it."""
        target = (self.own if own else self.out).joinpath(*require_inside(path))
        if target.parent != self._ready_folder:
            self._make(target.parent)
        return target

    def remove(self, path: str, own: bool = False) -> bool:
        """Take a file away, and the folders that are empty then; whether it was there. Raises OutputError."""
        root = self.own if own else self.out
        target = root.joinpath(*require_inside(path))
        if target.parent.resolve() != root.resolve().joinpath(*require_inside(path)[:-1]):
            return False  # behind a link, where nothing was written either
        try:
            target.unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            return False
        for folder in target.parents:
            if folder == root or any(folder.iterdir()):
                break
            folder.rmdir()
        self._ready_folder = None
        return True

    def clean(self) -> None:
        """Remove what killed runs left under temporary names, in this scratch folder alone."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _make(self, folder: Path) -> None:
        real_out, real = os.path.realpath(self.out), os.path.realpath(folder)
        if real != real_out and not real.startswith(real_out.rstrip(os.sep) + os.sep):
            raise OutputError(f"{folder}: a link in the output leads outside it ({real}); remove the link")
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._ready_folder = folder


def require_inside(path: str) -> tuple[str, ...]:
    """The parts of a relative path. Raises OutputError where it would leave the output."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or parts[0] == OWN_FOLDER:
        raise OutputError(f"{path!r}: not a path inside the output folder; rename it in the dataset")
    return parts


def short_name(path: str) -> str:
    """A file name for a path of any length, the same for the same path."""
    return hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()


def chunks(source: Path, name: str) -> Iterator[bytes]:
    """A file's bytes, piece by piece. Raises SampleError."""
    try:
        with source.open("rb", buffering=0) as file:
            while chunk := file.read(COPY_BYTES):
                yield chunk
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> SampleError:
    return SampleError(f"{name}: cannot be read ({reason(error)}); check the file and its permissions")
