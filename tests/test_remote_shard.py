"""`--shard` of archives at an address: parts that together are one job."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from remote import COUNT, breaking, contents, put, shards, undisturbed
from stream import error_of, refine, refine_json, refinery, tree_of, write_refiner

from refinery.formats._parts import divide
from refinery.formats._remote import open_address
from refinery.jobs._record import Report
from refinery.journal import Journal
from refinery.shard import Shard

IN, OUT = "memory://in", "memory://out"


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_runs_of_archives_that_are_not_looked_into(count, memory, monkeypatch):
    put(memory, shards(5, 2) | {"read me": b"about"})
    source = open_address(IN)
    fetched = breaking(monkeypatch, "get_file", ())
    parts = [divide(source, Shard(count, index)) for index in range(1, count + 1)]
    assert not fetched
    taken = [[name for name, holds in part.source.files().items() if holds] for part in parts]
    assert [name for names in taken for name in names] == [f"shard-{i:04d}.tar" for i in range(5)]
    assert max(map(len, taken)) - min(map(len, taken)) <= 1
    assert ["read me" in part.source.files() for part in parts] == [True] + [False] * (count - 1)
    assert len({part.sha256 for part in parts}) == 1
    places = [place for part in parts for place in part.places]
    assert all(before[1] <= after[0] for before, after in pairwise(places))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5])
def test_parts_together_are_one_job(count, memory, tmp_path):
    """Also where there are more parts than archives, with checks, in any order."""
    files, model = shards(4, 20) | {"read me": b"about"}, write_refiner(tmp_path)
    put(memory, files)
    assert refine(IN, tmp_path / "one", model).exit_code == 0
    for index in reversed(range(1, count + 1)):
        code, result = refine_json(IN, tmp_path / "out", model, "--shard", f"{index}/{count}")
        assert (code, result["shard"]) == (0, f"{index}/{count}")
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "one")
    with Journal(tmp_path / "one", json.loads((tmp_path / "one/.refinery/job.json").read_text())) as journal:
        assert list(Report.of(tmp_path / "out").lines()) == list(journal.lines())
    told = json.loads(refinery("inspect", tmp_path / "out", "--json").stdout)
    assert told["parts"] == {"count": count, "finished": count, "unfinished": [], "missing": []}


def test_parts_with_one_report_fill_one_address(memory, tmp_path):
    files, model = shards() | {"read me": b"about"}, write_refiner(tmp_path)
    put(memory, files)
    for index in (2, 1):
        options = ("--no-check", "--report", tmp_path / "report", "--shard", f"{index}/2")
        assert refine(IN, OUT, model, *options).exit_code == 0
    assert contents(memory) == undisturbed(tmp_path, files, model)


def test_a_part_goes_on_where_the_way_broke(memory, tmp_path, monkeypatch):
    files, model = shards(6) | {"read me": b"about"}, write_refiner(tmp_path)
    put(memory, files)
    part = (IN, tmp_path / "out", model, "--no-check", "--shard")
    breaking(monkeypatch, "get_file", range(7, 100))
    assert "cannot be fetched" in error_of(refine(*part, "2/2"))
    calls = breaking(monkeypatch, "get_file", ())
    code, result = refine_json(*part, "2/2")
    assert (code, result["samples"]) == (0, 3 * COUNT)
    assert not any(call[0].endswith("read me") for call in calls)
    assert refine(*part, "1/2").exit_code == 0
    assert tree_of(tmp_path / "out") == undisturbed(tmp_path, files, model)


def test_parts_of_other_archives_are_refused(memory, tmp_path):
    model = write_refiner(tmp_path)
    put(memory, shards(3))
    assert refine(IN, tmp_path / "out", model, "--no-check", "--shard", "1/3").exit_code == 0
    put(memory, shards(4))
    line = error_of(refine(IN, tmp_path / "out", model, "--no-check", "--shard", "2/3"))
    assert "holds the output of another job (names_sha256" in line
