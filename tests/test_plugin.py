"""Another package adds a member to a family: installed, it is found by name; broken, one line says whose it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refinery import registry
from refinery.errors import ConfigError

PLUGIN = Path(__file__).parent.parent / "examples" / "plugin"


@pytest.fixture
def entries(monkeypatch):
    """A list of entry points that seem to be installed, as (name, value)."""
    offered: list[metadata.EntryPoint] = []
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [e for e in offered if e.group == group])
    registry._added.cache_clear()
    yield offered
    registry._added.cache_clear()


def test_a_member_of_another_package_is_a_name_like_any_other(entries) -> None:
    entries.append(metadata.EntryPoint("stats", "statistics", "refinery.realism"))
    assert "stats" in registry.names("realism")
    assert registry.find("realism", "stats").__name__ == "statistics"
    assert "stats" not in registry.names("loss")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coco", "statistics", "two annotations are named 'coco', one of them from statistics; uninstall"),
        ("other", "no_such_module_here", "annotation 'other' of no_such_module_here cannot be imported"),
        ("other", "statistics:mean", "annotation 'other' of statistics is statistics:mean, no module"),
    ],
)
def test_what_is_wrong_with_another_package_is_said_in_one_line(entries, name: str, value: str, message: str) -> None:
    entries.append(metadata.EntryPoint(name, value, "refinery.annotations"))
    with pytest.raises(ConfigError, match=message):
        registry.find("annotation", name)


def test_the_reader_of_the_example_refuses_hostile_bytes(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))
    from landmark_files import pts

    assert [x.value.tolist() for x in pts.read(b"version: 1\nn_points: 2\n{\n3 4\n5.5 6\n}", "a", (9, 9))] == [
        [2, 3],
        [4.5, 5],
    ]
    for data in (
        b"",
        b"\xff" * 99,
        b"n_points: 1\n{\n3\n}",
        b"n_points: 1\n{\nnan 2\n}",
        b"n_points: 9\n{" + b"1 2\n" * 9999,
    ):
        with pytest.raises(pts.LabelError):
            pts.read(data, "a.pts", (9, 9))


@pytest.mark.slow
def test_the_example_is_installed_and_used(tmp_path) -> None:
    site, package = tmp_path / "site", tmp_path / "package"
    shutil.copytree(PLUGIN, package)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(package)]
    subprocess.run(command, check=True, capture_output=True)
    synth = tmp_path / "synth"
    synth.mkdir()
    for at in range(2):
        Image.fromarray(np.full((32, 40), 90 + at, np.uint8)).save(synth / f"{at}.png")
        (synth / f"{at}.pts").write_text("version: 1\nn_points: 2\n{\n11 12\n21 22\n}\n")
    told = {}
    for name, path in (("without", ""), ("with", str(site))):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))}
        done = subprocess.run(
            [sys.executable, "-m", "refinery", "inspect", str(synth), "--json"], env=env, capture_output=True, text=True
        )
        told[name] = json.loads(done.stdout)
    assert told["without"]["labels"] == {}
    assert "no reader knows .pts" in told["without"]["problems"][0]
    assert sorted(told["with"]["labels"]) == ["landmark_0", "landmark_1"]
    assert not told["with"]["problems"]
