"""The contents of both datasets of a run, sample by sample: written when it begins, compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refinery.errors import DatasetError, SampleError
from refinery.labels import LabelReader, read_sidecars
from refinery.sample import Sample

DIGEST_BYTES = 12
Digests = Mapping[str, tuple[str, str]]
"""By key, or by path of a file about many images: digest of the pixels, digest of the label files; empty: none."""


@dataclass(frozen=True)
class Contents:
    """A side of the training: the digests of what it learns from."""

    digests: Digests = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names and digests in their order, which decides what is drawn."""
        lines = (json.dumps([name, *digests]) for name, digests in self.digests.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def contents_of(images: Iterable[Any], samples: Sequence[Sample], reader: LabelReader | None) -> Contents:
    """Digests of decoded images (H, W, C), and with a reader of all the files that their labels are read from."""
    digests: dict[str, tuple[str, str]] = {}
    for sample, image in zip(samples, images, strict=True):
        pixels = _digest([str(image.shape).encode(), image.tobytes()])
        digests[sample.key] = pixels, "" if reader is None else _digest(_label_files(reader, sample))
    if reader is not None:
        for path in reader.index_files():
            digests[path] = "", _digest([_read_shared(reader, path)])
    return Contents(digests)


def write_contents(path: Path, sides: Mapping[str, Contents]) -> None:
    """One JSON line a sample, so that a resumed run can say which one changed."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for side, contents in sides.items():
            for name, (pixels, labels) in contents.digests.items():
                line = {"side": side, "name": name, "pixels": pixels, "labels": labels}
                file.write(json.dumps(line) + "\n")
    temporary.replace(path)


def read_contents(path: Path) -> dict[str, Contents]:
    """What `write_contents` wrote, by side; nothing where it is gone or broken."""
    sides: dict[str, dict[str, tuple[str, str]]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            sides.setdefault(record["side"], {})[record["name"]] = record["pixels"], record["labels"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {side: Contents(digests) for side, digests in sides.items()}


def require_same(side: str, place: str, now: Contents, fingerprint: str, before: Contents | None, run: Path) -> None:
    """Raise DatasetError where a side is not what the run was trained on, naming what differs.

    place: where it was found. fingerprint: as the checkpoint has it. before: as the run's list of contents has it,
    which gives the names.
    """
    if now.fingerprint == fingerprint:
        return
    listed = before is not None and before.fingerprint == fingerprint
    raise other_data(side, place, _differences(before.digests, now.digests) if before and listed else "", run)


def other_data(side: str, place: str, differences: str, run: Path) -> DatasetError:
    """The refusal of a dataset that a run was not trained on."""
    return DatasetError(
        f"{place}: not the {side} images that {run} was trained on{differences and ': ' + differences}; give --{side} "
        "with those images, or begin a new run with another --out"
    )


def _differences(before: Digests, now: Digests) -> str:
    """`12 of 40 changed (first: 0004), 3 are missing (first: 0017)`."""
    shared = [name for name in before if name in now]
    cases = [
        ("of {} images changed", [name for name in shared if before[name][0] != now[name][0]]),
        ("of {} have other labels", [name for name in shared if before[name][1] != now[name][1]]),
        ("of {} are missing", [name for name in before if name not in now]),
        ("beside the {} are new", [name for name in now if name not in before]),
    ]
    told = [f"{len(names):,} {text.format(f'{len(before):,}')} (first: {min(names)})" for text, names in cases if names]
    return ", ".join(told) or "they come in another order"


def _label_files(reader: LabelReader, sample: Sample) -> list[bytes]:
    """Names and contents of a sample's own label files, by name; one that cannot be read is there without content."""
    sidecars, _ = read_sidecars(reader.source, sample.origin)
    return [part for path in sorted(sample.origin.sidecars) for part in (_encoded(path), sidecars.get(path, b""))]


def _read_shared(reader: LabelReader, path: str) -> bytes:
    """A file about many images; empty where it cannot be read."""
    try:
        return reader.source.read_file(path)
    except SampleError:
        return b""


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
