"""XML from strangers: a plain tree, with no DOCTYPE, no entities of its own, bounded depth and size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from refinery.errors import LabelError

MAX_BYTES = 16 << 20
MAX_DEPTH = 32
MAX_ELEMENTS = 200_000


@dataclass(slots=True)
class Element:
    """A tag with its own text and its children, in order."""

    tag: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        """Children of this tag."""
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        """The first child of this tag."""
        return next(self.all(tag), None)

    def value(self, tag: str) -> str:
        """Text of the first child of this tag, without the space around it; empty without one."""
        child = self.first(tag)
        return child.text.strip() if child is not None else ""


def parse(data: bytes, path: str) -> Element:
    """The root element. Raises LabelError for what is not XML, declares a DOCTYPE, or is deep or huge."""
    if len(data) > MAX_BYTES:
        raise LabelError(f"{path}: {len(data):,} bytes of XML for one image; expected at most {MAX_BYTES:,}")
    tree = _Tree(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = tree.refuse
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise LabelError(f"{path}: not XML ({error}); expected an annotation; mend or remove the file") from error
    return tree.open[0].children[0]


class _Tree:
    def __init__(self, path: str) -> None:
        self.path = path
        self.open = [Element("")]
        self.count = 0

    def refuse(self, *_: object) -> None:
        raise LabelError(f"{self.path}: has a DOCTYPE, which may hide entities; remove that line from the file")

    def start(self, tag: str, _: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) > MAX_DEPTH or self.count > MAX_ELEMENTS:
            raise LabelError(
                f"{self.path}: nested deeper than {MAX_DEPTH} levels or more than {MAX_ELEMENTS:,} elements; "
                "expected an annotation of one image"
            )
        element = Element(tag)
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, _: str) -> None:
        self.open.pop()

    def text(self, text: str) -> None:
        self.open[-1].text += text
