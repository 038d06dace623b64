"""What the package imports is what pyproject.toml declares: nothing rests on what something else happens to bring."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE_OF = {"PIL": "pillow", "tomli_w": "tomli-w", "yaml": "pyyaml"}
OPTIONAL = {"aiohttp", "fsspec", "tensorboard"}


def imported() -> set[str]:
    """Top-level modules that any file of the package imports, without the standard library."""
    found: set[str] = set()
    for path in (ROOT / "refinery").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"refinery"}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in project["dependencies"]}
    assert {PACKAGE_OF.get(name, name) for name in imported()} - OPTIONAL <= declared


def test_every_dependency_has_its_line_in_the_table() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for line in project["dependencies"]:
        assert re.split(r"[^A-Za-z0-9_-]", line)[0] in table


def shortest(version: str) -> str:
    """A version without the zeros that say nothing: 13.0.0 is 13."""
    return re.sub(r"(\.0)+$", "", version)


def test_the_lowest_versions_that_are_allowed_are_those_that_were_tried() -> None:
    """`make test-versions` writes the row; a bound that changes is tried again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in project["dependencies"])
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith("| lowest |")]
    tried = dict(re.findall(r"([\w-]+) (\d[\d.]*)", row.split("|")[3]))
    both = bounds.keys() & tried.keys()
    assert {name: shortest(tried[name]) for name in both} == {name: shortest(bounds[name]) for name in both}
    assert bounds.keys() - tried.keys() <= {"onnxruntime"}, "which other kinds of machine have in its place"
