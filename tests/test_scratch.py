"""Where no temporary folder can be written, one beside the output serves as such, and is gone at the end."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from refinery.scratch import scratch


@pytest.fixture
def nowhere(monkeypatch):
    """A machine without a temporary folder that can be written."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("TMPDIR", raising=False)


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("output", ["out", "deep/down/out", "model/refiner.onnx"])
def test_it_lies_beside_the_output_while_it_is_needed(tmp_path, output):
    with scratch(tmp_path / output):
        folder = tempfile.gettempdir()
        assert Path(folder).parent == tmp_path
        assert os.environ["TMPDIR"] == folder
        tempfile.NamedTemporaryFile(delete=False).close()
    assert not any(tmp_path.iterdir())
    assert "TMPDIR" not in os.environ
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()


@pytest.mark.usefixtures("nowhere")
def test_it_is_gone_after_an_error_too(tmp_path):
    with pytest.raises(ZeroDivisionError), scratch(tmp_path / "out"):
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())


def test_the_usual_folder_is_taken_where_there_is_one(tmp_path):
    before = tempfile.gettempdir()
    with scratch(tmp_path / "out"):
        assert tempfile.gettempdir() == before
        assert not any(tmp_path.iterdir())
