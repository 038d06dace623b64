"""The journal of a job: whose folder it is, what is done, and going on behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stream import error_of, refine, refine_json, tree_of, write_refiner, write_scenes

from refinery.errors import OutputError
from refinery.journal import Journal, finding_from_json, finding_to_json
from refinery.sample import Finding

OPENED = ("lock", "stamps.jsonl")
"""Files that a run which finds nothing to do may write to."""
JOB = {"version": 1, "source": "/somewhere", "precision": "fp32"}


def line(key: str) -> dict:
    return {"key": key, "image": f"{key}.png", "status": "refined", "labels": []}


def write(out: Path, *keys: str) -> None:
    with Journal(out, JOB) as journal:
        journal.append([line(key) for key in keys])


def keys(out: Path) -> list[str]:
    with Journal(out, JOB) as journal:
        return [each["key"] for each in journal.lines()]


def test_lines_come_back_in_order_over_several_runs(tmp_path):
    write(tmp_path, "a", "b")
    write(tmp_path, "c")
    assert keys(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_line_cut_short_is_dropped_and_written_again(tmp_path, cut):
    write(tmp_path, "a", "b")
    manifest = tmp_path / ".refinery" / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-cut])
    assert keys(tmp_path) == ["a"]
    write(tmp_path, "b")
    assert manifest.read_bytes() == whole


def test_a_line_of_megabytes_cut_short_is_dropped(tmp_path):
    write(tmp_path, "a")
    manifest = tmp_path / ".refinery" / "manifest.jsonl"
    with manifest.open("ab") as file:
        file.write(b'{"key": "' + b"x" * 300_000)
    assert keys(tmp_path) == ["a"]


def test_only_half_a_line_is_no_line(tmp_path):
    write(tmp_path)
    (tmp_path / ".refinery" / "manifest.jsonl").write_bytes(b'{"key": "a"')
    assert keys(tmp_path) == []


@pytest.mark.parametrize("text", ["not JSON", "{", "[]", "3", '{"key": "a"}', '"key"'])
def test_a_journal_that_was_changed_is_an_error(tmp_path, text):
    write(tmp_path, "a")
    with (tmp_path / ".refinery" / "manifest.jsonl").open("a") as file:
        file.write(text + "\n")
    with pytest.raises(OutputError, match=r"manifest\.jsonl, line 2: not a sample's line"):
        keys(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_job_file_that_was_changed_is_an_error(tmp_path, text):
    write(tmp_path, "a")
    (tmp_path / ".refinery" / "job.json").write_text(text)
    with pytest.raises(OutputError, match="not the job of a refine run; give an empty --out"):
        keys(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_a_summary_that_cannot_be_read_is_made_again(tmp_path, text):
    source, out, model = write_scenes(tmp_path / "in", 3), tmp_path / "out", write_refiner(tmp_path)
    refine(source, out, model)
    summary = out / ".refinery" / "summary.json"
    whole = summary.read_bytes()
    summary.write_text(text)
    assert refine(source, out, model).exit_code == 0
    assert summary.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"thresholds": 3}'])
def test_a_calibration_that_cannot_be_read_is_none(tmp_path, text):
    with Journal(tmp_path, JOB) as journal:
        journal.write_calibration({"thresholds": {"geometry.scale": 1.5}})
        assert journal.read_calibration() == {"thresholds": {"geometry.scale": 1.5}}
        (tmp_path / ".refinery" / "calibration.json").write_text(text)
        assert journal.read_calibration() is None


def test_a_finding_comes_back_as_it_was():
    finding = Finding("iris", "box", "fail", 1.5, "px", "moved", "geometry", 2, (1.0, -1.0), 1.2, 1.8, 0.7)
    bare = Finding("pairing", "pairing", "abstain", unit="")
    for each in (finding, bare):
        assert finding_from_json(json.loads(json.dumps(finding_to_json(each)))) == each


def test_another_job_is_refused_and_what_differs_is_named(tmp_path):
    write(tmp_path, "a")
    with (
        pytest.raises(OutputError, match=r"another job \(precision was 'fp32', now 'bf16'\); give another --out"),
        Journal(tmp_path, {**JOB, "precision": "bf16"}),
    ):
        pass


def test_a_job_that_never_began_gives_way_to_another_one(tmp_path):
    """The first try named the wrong model; the second one needs no new folder."""
    write(tmp_path)
    with Journal(tmp_path, {**JOB, "precision": "bf16"}):
        pass
    assert json.loads((tmp_path / ".refinery" / "job.json").read_text())["precision"] == "bf16"


def test_the_thresholds_of_a_job_that_never_began_go_with_it(tmp_path):
    with Journal(tmp_path, JOB) as journal:
        journal.write_calibration({"thresholds": {"geometry.scale": 1.5}})
    with Journal(tmp_path, {**JOB, "precision": "bf16"}) as journal:
        assert journal.read_calibration() is None


def test_a_second_process_on_the_same_output_is_refused(tmp_path):
    locked = pytest.raises(OutputError, match="another refinery is writing there")
    with Journal(tmp_path, JOB), locked, Journal(tmp_path, JOB):
        pass
    assert keys(tmp_path) == []


def test_the_lock_is_gone_with_the_one_who_was_refused(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(OutputError, match="another job"), Journal(tmp_path, {"version": 2}):
        pass
    assert keys(tmp_path) == ["a"]


# The same through the command line


@pytest.fixture
def job(tmp_path):
    """A finished job: source, output, model."""
    parts = write_scenes(tmp_path / "in", 5), tmp_path / "out", write_refiner(tmp_path)
    assert refine(*parts).exit_code == 0
    return parts


def test_a_finished_job_does_nothing_again(job):
    _, out, _ = job
    before = {
        p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*") if p.is_file() and p.name not in OPENED
    }
    done = refine(*job)
    assert done.exit_code == 0
    assert "finished already" in done.stderr
    assert "5 refined" in done.stdout
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in before}


def test_a_finished_job_with_failures_says_so_again(tmp_path):
    source = write_scenes(tmp_path / "in", 3)
    (source / "broken.png").write_bytes(b"")
    model = write_refiner(tmp_path)
    first, second = (refine_json(source, tmp_path / "out", model) for _ in range(2))
    assert first[0] == second[0] == 3
    assert {**first[1], "images_per_s": None} == second[1]


OTHER_JOBS = {
    "another model": ({}, "model_sha256 was"),
    "another check": ({"--max-drift": "2px"}, "max_drift was '1px', now '2px'"),
    "another policy": ({"--on-drift": "quarantine"}, "on_drift was 'soften', now 'quarantine'"),
    "other batches": ({"--batch-size": "3"}, "batch_size was 0, now 3"),
    "other false alarms": ({"--false-alarms": "0.05"}, "false_alarms was 0.01, now 0.05"),
}


@pytest.mark.parametrize(("options", "message"), OTHER_JOBS.values(), ids=OTHER_JOBS)
def test_the_output_of_another_job_is_not_touched(job, tmp_path, options, message):
    source, out, model = job
    before = tree_of(out, own=True)
    model = model if options else write_refiner(tmp_path, "same")
    done = refine(source, out, model, *(part for pair in options.items() for part in pair))
    assert done.exit_code == 1
    assert message in done.stderr
    assert tree_of(out, own=True) == before


def test_another_input_into_the_same_output_is_refused(job, tmp_path):
    _, out, model = job
    done = refine(write_scenes(tmp_path / "other", 5, size_hw=(40, 64)), out, model)
    assert done.exit_code == 1
    assert "(source was" in error_of(done)


def test_images_added_later_are_refined_by_a_second_run(job):
    source, out, model = job
    write_scenes(source, 7)
    code, result = refine_json(source, out, model)
    assert (code, result["samples"], result["refined"]) == (0, 7, 7)
    fresh = out.with_name("fresh")
    refine(source, fresh, model)
    assert tree_of(out, own=True) == tree_of(fresh, own=True)


def test_a_job_that_failed_at_the_start_leaves_the_folder_to_the_next_try(tmp_path):
    source, out = write_scenes(tmp_path / "in", 3), tmp_path / "out"
    assert refine(source, out, write_refiner(tmp_path, "halves")).exit_code == 1
    assert refine(source, out, write_refiner(tmp_path, "brighter")).exit_code == 0
