"""JSON from strangers: parsed, or refused in one line."""

from __future__ import annotations

import json
from typing import Any

from refinery.errors import LabelError

MAX_DEPTH = 32


def load(data: bytes, path: str) -> Any:
    """The parsed tree. Raises LabelError for what is not JSON, nested too deeply, or has numbers of absurd length."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LabelError(f"{path}: not JSON ({error}); expected an annotation; mend or remove the file") from error
    except (RecursionError, ValueError) as error:
        raise LabelError(
            f"{path}: nested too deeply or with absurd numbers; expected at most {MAX_DEPTH} levels"
        ) from error


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing of what is not a list or not an object."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
