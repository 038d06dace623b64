"""Samples out of the members of one archive: each with the part of the archive that is written when it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from refinery.errors import DatasetError
from refinery.formats._grouping import Owners
from refinery.formats._name_list import Chosen, NameList
from refinery.formats._names import is_apple_double, is_image_name
from refinery.formats._source import Loose
from refinery.formats._tar import Member, grouped
from refinery.sample import Sample

MAX_LOOSE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class TarSample(Sample):
    """A sample that lies in an archive.

    archive: its path in the dataset; empty for a stream. home: what it was read from; the members lie in that alone.
    opened: the archive itself, which stays open as long as the sample is on its way.
    member: the image. files: all files of the sample's group.
    span: the members from behind the previous sample's image on that go into the output with this one, in order;
    first: how many members of the archive come before them; last: whether the archive ends with them.
    """

    archive: str = field(default="", compare=False)
    home: object = field(default=None, compare=False, repr=False)
    opened: object = field(default=None, compare=False, repr=False)
    member: Member | None = field(default=None, compare=False, repr=False)
    files: tuple[Member, ...] = field(default=(), compare=False, repr=False)
    span: tuple[Member, ...] = field(default=(), compare=False, repr=False)
    first: int = field(default=0, compare=False)
    last: bool = field(default=False, compare=False)


def samples_of(
    members: Iterator[Member],
    archive: str,
    home: object,
    is_new: Callable[[str], bool],
    leave_out: Callable[[str], None],
    opened: object = None,
    is_picture: Callable[[str], bool] = lambda _: True,
) -> Iterator[TarSample | Loose]:
    """The samples of an archive and its files that belong to none, each in its order.

    is_picture: whether an image of this path in the dataset is one to refine. is_new: whether a key was not met before
    in this archive; a sample whose key was is left out. A file that belongs to no sample goes into the span of the
    sample before it; those at the beginning, into that of the first. Raises DatasetError where such files hold more
    than `MAX_LOOSE_BYTES` in memory.
    """
    prefix = prefix_of(archive)
    held: TarSample | None = None
    loose: list[Member] = []
    count = 0
    for group in grouped(members):
        pictures = _pictures(group, prefix, is_picture)
        if not pictures:
            yield from (Loose(prefix + member.path, inside=True) for member in group)
            loose += group
            _require_few(loose)
            continue
        found = [replace(sample, opened=opened) for sample in _samples_in(group, pictures, archive, home)]
        if not all(is_new(sample.key) for sample in found):
            leave_out(f"{found[0].image}: a sample of this name came before; it is left out")
            continue
        if held is None:
            found[0] = replace(found[0], span=(*loose, *found[0].span))
        else:
            yield (held := replace(held, span=(*held.span, *loose), first=count))
            count += len(held.span)
        loose = []
        for sample in found[:-1]:
            yield replace(sample, first=count)
            count += len(sample.span)
        held = found[-1]
    if held is not None:
        yield replace(held, span=(*held.span, *loose), first=count, last=True)


def prefix_of(archive: str) -> str:
    """What stands before a member's path in the dataset; nothing in a stream."""
    return f"{archive}/" if archive else ""


def _pictures(group: list[Member], prefix: str, is_picture: Callable[[str], bool]) -> NameList:
    """File names of the images of a group that are samples, in their order."""
    names = NameList(_name(member) for member in group if is_image_name(_name(member)))
    folder = prefix + group[0].path[: -len(_name(group[0]))]
    return Chosen(names, lambda name: is_picture(folder + name))


def _samples_in(group: list[Member], pictures: NameList, archive: str, home: object) -> Iterator[TarSample]:
    prefix = prefix_of(archive)
    folder = group[0].path.rpartition("/")[0]
    folder = f"{folder}/" if folder else ""
    owners = Owners(pictures)
    owned: list[list[str]] = [[] for _ in pictures]
    for member in group:
        if is_apple_double(_name(member)):
            continue
        place = owners.of(_name(member)) or 0
        if _name(member) != pictures[place]:
            owned[place].append(prefix + member.path)
    begin = 0
    for sidecars, picture in zip(owned, pictures, strict=True):
        at = next(i for i, member in enumerate(group) if _name(member) == picture)
        end = len(group) if picture == pictures[-1] else at + 1
        yield TarSample(
            prefix + folder + owners.key_of(picture),
            prefix + group[at].path,
            tuple(sorted(sidecars)),
            archive=archive,
            home=home,
            member=group[at],
            files=tuple(group),
            span=tuple(group[begin:end]),
        )
        begin = end


def _require_few(loose: list[Member]) -> None:
    held = sum(len(member.data) for member in loose if member.data is not None)
    if held > MAX_LOOSE_BYTES:
        raise DatasetError(
            f"{loose[0].path[:200]!r} and what follows: {held >> 20} MB of files without an image; at most "
            f"{MAX_LOOSE_BYTES >> 20} MB of them may come one after the other in a stream"
        )


def held_bytes(sample: Sample) -> int:
    """How much memory the files of a sample take up that came through a pipe; 0 for others."""
    span = sample.span if isinstance(sample, TarSample) else ()
    return sum(len(member.data) for member in span if member.data is not None)


def _name(member: Member) -> str:
    return member.path.rpartition("/")[2]


class Names:
    """Names met, as 8 bytes each."""

    def __init__(self) -> None:
        self._met: set[bytes] = set()

    def is_new(self, name: str) -> bool:
        """True if this is the first time; it is not from then on."""
        short = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        known = short in self._met
        self._met.add(short)
        return not known
