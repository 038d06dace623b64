"""Labelled images out of an endless tar stream, in the order of WebDataset: the files of a sample follow each other.

Only plain files are read, into memory, within limits; nothing is unpacked by its own name. Several archives one after
the other are one stream. Read are the formats that `tar` and Python write: ustar, GNU (long names) and pax (names and
sizes). Source of the layout: POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from refinery.errors import DatasetError
from refinery.formats._names import heads, says_role
from refinery.formats._tree import OWN_FOLDER

BLOCK = 512
MAX_FILE_BYTES = 256 << 20
MAX_SAMPLE_BYTES = 512 << 20
MAX_SAMPLE_FILES = 256
MAX_HEADER_BYTES = 64 << 10
MAX_NAME_BYTES = 4096
MAX_PATH_PARTS = 16

Read = Callable[[int], bytes]
"""Gives so many bytes, fewer only at the end."""


@dataclass(frozen=True)
class StreamSample:
    """files: contents by relative path, in the order they came; key: what their names have in common."""

    key: str
    files: dict[str, bytes]


def read_samples(read: Read, leave_out: Callable[[str], None]) -> Iterator[StreamSample]:
    """The samples of a stream until it ends.

    A sample's key is the path of its first file, cut at the first dot of the name. Files that follow belong to it if
    they have its key, or continue it with a word that says what they are: `00012.png`, `00012.json`, `00012_mask.png`;
    a path that comes again begins another sample.
    leave_out: told about each file that is refused: links, devices, paths that lead out, hidden ones. Raises
    DatasetError where the bytes are no tar stream, end in the middle of a file, or exceed a limit.
    """
    key, files = "", dict[str, bytes]()
    for path, data in read_files(read, leave_out):
        own = _key(path)
        if files and (path in files or not _continues(own, key)):
            yield StreamSample(key, files)
            files = {}
        if not files:
            key = own
        files[path] = data
        size = sum(map(len, files.values()))
        if len(files) > MAX_SAMPLE_FILES or size > MAX_SAMPLE_BYTES:
            raise DatasetError(
                f"the stream's sample {key[:200]!r} has {len(files)} files of {size >> 20} MB; at most "
                f"{MAX_SAMPLE_FILES} of {MAX_SAMPLE_BYTES >> 20} MB may have one name up to its first dot"
            )
    if files:
        yield StreamSample(key, files)


def read_files(read: Read, leave_out: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    """Relative path and content of each plain file that may be used; see `read_samples`."""
    said: dict[str, str] = {}
    at = 0
    while block := read(BLOCK):
        at += len(block)
        if not any(block):
            continue
        kind, size, name = _header(block, at - len(block))
        size = _number(said["size"], at) if "size" in said else size
        name = said.get("path", name)
        limit = MAX_HEADER_BYTES if kind in ("L", "x", "g") else MAX_FILE_BYTES
        if size > limit:
            raise DatasetError(f"the stream's file {name[:200]!r} says it has {size:,} bytes; at most {limit:,}")
        data = _content(read, size, name)
        at += -(-size // BLOCK) * BLOCK
        if kind in ("L", "x"):
            said |= _long_name(data) if kind == "L" else _pax(data)
            continue
        said = {}
        if kind in ("0", "7", "\0"):
            if is_safe(name):
                yield name, data
            else:
                leave_out(f"{name[:200]!r} of the stream: not a path inside a dataset")
        elif kind not in ("5", "g"):
            leave_out(f"{name[:200]!r} of the stream: not a plain file")


def is_safe(path: str) -> bool:
    """Whether a path is relative, stays where it is put, and names no file that is hidden or refinery's own."""
    parts = path.split("/")
    plain = path.isprintable() and not any(letter in path for letter in '\\:*?"<>|')
    whole = 0 < len(parts) <= MAX_PATH_PARTS and all(0 < len(part.encode()) < 200 for part in parts)
    return plain and whole and not any(part.startswith(".") for part in parts) and parts[0] != OWN_FOLDER


def _key(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _continues(key: str, first: str) -> bool:
    return key == first or any(head == first and says_role(rest) for head, rest in heads(key))


def _header(block: bytes, at: int) -> tuple[str, int, str]:
    """Kind, size and name of a header block."""
    told = block[148:156].split(b"\0")[0].strip().lstrip(b"0")
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    if len(block) < BLOCK or told != b"%o" % total:
        found = bytes(block[:16])
        raise DatasetError(f"no tar stream at byte {at:,}: found {found!r}, expected a file's header of {BLOCK} bytes")
    name, prefix = _text(block[:100]), _text(block[345:500])
    if prefix and block[257:263] == b"ustar\0":
        name = f"{prefix}/{name}"
    return chr(block[156]), _size(block[124:136], at), name.removeprefix("./")


def _size(told: bytes, at: int) -> int:
    """Octal, or GNU's base 256 where the first bit is set."""
    if told[0] == 0x80:
        return int.from_bytes(told[1:], "big")
    return _number(_text(told).strip() or "0", at, 8)


def _number(text: str, at: int, base: int = 10) -> int:
    if text.isascii() and text.isalnum():
        try:
            return int(text, base)
        except ValueError:
            pass
    raise DatasetError(f"no tar stream at byte {at:,}: {text[:20]!r} is no size of a file")


def _content(read: Read, size: int, name: str) -> bytes:
    padded = -(-size // BLOCK) * BLOCK
    data = read(padded)
    if len(data) < size:
        raise DatasetError(f"the stream ends in the middle of {name[:200]!r}: {len(data):,} of {size:,} bytes")
    return data[:size]


def _long_name(data: bytes) -> dict[str, str]:
    return {"path": _text(data[:MAX_NAME_BYTES]).removeprefix("./")}


def _pax(data: bytes) -> dict[str, str]:
    """Path and size of a pax header: lines `LENGTH KEYWORD=VALUE`, the length counting the whole line."""
    said: dict[str, str] = {}
    while data:
        told, _, _ = data.partition(b" ")
        length = int(told) if told.isdigit() and len(told) < 10 else 0
        if not len(told) < length <= len(data):
            raise DatasetError("no tar stream: a broken pax header")
        keyword, _, value = data[len(told) + 1 : length - 1].partition(b"=")
        if keyword in (b"path", b"size") and len(value) <= MAX_NAME_BYTES:
            said[keyword.decode()] = _text(value).removeprefix("./")
        data = data[length:]
    return said


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
