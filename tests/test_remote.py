"""Archives at addresses: what comes from there, what goes there, and how a job goes on when the way breaks."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import json
import os
import random
import signal
import sys
import tarfile
import threading
import time

import pytest
from models import write_artifact
from remote import COUNT, breaking, contents, put, shards, undisturbed
from stream import error_of, refine, refine_json, refinery, start, tree_of, write_gaze, write_refiner, write_scenes
from test_noise import noisy
from test_pipe import archive

from refinery.formats import _remote, _tar_files
from refinery.formats._remote import open_address
from refinery.formats._store import Store, is_address, local_path, shown
from refinery.sample import Sample


@pytest.fixture
def web(tmp_path):
    """A folder, and the address of a server that shows it."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("text", ["s3://b/x", "https://h/a.tar?sig=1", "simplecache::s3://b/x", "memory://x"])
def test_what_an_address_is(text):
    assert is_address(text)
    assert not any(map(is_address, ("./in", "C:\\data", "-", "a:/b", "/s3://x")))


def test_what_may_be_secret_is_not_shown():
    assert shown("https://me:pass@host/a.tar?X-Signature=abc") == "https://host/a.tar"
    assert shown("404, url='https://h/a.tar?sig=abc'") == "404, url='https://h/a.tar'"


@pytest.mark.parametrize("packed", [False, True])
def test_archives_from_an_address_become_those_that_a_folder_of_them_becomes(packed, memory, tmp_path):
    files = shards()
    if packed:
        files = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in files.items()}
    files["read me"] = b"about"
    put(memory, files)
    model = write_refiner(tmp_path)
    code, result = refine_json("memory://in", tmp_path / "out", model, "--no-check")
    assert (code, result["samples"], result["refined"]) == (0, 3 * COUNT, 3 * COUNT)
    assert tree_of(tmp_path / "out") == undisturbed(tmp_path, files, model)


def test_archives_go_to_an_address_and_the_journal_stays_here(memory, tmp_path):
    files = shards() | {"read me": b"about"}
    put(memory, files)
    model = write_refiner(tmp_path)
    code, result = refine_json("memory://in", "memory://out/deep", model, "--no-check", "--report", tmp_path / "report")
    assert (code, result["out"]) == (0, "memory://out/deep")
    assert contents(memory, "/out/deep") == undisturbed(tmp_path, files, model)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [".refinery"]
    assert len((tmp_path / "report/.refinery/manifest.jsonl").read_text().splitlines()) == 3 * COUNT


@pytest.mark.slow
def test_a_folder_of_archives_goes_to_an_address_checked_and_packed(memory, tmp_path):
    source, model = tmp_path / "in", write_refiner(tmp_path)
    source.mkdir()
    for name, data in shards(each=20).items():
        (source / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
    code, result = refine_json(source, "memory://out", model, "--report", tmp_path / "report")
    assert code == 0
    assert result["verdicts"]["pass"] > 0
    assert result["power"]
    assert refine(source, tmp_path / "local", model).exit_code == 0
    assert contents(memory) == tree_of(tmp_path / "local")
    told = refinery("inspect", tmp_path / "report")
    assert told.exit_code == 0, told.stderr
    assert f"report     of {source}, refined into memory://out" in told.stdout
    assert "samples    60: 60 refined, 0 rejected, 0 quarantined" in told.stdout
    assert "disc.center: moved" in told.stdout
    line = error_of(refinery("inspect", tmp_path / "report", "--real", source))
    assert "is a report without images" in line


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("memory://in", ["shard-0000.tar", "shard-0001.tar", "shard-0002.tar"]),
        ("memory://in/", ["shard-0000.tar", "shard-0001.tar", "shard-0002.tar"]),
        ("memory://in/shard-{0001..0002}.tar", ["shard-0001.tar", "shard-0002.tar"]),
        ("memory://in/*2.tar", ["shard-0002.tar"]),
        ("memory://in/shard-0001.tar", ["shard-0001.tar"]),
    ],
)
def test_an_address_names_a_folder_some_archives_or_one(address, names, memory):
    put(memory, shards(3, 2))
    source = open_address(address)
    found = [entry.image for entry in source.stream() if isinstance(entry, Sample)]
    assert list(dict.fromkeys(image.split("/")[0] for image in found)) == names
    assert len(found) == 2 * len(names)


@pytest.mark.slow
def test_over_http_folders_ranges_and_single_archives_are_read(web, tmp_path):
    folder, address = web
    for name, data in shards().items():
        (folder / name).write_bytes(data)
    model = write_refiner(tmp_path)
    expected = undisturbed(tmp_path, shards(), model)
    for i, what in enumerate(["", "/shard-{0000..0002}.tar", "/*.tar"]):
        done = refine(address + what, tmp_path / f"out{i}", model, "--no-check")
        assert done.exit_code == 0, done.stderr
        assert tree_of(tmp_path / f"out{i}") == expected
    signed = refine(f"{address}/shard-0001.tar?sig=secret", tmp_path / "one", model, "--no-check")
    assert signed.exit_code == 0, signed.stderr
    assert tree_of(tmp_path / "one") == {"shard-0001.tar": expected["shard-0001.tar"]}
    job = (tmp_path / "one/.refinery/job.json").read_text()
    assert "secret" not in job + signed.stderr + signed.stdout


def test_what_is_not_there_is_one_line_that_keeps_secrets(web, tmp_path):
    line = error_of(refine(f"{web[1]}/none.tar?sig=secret", tmp_path / "out", write_refiner(tmp_path)))
    assert "/none.tar: cannot be fetched" in line
    assert "check the address" in line
    assert "secret" not in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["get_file", "put_file"])
def test_what_fails_once_is_tried_again(method, memory, tmp_path, monkeypatch):
    put(memory, shards())
    calls = breaking(monkeypatch, method, {2, 3, 5})
    done = refine("memory://in", "memory://out", write_refiner(tmp_path), "--no-check", "--report", tmp_path / "report")
    assert done.exit_code == 0, done.stderr
    assert len(calls) >= 6
    assert len(contents(memory)) == 3


def test_where_the_way_breaks_the_job_stops_and_goes_on_without_what_is_done(memory, tmp_path, monkeypatch):
    files, model = shards(5, each=40), write_refiner(tmp_path)
    put(memory, files)
    monkeypatch.setattr(_remote, "HEAD_SAMPLES", 32)
    arguments = ("memory://in", "memory://out", model, "--no-check", "--report", tmp_path / "report")
    breaking(monkeypatch, "get_file", range(4, 100))
    line = error_of(refine(*arguments))
    assert "shard-0003.tar: cannot be fetched ([Errno 104] connection reset by peer); run the same command" in line
    assert set(contents(memory)) == {"shard-0000.tar", "shard-0001.tar", "shard-0002.tar"}
    calls = breaking(monkeypatch, "get_file", ())
    code, result = refine_json(*arguments)
    assert (code, result["samples"]) == (0, 5 * 40)
    fetched = [call[0].rpartition("/")[2] for call in calls]
    assert "shard-0001.tar" not in fetched  # the first one is looked at; the last one could have had more
    assert contents(memory) == undisturbed(tmp_path, files, model)


def test_an_upload_that_fails_for_good_is_made_up_for(memory, tmp_path, monkeypatch):
    files, model = shards(3), write_refiner(tmp_path)
    put(memory, files)
    arguments = ("memory://in", "memory://out", model, "--no-check", "--report", tmp_path / "report")
    breaking(monkeypatch, "put_file", range(2, 100))
    assert "memory://out/shard-0001.tar: cannot be written" in error_of(refine(*arguments))
    monkeypatch.undo()
    assert refine(*arguments).exit_code == 0
    assert contents(memory) == undisturbed(tmp_path, files, model)


def test_an_archive_that_comes_short_is_not_refined(memory, tmp_path, monkeypatch):
    put(memory, shards())
    monkeypatch.setattr(Store, "_size", lambda *_: 10**6)
    line = error_of(refine("memory://in", tmp_path / "out", write_refiner(tmp_path), "--no-check"))
    assert "of 1,000,000 bytes); run the same command again" in line


def test_a_broken_archive_is_carried_and_named_and_the_rest_goes_on(memory, tmp_path):
    files = shards() | {"shard-0001.tar": b"no archive" * 100, "shard-0002.tar.gz": b"\x1f\x8bno gzip"}
    put(memory, files)
    code, result = refine_json("memory://in", tmp_path / "out", write_refiner(tmp_path), "--no-check")
    assert (code, result["refined"]) == (3, 2 * COUNT)
    assert any("shard-0001.tar" in line for line in result["not_carried"])


def test_only_a_few_archives_lie_on_this_machine_at_a_time(memory):
    put(memory, shards(9, 2))
    source = open_address("memory://in")
    held = [len(source._files._held._open) for entry in source.stream() if isinstance(entry, Sample)]
    assert len(held) == 18
    assert max(held) <= _remote.HELD_ARCHIVES + 1


def test_labels_beside_the_archives_are_found(memory, tmp_path):
    put(memory, shards(2, 20))
    images = [{"id": i, "file_name": f"{i:04d}.png", "width": 64, "height": 48} for i in range(40)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [20, 10, 20, 20]} for i in range(40)]
    coco = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "disc"}]}
    memory.pipe_file("/in/zz_annotations.json", json.dumps(coco).encode())
    code, result = refine_json("memory://in", tmp_path / "out", write_refiner(tmp_path))
    assert code == 0
    assert any("box" in name or "disc" in name for name in result["drift"]), result["drift"]
    assert (tmp_path / "out/zz_annotations.json").exists()


IN, OUT = "memory://in", "memory://out"
REPORT = ("--report", "report")


@pytest.mark.parametrize(
    ("source", "out", "options", "code", "message"),
    [
        ("synth", OUT, REPORT, 2, "what goes to an address is tar archives, and synth is folder"),
        ("gaze.h5", OUT, REPORT, 2, "what goes to an address is tar archives, and gaze.h5 is hdf5"),
        (IN, OUT, (), 2, "give --report FOLDER too"),
        (
            "memory://in/shard-0001.tar",
            "out",
            ("--shard", "1/2"),
            2,
            "--shard 1/2: all samples are in one file, shard-0001.tar",
        ),
        (IN, "memory://taken", REPORT, 1, "memory://taken: is not empty"),
        (IN, "https://127.0.0.1:1/out", REPORT, 2, "cannot be written to over HTTP"),
        (IN, IN, REPORT, 2, "in, around or beside the input memory://in"),
        (IN, "memory://in/out", REPORT, 2, "in, around or beside the input memory://in"),
        ("memory://in/deep", "memory://in", REPORT, 2, "in, around or beside the input memory://in/deep"),
        ("memory://in/*.tar", "memory://in/", REPORT, 2, "in, around or beside the input memory://in/*.tar"),
        (IN, "-", (), 2, "cat SHARDS"),
        ("nosuch://in", "out", (), 2, "nosuch://in: Protocol not known: nosuch; expected s3://"),
        ("memory://none", "out", (), 1, "memory://none: no tar archives (found nothing)"),
        ("memory://texts", "out", (), 1, "memory://texts: no images in its archives"),
        ("memory://in/*/a.tar", "out", (), 2, "behind the last / only"),
        ("memory://in/{a,b}.tar", "out", (), 2, "expected a range of numbers in braces"),
        ("memory://in/{5..2}.tar", "out", (), 2, "expected a range that goes up"),
    ],
)
def test_what_cannot_be_is_one_line(source, out, options, code, message, memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(memory, shards(2, 2))
    put(memory, {"a.tar": archive([("a.txt", b"1")])}, "/texts")
    put(memory, {"a.tar": b"x"}, "/taken")
    write_scenes(tmp_path / "synth", 2)
    write_gaze(tmp_path / "gaze.h5", 2)
    done = refine(source, out, write_refiner(tmp_path), *options)
    assert message in error_of(done)
    assert done.exit_code == code


def test_a_report_of_a_job_that_never_began_opens_no_full_address(memory, tmp_path):
    files, model = shards(2, 2), write_refiner(tmp_path)
    put(memory, files)
    put(memory, {"other.tar": b"x"}, "/taken")
    report = ("--no-check", "--report", tmp_path / "report")
    assert refine(IN, OUT, write_refiner(tmp_path, "fails"), *report).exit_code == 1
    assert "memory://taken: is not empty" in error_of(refine(IN, "memory://taken", model, *report))
    assert contents(memory, "/in") == files


def test_an_output_inside_the_input_is_refused_also_as_a_path(tmp_path):
    source, model = tmp_path / "in", write_refiner(tmp_path)
    source.mkdir()
    for name, data in shards(2, 2).items():
        (source / name).write_bytes(data)
    done = refine(source, f"file://{source}/sub", model, "--no-check", "--report", tmp_path / "report")
    assert "lies inside the input" in error_of(done)
    done = refine(f"file://{source}", source / "sub", model, "--no-check")
    assert "lies inside the input" in error_of(done)
    assert [local_path(each) for each in ("local", "file", "s3://local/in")] == [None] * 3


def test_names_with_signs_are_what_they_say(memory, tmp_path):
    files = {f"{name}.tar": data for name, data in zip(("a#1", "b?2", "c:3 d"), shards().values(), strict=True)}
    files |= {".gitattributes": b"hidden", "q?.txt": b"a sign"}
    put(memory, files, "/in#1")
    memory.pipe_file("/out/other.tar", b"x")
    model, report = write_refiner(tmp_path), ("--no-check", "--report", tmp_path / "report")
    done = refine("memory://in#1", "memory://out#2", model, *report)
    assert done.exit_code == 0, done.stderr
    assert contents(memory, "/out#2") == undisturbed(tmp_path, files, model)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("shard-000?.tar", ["shard-0000.tar", "shard-0001.tar", "shard-0002.tar"]),
        ("shard-{0001..0009}*", ["shard-0001.tar", "shard-0002.tar"]),
    ],
)
def test_patterns_of_one_sign_and_with_ranges(pattern, names, memory):
    put(memory, shards(3, 2))
    found = [entry.image for entry in open_address(f"{IN}/{pattern}").stream() if isinstance(entry, Sample)]
    assert list(dict.fromkeys(image.split("/")[0] for image in found)) == names


def test_over_http_names_are_written_as_addresses_are(web, tmp_path):
    folder, address = web
    data = shards(1)["shard-0000.tar"]
    (folder / "my shard#1.tar").write_bytes(data)
    for i, what in enumerate(["", "/my *.tar", "/my%20shard%231.tar"]):
        done = refine(address + what, tmp_path / f"out{i}", write_refiner(tmp_path), "--no-check")
        assert done.exit_code == 0, done.stderr
        assert list(tree_of(tmp_path / f"out{i}")) == ["my shard#1.tar"]


def test_folder_markers_and_links_of_listings_are_no_files(memory, monkeypatch):
    put(memory, shards(1))
    store = Store(IN)
    listed = ["/in/", "/in/sub/", "/in/shard-0000.tar"]
    monkeypatch.setattr(store._system, "find", lambda _: listed)
    assert store.files() == ["shard-0000.tar"]
    web = Store("http://127.0.0.1:1/in")
    monkeypatch.setattr(
        web._system, "find", lambda _: [f"{web._base}/{name}" for name in ("?C=N;O=D", "", "a%20b.tar")]
    )
    assert web.files() == ["a b.tar"]


@pytest.mark.slow
def test_what_was_lost_of_archives_that_are_done_is_not_forgotten(memory, tmp_path, monkeypatch):
    files, model = shards(4, each=40), write_refiner(tmp_path)
    linked = io.BytesIO(files["shard-0001.tar"])
    with tarfile.open(fileobj=linked, mode="a") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    put(memory, files | {"shard-0001.tar": linked.getvalue()})
    monkeypatch.setattr(_remote, "HEAD_SAMPLES", 32)
    arguments = (IN, OUT, model, "--report", tmp_path / "report")
    code, first = refine_json(*arguments)
    picture = (tmp_path / "report/.refinery/worst.png").read_bytes()
    assert (code, len(first["not_carried"])) == (3, 1)
    code, again = refine_json(*arguments)
    assert (code, again["not_carried"]) == (3, first["not_carried"])
    assert (tmp_path / "report/.refinery/worst.png").read_bytes() == picture


def test_an_archive_that_cannot_be_unpacked_is_carried_and_the_rest_goes_on(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(_tar_files, "SPARED_BYTES", 0)
    put(memory, shards() | {"shard-0001.tar": gzip.compress(bytes(20_000_000))})
    code, result = refine_json(IN, tmp_path / "out", write_refiner(tmp_path), "--no-check")
    assert (code, result["refined"]) == (3, 2 * COUNT)
    assert (tmp_path / "out/shard-0001.tar").stat().st_size < 100_000


def test_variants_of_archives_go_to_an_address(memory, tmp_path):
    source, model = tmp_path / "in", write_artifact(tmp_path / "model", noisy(), latent=1, deterministic=False)
    source.mkdir()
    for name, data in shards(2, 2).items():
        (source / name).write_bytes(data)
    options = ("--variants", 2, "--no-check")
    assert refine(source, OUT, model, *options, "--report", tmp_path / "report").exit_code == 0
    assert refine(source, tmp_path / "local", model, *options).exit_code == 0
    assert contents(memory) == tree_of(tmp_path / "local")


def test_part_of_a_batch_is_not_the_whole_report(tmp_path):
    source, model = tmp_path / "in", write_refiner(tmp_path)
    source.mkdir()
    for name, data in shards(2, 2).items():
        (source / name).write_bytes(data)
    part = ("--no-check", "--report", tmp_path / "report", "--shard")
    for index, finished in ((1, False), (2, True)):
        done = refine(source, f"file://{tmp_path}/out", model, *part, f"{index}/2")
        assert done.exit_code == 0, done.stderr
        assert json.loads(refinery("inspect", tmp_path / "report", "--json").stdout)["finished"] is finished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("http://h/a.tar?sig=SECRET", "SECRET"),
        ("https://admin:p@SECRET@h/a.tar", "SECRET"),
        ("https://admin:p@SECRET@h/a.tar", "admin"),
    ],
)
def test_no_message_shows_a_secret(address, secret, tmp_path):
    done = refine(address, "-", write_refiner(tmp_path))
    assert done.exit_code in (1, 2)
    assert secret not in done.stderr
    assert secret not in shown(address)


def test_secrets_in_a_stores_own_words_are_hidden():
    store = Store("memory://k:sEcReT@bucket/in")
    assert "sEcReT" not in store.address
    assert store._without_secrets('Invalid bucket name "k:sEcReT@bucket"') == 'Invalid bucket name "...@bucket"'


def test_the_report_is_a_folder_on_this_machine(memory, tmp_path):
    put(memory, shards(1))
    done = refine(IN, OUT, write_refiner(tmp_path), "--report", "memory://report")
    assert "give a folder on this machine" in error_of(done)


def test_other_commands_say_that_addresses_are_for_refine():
    for command in (["inspect", IN], ["train", "--real", IN, "--synthetic", IN]):
        assert "addresses are for refine; copy it to this machine first" in error_of(refinery(*command))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    line = error_of(refine("memory://in", tmp_path / "out", write_refiner(tmp_path)))
    assert "pip install 'refinery[remote]'" in line


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path):
    files, model, count = shards(10, each=100), write_refiner(tmp_path, "slow"), 1000
    source, draw = tmp_path / "store", random.Random(0)
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)

    def command(turn: int) -> list[object]:
        ends = [f"file://{source}", "--out", f"file://{tmp_path}/out{turn}", "--report", tmp_path / f"report{turn}"]
        return ["refine", *ends, "--model", model, "--provider", "cpu", "--no-check"]

    began = time.monotonic()
    job = start(*command(0))
    job.communicate()
    assert job.returncode == 0
    whole_s, expected, reached = time.monotonic() - began, tree_of(tmp_path / "out0"), []
    for turn in range(1, 7):
        noted = tmp_path / f"report{turn}/.refinery/manifest.jsonl"
        for _ in range(3):
            job = start(*command(turn))
            time.sleep(whole_s * draw.uniform(0.3, 0.7))
            os.killpg(job.pid, signal.SIGKILL)
            job.communicate()
            reached.append(noted.read_bytes().count(b"\n") if noted.exists() else 0)
        job = start(*command(turn))
        _, said = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert tree_of(tmp_path / f"out{turn}") == expected
    assert sum(0 < lines < count for lines in reached) >= 3, reached
