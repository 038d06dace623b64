"""Variants of samples in archives: their members follow those of the sample, under names that group."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from refinery.formats._names import stem_of
from refinery.formats._tar import BLOCK, Member
from refinery.formats._tar_files import Archive
from refinery.formats._tar_samples import TarSample, prefix_of
from refinery.sample import Sample


def why_parted(sample: Sample) -> str:
    """Why variants would part the files of a sample, as the key of an archive ends at the first dot; empty if not."""
    if isinstance(sample, TarSample):
        if len(sample.files) > 1 + len(sample.sidecars):
            return f"{sample.image}: one of several images of a sample in an archive; {_INSTEAD}"
        if "." in stem_of(sample.image.rpartition("/")[2]):
            return f"{sample.image}: a name with several dots, in an archive; {_INSTEAD}"
    return ""


_INSTEAD = "unpack it and refine the folder, or refine it several times with --seed 1, --seed 2"


class Appended:
    """Gives the samples of an archive and their variants their places in the output's archive, one after the other."""

    def __init__(self) -> None:
        self._archive, self._more = "", 0

    def place(self, sample: TarSample, variants: Sequence[Sample]) -> list[TarSample]:
        """A sample and its variants; together they end the archive where the sample did."""
        if sample.archive != self._archive:
            self._archive, self._more = sample.archive, 0
        first = sample.first + self._more
        placed = [replace(sample, first=first, last=sample.last and not variants)]
        first += len(sample.span)
        for variant in variants:
            members = _renamed(sample, variant)
            self._more += len(members)
            ends = sample.last and variant is variants[-1]
            placed.append(_in_archive(sample, variant, members, first, ends))
            first += len(members)
        return placed


def _in_archive(sample: TarSample, variant: Sample, members: list[Member], first: int, last: bool) -> TarSample:
    image = variant.image.removeprefix(prefix_of(sample.archive))
    return TarSample(
        variant.key,
        variant.image,
        variant.sidecars,
        variant.variant,
        sample,
        archive=sample.archive,
        home=sample.home,
        opened=sample.opened,
        member=next(member for member in members if member.path == image),
        span=tuple(members),
        first=first,
        last=last,
    )


def _renamed(sample: TarSample, variant: Sample) -> list[Member]:
    """The members of a sample, in their order, with the contents that they have and the names of the variant."""
    names = {sample.image: variant.image, **dict(zip(sample.sidecars, variant.sidecars, strict=True))}
    prefix, archive, found = prefix_of(sample.archive), cast(Archive | None, sample.opened), []
    for member in sample.files:
        if (name := names.get(prefix + member.path)) is not None:
            path = name.removeprefix(prefix)
            told = member.header if archive is None else archive.header(member)
            try:
                info = tarfile.TarInfo.frombuf(told[-BLOCK:], "utf-8", "surrogateescape")
            except tarfile.HeaderError:  # times and owners that tarfile does not understand
                info = tarfile.TarInfo(path)
            info.name, info.size, info.pax_headers = path, member.size, {}
            header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            found.append(Member(path, member.start, member.offset, member.size, header, member.data))
    return found
