"""JSON from strangers: parsed, or refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from refinery.errors import LabelError

MAX_DEPTH = 32


def text_of(data: bytes, path: str) -> str:
    """The text of a JSON file. Raises LabelError for what is not UTF-8."""
    with _refused(path):
        return data.decode("utf-8-sig")


def load(data: bytes, path: str) -> Any:
    """The parsed tree. Raises LabelError for what is not JSON, nested too deeply, or has numbers of absurd length."""
    with _refused(path):
        return json.loads(data.decode("utf-8-sig"))


def load_without(text: str, path: str, key: str, take: Callable[[Any, int, int], None]) -> dict[str, Any]:
    """The parsed object but for the list under `key`, whose elements are handed over one by one: a long list is never
    in memory as a whole.

    take(element, start, end): text[start:end] is the element's JSON. Raises LabelError as `load` does, and for what is
    no object.
    """
    tree: dict[str, Any] = {}
    with _refused(path):
        at = _after(text, 0, "{")
        while text[at] != "}":
            name, at = _DECODER.raw_decode(text, at)
            at = _after(text, _skip(text, at), ":")
            if name == key and text[at] == "[":
                at = _elements(text, at, take)
            else:
                tree[name], at = _DECODER.raw_decode(text, at)
            at = _next(text, at, "}")
        if _skip(text, at + 1) < len(text):
            raise json.JSONDecodeError("Extra data", text, at + 1)
    return tree


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def _elements(text: str, at: int, take: Callable[[Any, int, int], None]) -> int:
    """Hands over the elements of the list that begins here; the place behind it."""
    at = _after(text, at, "[")
    while text[at] != "]":
        element, end = _DECODER.raw_decode(text, at)
        take(element, at, end)
        at = _next(text, end, "]")
    return at + 1


def _next(text: str, at: int, end: str) -> int:
    """The place of the next element, or of the end."""
    at = _skip(text, at)
    if text[at] == end:
        return at
    at = _after(text, at, ",")
    if text[at] == end:
        raise json.JSONDecodeError("Expecting a value", text, at)
    return at


def _after(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign!r}", text, at)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


@contextmanager
def _refused(path: str) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, json.JSONDecodeError, IndexError) as error:
        raise LabelError(f"{path}: not JSON ({error}); expected an annotation; mend or remove the file") from error
    except (RecursionError, ValueError) as error:
        raise LabelError(
            f"{path}: nested too deeply or with absurd numbers; expected at most {MAX_DEPTH} levels"
        ) from error


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing of what is not a list or not an object."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
