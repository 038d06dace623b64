"""What decoding shows of a dataset's images that a person should know: stored turned, or with something left out."""

from __future__ import annotations

from refinery import image
from refinery.image import Decoded

COUNTED = 10_000
"""Images told apart, for each thing there is to say; beyond that they are many."""
KINDS = 20
TURNED = "EXIF orientation: "
"""How the line about images begins that are stored turned."""


class Noted:
    """Decodes images and remembers what was special; may be called from several threads."""

    def __init__(self) -> None:
        self._turned: dict[str, None] = {}
        self._left_out: dict[str, dict[str, None]] = {}

    def decode(self, data: bytes, name: str) -> Decoded:
        """Decode one image. Raises SampleError."""
        decoded = image.decode(data, name)
        if decoded.orientation != 1:
            _add(self._turned, name)
        for thing in decoded.left_out:
            if thing in self._left_out or len(self._left_out) < KINDS:
                _add(self._left_out.setdefault(thing, {}), name)
        return decoded

    def lines(self) -> list[str]:
        """One line for each thing, about the images that were looked at so far."""
        lines = [
            f"{thing}: left out of {_of(names)}, new pixels make it false" for thing, names in self._left_out.items()
        ]
        if self._turned:
            lines.append(
                f"{TURNED}{_of(self._turned)} stored turned; seen and checked upright, written as stored; labels are "
                "taken to be of the upright image where their file gives no other size"
            )
        return lines


def _add(names: dict[str, None], name: str) -> None:
    if len(names) < COUNTED:
        names[name] = None


def _of(names: dict[str, None]) -> str:
    first = next(iter(names)).encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n")
    count = "1 image" if len(names) == 1 else f"{len(names):,}{' and more' * (len(names) == COUNTED)} images"
    return f"{count} looked at ({first})" if len(names) == 1 else f"{count} looked at ({first}, ...)"
