"""Files at an address (`s3://`, `gs://`, `https://`, whatever fsspec opens): finding, fetching and placing them.

fsspec is the extra `remote`; it is not imported before an address is given.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, unquote

from refinery.errors import DatasetError, MissingExtraError, OutputError, RefineryError, UsageError
from refinery.formats._files import output_errors
from refinery.formats._stamp import Stamp

ATTEMPTS, PAUSE_S = 3, 0.5
TRY_AGAIN_THEMSELVES = ("s3", "s3a", "gs", "gcs")
"""Protocols whose packages do so, for minutes."""
MAX_FILES = 1_000_000
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+(::[a-zA-Z][a-zA-Z0-9+.-]+)*://")
_SECRETS = re.compile(r"(?<=://)[^/\s]*@|\?[^\s'\")=]*=[^\s'\")]*")
_LASTING: dict[type[Exception], str] = {
    FileNotFoundError: "check the address",
    PermissionError: "check your credentials",
}
"""Errors that do not pass, and what to do."""
_VERSION_MARKS = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "Content-MD5",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
"""By which keys of a file's entry stores tell one version of it from another."""
Done = TypeVar("Done")


def is_address(text: str) -> bool:
    """True if this is an address rather than a path: `s3://bucket/shards`."""
    return _ADDRESS.match(text) is not None


def shown(address: str) -> str:
    """An address without user, password and what follows a `?`, which may be secret and differs from day to day."""
    return _SECRETS.sub("", address)


def overlap(source: str, out: str) -> bool:
    """True if what is written at one address could be read at, or stand in the place of, what the other one names."""
    read, written = (re.sub(r"/+", "/", f"{shown(each)}/") for each in (source, out))
    folder = read[:-1].rpartition("/")[0] + "/"
    return read.startswith(written) or written.startswith(read) or folder == written


def local_path(address: str) -> Path | None:
    """The path on this machine that an address is, if it is one."""
    scheme, mark, path = address.partition("://")
    return Path(path) if mark and scheme in ("file", "local") else None


class Store:
    """The files below one address.

    Raises UsageError for a protocol that fsspec does not know, MissingExtraError where a package is missing.
    """

    def __init__(self, address: str) -> None:
        scheme = address.partition("://")[0].rpartition("::")[2]
        self._web = scheme in ("http", "https")
        plain, mark, query = address.partition("?") if self._web else (address, "", "")
        self._query = mark + query
        self._secrets = [part for part in (query, _user(address)) if part]
        self.address = shown(address).rstrip("/")
        self._attempts = 1 if scheme in TRY_AGAIN_THEMSELVES else ATTEMPTS
        self._system, base = _opened(plain)
        self._base = base.rstrip("/")
        self.takes_files = not self._web
        """Whether files can be placed there."""

    def files(self) -> list[str]:
        """Names of all files, relative to the address. Raises RefineryError where it does not answer."""
        found = self._again(lambda: self._system.find(self._base), f"{self.address}: cannot be listed")
        if len(found) > MAX_FILES:
            raise DatasetError(
                f"{self.address}: more than {MAX_FILES:,} files; name some of them: .../shard-{{0000..0999}}.tar"
            )
        start = f"{self._base}/"
        names = (full.removeprefix(start) for full in found if full.startswith(start))
        return sorted(self.called(name) for name in names if self._is_file(name))

    def called(self, name: str) -> str:
        """The name of a file that stands in an address like this one: over HTTP it is written with %20 and the like."""
        return unquote(name) if self._web else name

    def _is_file(self, name: str) -> bool:
        """Not the marker of a folder (a key that ends in /), nor a link of a listing page to itself, sorted anew."""
        return bool(name) and not name.endswith("/") and not (self._web and ("?" in name or "#" in name))

    def fetch(self, name: str) -> BufferedReader:
        """A file's content, all of it, in a nameless file on this machine.

        Raises OutputError where there is no room for it, RefineryError where it cannot be had, however often asked.
        """
        written = quote(name) if self._web else name
        full, what = f"{self._base}/{written}{self._query}", f"{self.address}/{name}: cannot be fetched"
        with output_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="refinery-") as folder:
            path = Path(folder) / "file"
            self._again(lambda: self._system.get_file(full, str(path)), what)
            file, expected = path.open("rb"), self._size(full)
            if expected is not None and path.stat().st_size != expected:
                file.close()
                raise RefineryError(
                    f"{what} (got {path.stat().st_size:,} of {expected:,} bytes); run the same command again"
                )
            return file

    def stamp(self, name: str) -> Stamp | None:
        """Size and marks of the version of a file; None where the store tells none."""
        try:
            entry = self._system.info(f"{self._base}/{quote(name) if self._web else name}{self._query}")
        except Exception:  # each store has errors of its own; whoever reads the file meets them
            return None
        marks = [str(entry[key]) for key in _VERSION_MARKS if entry.get(key) is not None]
        return (int(entry.get("size") or 0), *marks) if marks else None

    def place(self, path: Path, name: str) -> None:
        """Store a file of this machine under a name below the address, and compare the size that arrived.

        Raises OutputError.
        """
        full = f"{self._base}/{name}"

        def put() -> None:
            try:
                self._system.put_file(str(path), full)
            except FileNotFoundError:  # a store with true folders
                self._system.makedirs(full.rpartition("/")[0], exist_ok=True)
                self._system.put_file(str(path), full)

        self._again(put, f"{self.address}/{name}: cannot be written", OutputError)
        sent, arrived = path.stat().st_size, self._size(full)
        if arrived is not None and arrived != sent:
            raise OutputError(
                f"{self.address}/{name}: {arrived:,} bytes arrived of {sent:,}; run the same command again"
            )

    def _again(self, action: Callable[[], Done], what: str, kind: type[RefineryError] = RefineryError) -> Done:
        """What an action gives, tried several times: each store has errors of its own, and most pass."""
        for attempt in range(1, self._attempts + 1):
            try:
                return action()
            except Exception as error:
                if _is_disk_full(error):
                    raise OutputError(
                        f"{what}: no room in {tempfile.gettempdir()}; make some there, or set TMPDIR, and run the same "
                        "command again"
                    ) from error
                if attempt == self._attempts or type(error) in _LASTING:
                    said = " ".join(shown(self._without_secrets(str(error))).split())[:200] or type(error).__name__
                    advice = _LASTING.get(type(error), "run the same command again")
                    raise kind(f"{what} ({said}); {advice}") from error
            time.sleep(PAUSE_S * 2**attempt)
        raise AssertionError

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text

    def _size(self, full: str) -> int | None:
        try:
            return cast("int | None", self._system.size(full))
        except Exception:  # a server need not tell
            return None


def _user(address: str) -> str:
    """User and password of an address."""
    return address.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _opened(address: str) -> tuple[Any, str]:
    """fsspec's file system and what it calls this address."""
    shown_address, protocol = shown(address), address.partition("://")[0]
    for package in ("fsspec", "s3fs", "gcsfs", "aiobotocore"):
        logging.getLogger(package).addHandler(logging.NullHandler())  # their errors come up as ours
    try:
        from fsspec.core import url_to_fs

        system, base = url_to_fs(address, **_options(protocol))
    except ImportError as error:
        raise MissingExtraError(
            f"{shown_address}: addresses need the extra remote ({error}); pip install 'refinery[remote]'"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{shown_address}: {error}; expected s3://, gs://, https://, or another that fsspec opens"
        ) from error
    return system, base


def _options(protocol: str) -> dict[str, Any]:
    """Over HTTP, a download may take as long as it goes on, and proxies are those of the environment."""
    if protocol not in ("http", "https"):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=30, sock_read=60), "trust_env": True}}


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (28, 122)
