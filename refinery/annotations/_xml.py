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
    """A tag with its own text, its attributes and its children, in order."""

    tag: str
    text: str = ""
    children: list[Element] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)

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


def parse(data: bytes, path: str, most_bytes: int = MAX_BYTES, most_elements: int = MAX_ELEMENTS) -> Element:
    """The root element. Raises LabelError for what is not XML, declares a DOCTYPE, or is deep or huge."""
    if len(data) > most_bytes:
        raise LabelError(f"{path}: {len(data):,} bytes of XML; expected at most {most_bytes:,}")
    tree = _Tree(path, most_elements)
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
    def __init__(self, path: str, most_elements: int) -> None:
        self.path, self.most_elements = path, most_elements
        self.open = [Element("")]
        self.count = 0

    def refuse(self, *_: object) -> None:
        raise LabelError(f"{self.path}: has a DOCTYPE, which may hide entities; remove that line from the file")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.open) > MAX_DEPTH or self.count > self.most_elements:
            raise LabelError(
                f"{self.path}: nested deeper than {MAX_DEPTH} levels or more than {self.most_elements:,} elements; "
                "expected an annotation of one image"
            )
        element = Element(tag, attributes=attributes)
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, _: str) -> None:
        self.open.pop()

    def text(self, text: str) -> None:
        self.open[-1].text += text
