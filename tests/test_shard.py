"""`--shard`: which part a process does, and parts that together are one job."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from pathlib import Path

import h5py
import pytest
from stream import error_of, refine, refine_json, refinery, scene, tree_of, write_gaze, write_refiner, write_scenes

from refinery.errors import DatasetError, OutputError, UsageError
from refinery.formats._parts import deal
from refinery.formats.folder import open_source
from refinery.jobs._record import PartFiles, Report, weakest
from refinery.journal import Journal
from refinery.sample import Sample
from refinery.shard import Shard, parse_shard, shard_of_folder

SAMPLES = 41


def slurm(task: int, first: int = 1, count: int = 16, **more: int) -> dict[str, str]:
    numbers = {"ID": task, "MIN": first, "COUNT": count, "MAX": first + count - 1, **more}
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


MEANT = {
    "given": ("3/16", {}, "3/16"),
    "one": ("1/1", {}, "1/1"),
    "SLURM": ("auto", slurm(3), "3/16"),
    "SLURM from 0": ("auto", slurm(0, 0), "1/16"),
    "SLURM in steps": ("auto", slurm(30, 0, 16, MAX=30, STEP=2), "16/16"),
    "SLURM and the same count": ("auto/16", slurm(3), "3/16"),
    "Kubernetes": ("auto/16", {"JOB_COMPLETION_INDEX": "0"}, "1/16"),
    "the last of Kubernetes": ("auto/16", {"JOB_COMPLETION_INDEX": "15"}, "16/16"),
    "given wins": ("2/3", slurm(9), "2/3"),
}


@pytest.mark.parametrize(("text", "environment", "meant"), MEANT.values(), ids=MEANT)
def test_which_part_is_meant(text, environment, meant):
    assert str(parse_shard(text, environment)) == meant


def test_none_is_meant_only_where_nothing_is_said():
    assert parse_shard("", slurm(3)) is None


MISTAKES = {
    "0/4": ({}, "expected a part from 1/4 to 4/4"),
    "5/4": ({}, "expected a part from 1/4 to 4/4"),
    "1/0": ({}, "expected 1 part or more"),
    "a/b": ({}, "expected a part and how many there are, such as 3/16"),
    "3": ({}, "expected a part and how many"),
    "-1/4": ({}, "expected a part and how many"),
    "1/4/2": ({}, "expected a part and how many"),
    "٣/4": ({}, "expected a part and how many"),
    "auto/b": ({}, "expected a part and how many"),
    "auto": ({}, "neither SLURM_ARRAY_TASK_ID"),
    "auto/16": ({}, "neither SLURM_ARRAY_TASK_ID"),
    "auto ": ({"JOB_COMPLETION_INDEX": "3"}, "give --shard auto/N"),
    "auto/3": ({"JOB_COMPLETION_INDEX": "3"}, r"\(the environment says 4\), expected a part from 1/3 to 3/3"),
    "auto/4": ({"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX is 'x', expected a number"),
    "auto/5": ({"JOB_COMPLETION_INDEX": "1", **slurm(3)}, "both SLURM_ARRAY_TASK_ID and JOB_COMPLETION_INDEX are set"),
    "auto/6": (slurm(3), "SLURM_ARRAY_TASK_COUNT is 16; to run some parts again give --shard I/6"),
    "auto  ": ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_COUNT is ''"),
    "auto   ": (slurm(1, 1, 3, MAX=7), "an array with gaps"),
    "auto    ": (slurm(9, 1, 3), r"the environment says 9"),
}


@pytest.mark.parametrize(("text", "environment", "message"), [(k, *v) for k, v in MISTAKES.items()], ids=MISTAKES)
def test_a_part_that_cannot_be_meant(text, environment, message):
    with pytest.raises(UsageError, match=message):
        parse_shard(text, environment)


@pytest.mark.parametrize("text", ["0/4", "5/4", "a/b", "auto"])
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path, monkeypatch, text):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    done = refine(write_scenes(tmp_path / "in", 2), tmp_path / "out", write_refiner(tmp_path), "--shard", text)
    assert done.exit_code == 2
    assert error_of(done).startswith("error: --shard")
    assert not (tmp_path / "out").exists()


def test_folders_sort_as_parts_do_and_other_names_are_none():
    parts = [Shard(count, index) for count in (4, 100) for index in range(1, count + 1)]
    assert all(shard_of_folder(part.folder) == part for part in parts)
    assert [part.folder for part in parts[4:]] == sorted(part.folder for part in parts[4:])
    assert Shard(16, 3).folder == "03-of-16"
    assert not any(map(shard_of_folder, ("3-of-16", "03-of-02", "00-of-02", "lock", "03-of-16.tmp")))


def test_whole_files_are_dealt_out_evenly():
    sizes = {"a": 10, "b": 90, "c": 50, "d": 45, "e": 5}
    assert deal(sizes, 2) == {"b": 1, "c": 2, "d": 2, "a": 1, "e": 2}
    assert set(deal(sizes, 9).values()) == {1, 2, 3, 4, 5}


# Parts are one job


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A dataset with a broken image and loose files, a refiner that moves labels, and one job's output."""
    root = tmp_path_factory.mktemp("job")
    source = write_scenes(root / "in", SAMPLES)
    (source / "0007.png").write_bytes(b"")
    (source / "deep").mkdir()
    shutil.copy(source / "0003.png", source / "deep/a.png")
    (source / "deep/classes.txt").write_text("disc\n")
    (source / "README.md").write_text("loose")
    model = write_refiner(root, "nudged")
    assert refine(source, root / "one", model, *OPTIONS).exit_code == 3
    return source, model, root / "one"


OPTIONS = ("--max-drift", "1px")


def run_parts(job, out: Path, order: list[int], count: int, *options: object) -> list[tuple[int, dict]]:
    source, model, _ = job
    return [refine_json(source, out, model, *OPTIONS, "--shard", f"{i}/{count}", *options) for i in order]


def inspected(out: Path, *options: object) -> dict:
    done = refinery("inspect", out, "--json", *options)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def in_parts(job, tmp_path_factory) -> tuple[Path, list[tuple[int, dict]]]:
    """The same in four parts, in an order of their own; what each of them printed."""
    out = tmp_path_factory.mktemp("parts") / "out"
    return out, run_parts(job, out, [3, 1, 4, 2], 4)


def test_parts_in_any_order_give_the_bytes_of_one_job(job, in_parts):
    out, done = in_parts
    assert tree_of(out) == tree_of(job[2])
    assert [result["shard"] for _, result in done] == ["3/4", "1/4", "4/4", "2/4"]
    assert sorted(result["samples"] for _, result in done) == [10, 10, 11, 11]
    assert sorted(code for code, _ in done) == [0, 0, 0, 3]
    assert all(Path(result["manifest"]).parent.name == f"0{result['shard'][0]}-of-04" for _, result in done)


def test_each_part_has_its_own_records_and_nothing_is_left_over(in_parts):
    out, _ = in_parts
    assert {p.name for p in (out / ".refinery").iterdir()} == {"lock", "parts"}
    for folder in (out / ".refinery/parts").glob("*-of-04"):
        names = {p.name for p in folder.iterdir()}
        assert names >= {"job.json", "manifest.jsonl", "calibration.json", "summary.json", "worst.json"}
        assert "tmp" not in names


def test_all_parts_are_calibrated_as_one_job_is(job, in_parts):
    whole = (job[2] / ".refinery/calibration.json").read_bytes()
    each = [path.read_bytes() for path in (in_parts[0] / ".refinery/parts").glob("*/calibration.json")]
    assert each == [whole] * 4
    assert json.loads(whole)["from"] == "measured"


def test_inspect_finds_in_the_parts_what_it_finds_in_one_job(job, in_parts):
    whole, parts = inspected(job[2]), inspected(in_parts[0])
    state = parts.pop("parts")
    assert state == {"count": 4, "finished": 4, "unfinished": [], "missing": []}
    for found in (whole, parts):
        found.pop("power")
        for drift in found["drift"].values():
            drift.pop("power")
            drift.pop("moved")  # only where the power is known
        assert Path(found.pop("picture")).exists()
        assert Path(found.pop("worst_picture")).exists()
    assert parts == whole
    assert (parts["refined"], parts["rejected"]) == (SAMPLES, 1)


def test_the_lines_of_the_parts_are_those_of_one_job(job, in_parts):
    with Journal(job[2], json.loads((job[2] / ".refinery/job.json").read_text())) as journal:
        whole = list(journal.lines())
    assert list(Report.of(in_parts[0]).lines()) == whole


def test_reports_are_the_same_in_any_grouping_and_order(in_parts):
    """Every order of the four parts, put together pairwise at every place."""
    singles = [Report(frozenset({part})) for part in sorted(Report.of(in_parts[0]).parts)]
    whole = Report.of(in_parts[0]).summary()
    for order in itertools.permutations(singles):
        reports = list(order)
        draw = random.Random(str([sorted(report.parts) for report in reports]))
        while len(reports) > 1:
            at = draw.randrange(len(reports) - 1)
            reports[at : at + 2] = [reports[at] | reports[at + 1]]
        assert reports[0] == Report.of(in_parts[0])
        assert list(reports[0].lines()) == list(Report.of(in_parts[0]).lines())
    a, b, c, d = singles
    assert ((a | b) | (c | d)).summary() == ((d | a) | c | b | a).summary() == whole


def test_an_audit_of_the_parts_says_how_many_there_are(job, in_parts):
    found = inspected(in_parts[0], "--synthetic", job[0])
    assert found["parts"]["finished"] == 4
    assert len(found["verdicts"]) == SAMPLES + 1


def test_the_merged_report_as_text_and_as_a_page(in_parts, tmp_path):
    done = refinery("inspect", in_parts[0], "--html", tmp_path / "report.html")
    assert "parts      4 of 4 finished" in done.stdout
    assert "delivered  41 refined, 1 rejected, 0 quarantined" in done.stdout
    assert "4 of 4 finished" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_the_parts_that_are_not_there_are_named(job, tmp_path):
    run_parts(job, tmp_path / "out", [2, 4], 5)
    (tmp_path / "out/.refinery/parts/04-of-05/summary.json").unlink()
    found = inspected(tmp_path / "out")
    assert found["parts"] == {"count": 5, "finished": 1, "unfinished": ["4/5"], "missing": ["1/5", "3/5", "5/5"]}
    assert sum(found["verdicts"].values()) == found["refined"] == 17
    text = refinery("inspect", tmp_path / "out").stdout
    assert "parts      1 of 5 finished" in text
    assert "missing    1/5, 3/5, 5/5; run with --shard 1/5" in text


@pytest.mark.slow
def test_more_parts_than_samples(tmp_path):
    source, model = write_scenes(tmp_path / "in", 3), write_refiner(tmp_path)
    assert refine(source, tmp_path / "one", model).exit_code == 0
    done = [refine_json(source, tmp_path / "out", model, "--shard", f"{i}/5") for i in range(5, 0, -1)]
    assert [(code, result["samples"]) for code, result in done] == [(0, 0), (0, 0), (0, 1), (0, 1), (0, 1)]
    assert refine_json(source, tmp_path / "out", model, "--shard", "5/5")[0] == 0  # and once more
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "one")
    assert inspected(tmp_path / "out")["parts"]["finished"] == 5


def test_what_went_into_quarantine_lies_where_one_job_puts_it(tmp_path):
    source, model = write_scenes(tmp_path / "in", 4), write_refiner(tmp_path, "moved")
    for out, shards in {"one": [()], "out": [("--shard", "1/2"), ("--shard", "2/2")]}.items():
        for shard in shards:
            assert refine(source, tmp_path / out, model, "--on-drift", "quarantine", *shard).exit_code == 3
    whole, parts = (
        {p: (tmp_path / out / ".refinery/quarantine" / p).read_bytes() for p in [f"000{i}.png" for i in range(4)]}
        for out in ("one", "out")
    )
    assert whole == parts


@pytest.mark.parametrize("options", [(), ("--no-check",)])
def test_parts_are_put_together_where_the_source_is_gone(tmp_path, options):
    source, model = write_scenes(tmp_path / "in", 5), write_refiner(tmp_path)
    assert refine(source, tmp_path / "one", model, *options).exit_code == 0
    for index in (2, 1):
        assert refine(source, tmp_path / "out", model, "--shard", f"{index}/2", *options).exit_code == 0
    source.rename(tmp_path / "gone")
    whole, parts = inspected(tmp_path / "one"), inspected(tmp_path / "out")
    assert parts["verdicts"] == whole["verdicts"]
    assert sum(parts["verdicts"].values()) == (0 if options else 5)
    assert parts["refined"] == whole["refined"] == 5


# HDF5: whole files


@pytest.fixture(scope="module")
def hdf5(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("hdf5")
    for name, count in {"a.h5": 3, "b.h5": 12, "deep/c.h5": 7, "d.h5": 5}.items():
        write_gaze(root / "in" / name, count)
    (root / "in/README.md").write_text("loose")
    with h5py.File(root / "in/empty.h5", "w") as file:
        file["notes"] = [1, 2, 3]
    return root / "in", write_refiner(root)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 6])
def test_hdf5_in_parts(hdf5, tmp_path, count):
    source, model = hdf5
    assert refine(source, tmp_path / "one", model).exit_code == 0
    order = random.Random(count).sample(range(1, count + 1), count)
    done = [refine_json(source, tmp_path / "out", model, "--shard", f"{i}/{count}") for i in order]
    assert {code for code, _ in done} == {0}
    assert sum(result["samples"] for _, result in done) == 27
    assert max(result["samples"] for _, result in done) <= 15
    assert tree_of(tmp_path / "out") == tree_of(tmp_path / "one")
    whole, parts = inspected(tmp_path / "one"), inspected(tmp_path / "out")
    assert parts["verdicts"] == whole["verdicts"]
    names = ("median", "p95", "mean", "ci95", "verdicts", "clusters")
    for label, drift in whole["drift"].items():
        assert {name: drift[name] for name in names} == {name: parts["drift"][label][name] for name in names}


def test_a_single_hdf5_file_cannot_be_divided(tmp_path):
    source, model = write_gaze(tmp_path / "in/gaze.h5", 5), write_refiner(tmp_path)
    for path in (source, source.parent):
        done = refine(path, tmp_path / "out", model, "--shard", "1/2")
        assert done.exit_code == 2
        assert "a part takes whole files; write the dataset as several files, or leave --shard out" in error_of(done)
    assert refine(source, tmp_path / "out", model, "--shard", "1/1").exit_code == 0


# Whose folder it is


OTHERS = {
    "another number of parts": (("--shard", "2/3"), "holds part 1/2 of a batch job, now --shard 2/3"),
    "no parts": ((), "holds part 1/2 of a batch job; give --shard"),
    "another tolerance": (("--shard", "2/2", "--max-drift", "2px"), "max_drift was '1px', now '2px'"),
    "another seed": (("--shard", "2/2", "--seed", "1"), "seed was 0, now 1"),
    "the same part of another job": (("--shard", "1/2", "--seed", "1"), "seed was 0, now 1"),
}


@pytest.mark.parametrize(("options", "message"), OTHERS.values(), ids=OTHERS)
def test_a_folder_with_parts_of_another_job_is_refused_and_not_touched(tmp_path, options, message):
    source, model, out = write_scenes(tmp_path / "in", 4), write_refiner(tmp_path), tmp_path / "out"
    assert refine(source, out, model, "--shard", "1/2").exit_code == 0
    before = tree_of(out, own=True)
    done = refine(source, out, model, *options)
    assert done.exit_code == 1
    assert message in error_of(done)
    assert tree_of(out, own=True) == before
    assert refine(source, out, model, "--shard", "2/2").exit_code == 0


def test_another_model_is_refused_as_a_part(tmp_path):
    source, out = write_scenes(tmp_path / "in", 4), tmp_path / "out"
    assert refine(source, out, write_refiner(tmp_path), "--shard", "1/2").exit_code == 0
    done = refine(source, out, write_refiner(tmp_path, "same"), "--shard", "2/2")
    assert done.exit_code == 1
    assert "model_sha256 was" in error_of(done)


def test_the_output_of_a_job_without_parts_is_refused(tmp_path):
    source, model, out = write_scenes(tmp_path / "in", 4), write_refiner(tmp_path), tmp_path / "out"
    assert refine(source, out, model).exit_code == 0
    before = tree_of(out, own=True)
    done = refine(source, out, model, "--shard", "1/2")
    assert done.exit_code == 1
    assert "holds the output of a job without --shard" in error_of(done)
    assert tree_of(out, own=True) == before


@pytest.mark.parametrize("change", ["more", "renamed"])
def test_all_parts_must_have_divided_the_same_dataset(tmp_path, change):
    """One that began later and found other samples would leave some out, or do some twice."""
    source, model, out = write_scenes(tmp_path / "in", 4), write_refiner(tmp_path), tmp_path / "out"
    assert refine(source, out, model, "--shard", "1/2").exit_code == 0
    if change == "more":
        write_scenes(source, 5)
    else:
        (source / "0001.png").rename(source / "0000b.png")
    done = refine(source, out, model, "--shard", "2/2")
    assert done.exit_code == 1
    assert ("(samples was 4, now 5)" if change == "more" else "(names_sha256 was") in error_of(done)


JOB = {"version": 1, "precision": "fp32", "shard": "1/2", "places": []}


def test_a_part_that_never_began_gives_way_to_another_job(tmp_path):
    """The first try named the wrong model, or the wrong number of parts; the second one needs no new folder."""
    with Journal(tmp_path, JOB, Shard(2, 1)):
        pass
    with Journal(tmp_path, {**JOB, "precision": "bf16", "shard": "2/3"}, Shard(3, 2)):
        pass
    assert [str(part.shard) for part in Report.of(tmp_path).parts] == ["2/3"]
    with Journal(tmp_path, {"version": 1}):
        pass
    assert Report.of(tmp_path).parts == frozenset()
    with Journal(tmp_path, JOB, Shard(2, 1)):
        pass
    assert not (tmp_path / ".refinery/job.json").exists()


def test_a_part_that_is_running_does_not_give_way(tmp_path):
    with (
        Journal(tmp_path, JOB, Shard(2, 1)),
        pytest.raises(OutputError, match="holds part 1/2 of a batch job, now --shard 2/3"),
        Journal(tmp_path, JOB, Shard(3, 2)),
    ):
        pass


def test_locks_of_parts_and_of_a_whole_job(tmp_path):
    taken = "another refinery is writing there"
    with Journal(tmp_path, JOB, Shard(2, 1)), Journal(tmp_path, {**JOB, "shard": "2/2"}, Shard(2, 2)):
        for shard, message in ((Shard(2, 1), rf"{taken} \(part 1/2\); wait"), (None, f"{taken}; wait")):
            with pytest.raises(OutputError, match=message), Journal(tmp_path, JOB, shard):
                pass
    with (
        Journal(tmp_path / "b", JOB),
        pytest.raises(OutputError, match=taken),
        Journal(tmp_path / "b", JOB, Shard(2, 1)),
    ):
        pass


def test_a_part_never_removes_the_temporary_files_of_another(tmp_path):
    source = open_source(write_scenes(tmp_path / "in", 1))
    theirs = tmp_path / "out/.refinery/parts/02-of-02/tmp/1-0"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("half")
    sink = source.sink(tmp_path / "out", tmp_path / "out/.refinery/parts/01-of-02")
    sink.write_image(Sample("0000", "0000.png"), scene(0)[0].tobytes())
    sink.finish()
    assert theirs.read_text() == "half"
    assert not (tmp_path / "out/.refinery/parts/01-of-02/tmp").exists()


# Reading the records


def test_a_half_line_of_a_running_part_is_not_read_and_blocks_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("refinery.jobs._record.BLOCK_BYTES", 100)
    lines = [{"key": f"k{i}", "image": "x" * (i % 90), "status": "refined", "labels": []} for i in range(50)]
    (tmp_path / "job.json").write_text(json.dumps({"places": [[0, 30, 3], [40, 90, 1]]}))
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"key": "k50')
    placed = list(PartFiles(Shard(2, 1), tmp_path).placed_lines())
    assert [line for _, line in placed] == lines
    assert [place for place, _ in placed] == [*range(0, 30, 3), *range(40, 80)]


@pytest.mark.parametrize("text", ["{", "[]", '{"places": 3}', '{"places": [[0, 4]]}', '{"places": [["a", 2, 3]]}'])
def test_records_of_a_part_that_were_changed_are_one_line(tmp_path, text):
    source, model, out = write_scenes(tmp_path / "in", 4), write_refiner(tmp_path), tmp_path / "out"
    assert refine(source, out, model, "--shard", "1/1").exit_code == 0
    (out / ".refinery/parts/01-of-01/job.json").write_text(text)
    done = refinery("inspect", out)
    assert done.exit_code == 1
    assert "01-of-01/job.json" in error_of(done)
    assert refine(source, out, model, "--shard", "1/1").exit_code == 1


def test_a_part_without_a_job_file_is_none(tmp_path):
    (tmp_path / ".refinery/parts/01-of-02").mkdir(parents=True)
    assert Report.of(tmp_path).parts == frozenset()
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(DatasetError, match="not the job of a part"):
        list(PartFiles(Shard(2, 1), tmp_path).placed_lines())


def test_the_power_of_all_is_that_of_the_part_that_sees_least():
    def power(detects: float | None, share: float = 0.9) -> dict:
        return {"iris": {"detects": detects, "unit": "px", "power": share, "coverage": 0.5}}

    assert weakest([power(0.5), power(1.5), {}])["iris"] == {**power(1.5)["iris"], "coverage": None}
    assert weakest([power(None), power(1.5)])["iris"]["detects"] is None
    assert weakest([power(1.0, 0.7), power(1.0, 0.8)])["iris"]["power"] == 0.7
    assert weakest([]) == {}
