"""One self-contained HTML page: what inspect prints, with its picture inside. Loads nothing, runs nothing."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from refinery.errors import OutputError
from refinery.report.text import inspect_text

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "th{text-align:left;font-weight:600;padding-right:1.5rem;vertical-align:top;white-space:nowrap}"
    "td{padding:.1rem 0}img{max-width:100%;image-rendering:pixelated;margin-top:1rem}"
)


def write_page(found: dict[str, Any], path: Path) -> None:
    """Write the page for inspect's result. Raises OutputError."""
    rows = "\n".join(_row(line) for line in inspect_text(found).splitlines())
    pictures = "\n".join(_picture(Path(found[key])) for key in ("picture", "curves", "grid") if found.get(key))
    html = (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>refinery</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>refinery inspect</h1>\n<table>\n{rows}\n</table>\n{pictures}\n"
        "</body>\n</html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: the page cannot be written ({error.strerror})") from error


def _row(line: str) -> str:
    """A line of text, whose first 11 characters name it."""
    return f"<tr><th>{escape(line[:11].strip())}</th><td>{escape(line[11:])}</td></tr>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'
