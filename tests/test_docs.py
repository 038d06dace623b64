"""What the documentation promises: every command and option has its help, and the pages say what the commands say."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer
from packaging.version import Version
from stream import refinery

from refinery import config
from refinery.cli import app

ROOT = Path(__file__).resolve().parents[1]
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands
CONFIGS = {
    "train": config.TrainConfig,
    "refine": config.RefineConfig,
    "export": config.ExportConfig,
    "inspect": config.InspectConfig,
}
NOT_IN_TOML = {"config", "json_output", "debug", "resume"}


def options(name: str) -> list[click.Parameter]:
    return [parameter for parameter in COMMANDS[name].params if parameter.name != "help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one_sentence_and_one_example(name):
    command = COMMANDS[name]
    assert command.short_help.endswith(".")
    assert command.help
    assert re.search(rf"refinery {name} ", command.epilog)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name):
    for parameter in options(name):
        text = getattr(parameter, "help", None)
        assert text, f"{name}: {parameter.name}"
        assert text.endswith((".", "!")), f"{name}: {parameter.name}: {text}"
        assert len(text) < 80, f"{name}: {parameter.name}: {text}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_place_in_the_toml(name):
    known = {field.name for field in dataclasses.fields(CONFIGS[name])}
    given = {"run" if p.name == "run_folder" else p.name for p in options(name)} - NOT_IN_TOML
    assert given <= known


def test_the_same_option_is_called_the_same_everywhere():
    by_name: dict[str, set[str]] = {}
    for name in COMMANDS:
        for parameter in options(name):
            if isinstance(parameter, click.Option):
                by_name.setdefault(parameter.name, set()).add(" ".join(parameter.opts))
    assert {name: opts for name, opts in by_name.items() if len(opts) > 1} == {}


def commands_page() -> str:
    path = ROOT / "docs" / "commands.md"
    if not path.exists():
        pytest.skip("docs/commands.md is not there; make docs writes it")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_the_commands_page_is_what_the_commands_say(name):
    page = commands_page()
    for package in ("typer", "rich"):
        if Version(version(package)) < Version(re.search(rf"{package} (\S+?)[; ]", page)[1]):
            pytest.skip(f"an older {package} draws it otherwise")
    spec = importlib.util.spec_from_file_location("write_commands", ROOT / "docs" / "write_commands.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.help_of(name) in page, "run `make docs`"


def commands_in(path: Path) -> list[str]:
    """Lines in fenced blocks that begin with `refinery `, continuation lines joined, comments dropped."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.strip().removeprefix("$ ") for line in lines if line.strip().removeprefix("$ ").startswith("refinery ")
    ]


README = ROOT / "README.md"
SHOWN = [line for page in (README, ROOT / "docs/batch.md") if page.exists() for line in commands_in(page)]


@pytest.mark.skipif(not SHOWN, reason="README.md shows no command")
def test_the_readme_shows_all_four_commands():
    assert {shlex.split(line, comments=True)[1] for line in SHOWN} >= set(COMMANDS)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_of_the_readme_parses(line):
    _, name, *arguments = shlex.split(line.partition(" || ")[0], comments=True)
    if name.startswith("-"):
        assert refinery(name).exit_code == 0
    else:
        COMMANDS[name].make_context(name, [a.strip("[]") for a in arguments])
