"""Tar archives read member by member: plain files alone, within limits, nothing unpacked by its own name.

Read are the formats that `tar` and Python write: ustar, GNU (long names) and pax (names and sizes). Archives behind
each other are one. Source of the layout: POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from refinery.errors import DatasetError
from refinery.formats._names import heads, is_apple_double, says_role
from refinery.formats._tree import OWN_FOLDER

BLOCK = 512
END = bytes(2 * BLOCK)
"""What stands behind the last member, at least."""
MAX_FILE_BYTES = 256 << 20
MAX_SAMPLE_BYTES = 512 << 20
MAX_SAMPLE_FILES = 256
MAX_HEADER_BYTES = 64 << 10
MAX_HEADERS_BYTES = 1 << 20
"""Of one file, with those of folders ahead of it."""
MAX_NAME_BYTES = 4096
MAX_PATH_PARTS, MAX_PART_BYTES = 16, 199
SKIP_BYTES = 1 << 20

Read = Callable[[int], bytes]
"""Gives so many bytes, fewer only at the end."""
LeaveOut = Callable[[str], None]
"""Told about each member that is refused: links, devices, paths that lead out, hidden ones."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Member:
    """One plain file of an archive.

    start: where its headers begin; offset: where its content does; size: of that. header: the headers' bytes with those
    of folders ahead of them; data: the content; empty and None where they can be read again from start on. sized:
    whether a pax header says the size, too.
    """

    path: str
    start: int
    offset: int
    size: int
    header: bytes = field(default=b"", repr=False)
    data: bytes | None = field(default=None, repr=False)
    sized: bool = False


def padded(size: int) -> int:
    """Bytes that a content of this size takes up: whole blocks."""
    return -(-size // BLOCK) * BLOCK


def read_members(
    read: Read, leave_out: LeaveOut, skip: Callable[[int], None] | None = None, length: int | None = None
) -> Iterator[Member]:
    """Each plain file that may be used, in the order of the archive.

    skip: passes over so many bytes; without it contents are read and kept. length: of the archive, where it is known.
    Raises DatasetError where the bytes are no tar archive, end in the middle of a file, or exceed a limit.
    """
    said: dict[str, str] = {}
    kept, own = bytearray(), bytearray()  # headers: of folders, and those for all that follows; of this member
    at = 0
    while block := read(BLOCK):
        at += len(block)
        if not any(block):
            own, said = bytearray(), {}
            continue
        kind, size, name = _header(block, at - len(block))
        size = _number(said["size"], at) if "size" in said else size
        size = 0 if kind in "123456" else size  # links, devices and folders have no content, whatever they say
        name = said.get("path", name)
        own += block
        if len(kept) + len(own) > MAX_HEADERS_BYTES:
            raise DatasetError(
                f"{name[:200]!r}: more than {MAX_HEADERS_BYTES:,} bytes of headers before a file's content"
            )
        if length is not None and at + size > length:
            raise DatasetError(_ends(name, length - at, size))
        if kind in ("L", "x", "g"):
            data = _content(read, size, name, MAX_HEADER_BYTES)
            at += padded(size)
            own += data + bytes(padded(size) - size)
            if kind == "g":
                kept, own = kept + own, bytearray()
            else:
                said |= _long_name(data) if kind == "L" else _pax(data)
            continue
        plain, usable = kind in ("0", "7", "\0") and "sparse" not in said, is_safe(name)
        if plain and usable:
            start = at - len(own)
            if skip is None:
                data = _content(read, size, name, MAX_FILE_BYTES)
                yield Member(name, start, at, size, bytes(kept + own), data, "size" in said)
            else:
                yield Member(name, start, at, size, bytes(kept + own) if kept else b"", sized="size" in said)
                skip(padded(size))
            kept = bytearray()
        else:
            _pass_over(read, skip, padded(size), name)
            if kind == "5" and is_safe(name.rstrip("/")):
                kept += own
            elif kind != "5":
                leave_out(f"{name[:200]!r}: not a {'path inside a dataset' if plain else 'plain file'}")
        own, said = bytearray(), {}
        at += padded(size)


def grouped(members: Iterator[Member]) -> Iterator[list[Member]]:
    """Members of one sample each, in the order of WebDataset: the files of a sample follow each other.

    What follows a file belongs to its sample if it has its key, or one of both continues the other with a word that
    says what it is: `00012-mask.png`, `00012.json`, `00012.png`; a path that comes again begins another sample. Raises
    DatasetError where files whose content is held in memory are too many or too large; others are parted.
    """
    group: list[Member] = []
    key = ""
    for member in members:
        if group and is_apple_double(member.path.rpartition("/")[2]):
            group.append(member)  # it is carried with the sample that it comes with
            continue
        own, held = key_of(member.path), member.data is not None
        shorter = _continues(key, own)
        full = not held and len(group) == MAX_SAMPLE_FILES
        again = any(member.path == each.path for each in group)
        if group and (full or again or not (shorter or _continues(own, key))):
            yield group
            group = []
        key = own if shorter or not group else key
        group.append(member)
        size = sum(each.size for each in group)
        if held and (len(group) > MAX_SAMPLE_FILES or size > MAX_SAMPLE_BYTES):
            raise DatasetError(
                f"the sample {key[:200]!r} has {len(group)} files of {size >> 20} MB; at most "
                f"{MAX_SAMPLE_FILES} of {MAX_SAMPLE_BYTES >> 20} MB may have one name up to its first dot"
            )
    if group:
        yield group


def key_of(path: str) -> str:
    """What the files of a sample have in common: the path up to the first dot of its name, numbers behind it kept.

    `a/00012.seg.png` -> `a/00012`, `scene.0001.png` -> `scene.0001`.
    """
    folder, slash, name = path.rpartition("/")
    first, *parts = name.split(".")
    for part in parts[:-1]:
        if not part.isdigit():
            break
        first += "." + part
    return folder + slash + first


def is_safe(path: str) -> bool:
    """True if a path is relative, stays where it is put, and names no file that is hidden or refinery's own."""
    parts = path.split("/")
    plain = path.isprintable() and not any(letter in path for letter in '\\:*?"<>|')
    whole = 0 < len(parts) <= MAX_PATH_PARTS and all(0 < len(part.encode()) <= MAX_PART_BYTES for part in parts)
    hidden = any(part.startswith(".") and not is_apple_double(part) for part in parts)
    return plain and whole and not hidden and parts[0] != OWN_FOLDER


def with_size(header: bytes, member: Member, size: int) -> bytes:
    """A member's headers for a content of another size below 8 GB; new ones where a pax header says the old one."""
    if member.sized:
        info = tarfile.TarInfo(member.path)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    block = bytearray(header[-BLOCK:])
    block[124:136] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return header[:-BLOCK] + bytes(block)


def _continues(key: str, first: str) -> bool:
    return key == first or any(head == first and says_role(rest) for head, rest in heads(key))


def _header(block: bytes, at: int) -> tuple[str, int, str]:
    """Kind, size and name of a header block."""
    told = block[148:156].split(b"\0")[0].strip().lstrip(b"0")
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
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


def _content(read: Read, size: int, name: str, limit: int) -> bytes:
    if size > limit:
        raise DatasetError(f"the stream's file {name[:200]!r} says it has {size:,} bytes; at most {limit:,}")
    data = read(padded(size))
    if len(data) < size:
        raise DatasetError(_ends(name, len(data), size))
    return data[:size]


def _ends(name: str, found: int, size: int) -> str:
    return f"the stream ends in the middle of {name[:200]!r}: {found:,} of {size:,} bytes"


def _pass_over(read: Read, skip: Callable[[int], None] | None, size: int, name: str) -> None:
    if skip is not None:
        skip(size)
        return
    left = size
    while left:
        piece = len(read(min(left, SKIP_BYTES)))
        if not piece:
            raise DatasetError(_ends(name, size - left, size))
        left -= piece


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
        if keyword.startswith((b"GNU.sparse", b"SCHILY.realsize")):
            said["sparse"] = ""
        data = data[length:]
    return said


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
