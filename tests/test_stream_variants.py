"""`--variants` of what is read once: tar streams and archives at addresses."""

from __future__ import annotations

import shutil

import pytest
from conftest import png
from models import write_artifact
from remote import breaking, contents, put, shards, undisturbed
from stream import error_of, manifest, refine, refine_json, scene, tree_of
from test_noise import noisy
from test_pipe import archive, members, pipe, scenes

from refinery.formats import _pipe, _remote

THREE = ("--variants", 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("model") / "model", noisy(), latent=1, deterministic=False)


def as_folder(tmp_path, model, files: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """What a folder of the same files becomes: samples have the same keys there, and so the same noise."""
    for name, data in files:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    assert refine(tmp_path / "in", tmp_path / "folder", model, *THREE).exit_code == 0
    return tree_of(tmp_path / "folder")


@pytest.mark.slow
@pytest.mark.parametrize("loose", [[], [("about.txt", b"1" * 700), ("z/" + "long" * 40 + ".txt", b"2")]])
def test_a_stream_becomes_what_a_folder_becomes(loose, model, tmp_path):
    files = [*loose[:1], *scenes(), *loose[1:]]
    done = pipe(archive(files), model, *THREE)
    assert done.returncode == 0, done.stderr.decode()
    found = members(done.stdout)
    assert dict(found) == as_folder(tmp_path, model, files)
    assert len(found) == len(dict(found))
    assert [name for name, _ in found if "_v" not in name] == [name for name, _ in files]
    third = [f"0003{mark}.{end}" for mark in ("", "_v1", "_v2") for end in ("png", "json", "bin")]
    assert [name for name, _ in found if name.startswith("0003")] == third


@pytest.mark.slow
def test_a_stream_goes_into_a_folder_with_every_variants_files(model, tmp_path):
    data = archive(scenes())
    done = pipe(data, model, *THREE, out=tmp_path / "out")
    assert done.returncode == 0, done.stderr.decode()
    assert tree_of(tmp_path / "out") == dict(members(pipe(data, model, *THREE).stdout))


@pytest.mark.slow
def test_archives_of_an_address_become_those_of_a_folder(model, memory, tmp_path, monkeypatch):
    """Also where the way breaks: archives that are done are not fetched again, and the others end the same."""
    files = shards(5, 20)
    put(memory, files)
    monkeypatch.setattr(_remote, "HEAD_SAMPLES", 16)
    arguments = ("memory://in", "memory://out", model, *THREE, "--report", tmp_path / "report")
    breaking(monkeypatch, "get_file", range(5, 100))
    assert "cannot be fetched" in error_of(refine(*arguments))
    assert contents(memory)
    calls = breaking(monkeypatch, "get_file", ())
    code, result = refine_json(*arguments)
    assert (code, result["samples"]) == (0, 5 * 20 * 3)
    assert not any("shard-0001" in call[0] for call in calls)
    assert contents(memory) == undisturbed(tmp_path, files, model, *THREE)


LONG = "b" * 194
ALONE = {
    "several dots": (["a.b.png", "a.b.json"], "a.b.png: a name with several dots"),
    "no room": ([f"{LONG}.png", f"{LONG}.txt"], "no room for _v1 in the name bbb"),
    "no room for a sidecar": (["c.png", f"c.{LONG[:191]}.txt"], "no room for _v1 in the name c.bbb"),
    "several images": (["d.jpg", "d.png", "d.json"], "d.jpg: one of several images"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("names", "message"), ALONE.values(), ids=ALONE)
def test_a_sample_that_no_variant_can_stand_beside_is_carried_and_the_rest_goes_on(
    names, message, model, tmp_path, monkeypatch, memory
):
    monkeypatch.setattr(_remote, "HEAD_SAMPLES", 3)
    files = scenes()
    late = [(name, files[0][1]) for name in names]
    put(memory, {"a.tar": archive([*files[:12], *late, *files[12:]]), "b.tar": archive(files)})
    code, result = refine_json("memory://in", tmp_path / "out", model, *THREE)
    images = sum(not name.endswith((".json", ".txt")) for name in names)
    assert (code, result["samples"], result["rejected"]) == (3, 2 * 12 * 3 + images, images)
    errors = [line["error"] for line in manifest(tmp_path / "out").values() if line["status"] == "rejected"]
    assert any(message in error for error in errors)
    first, second = (members((tmp_path / "out" / name).read_bytes()) for name in ("a.tar", "b.tar"))
    assert [name for name, _ in first] == [
        *(name for name, _ in second[:36]), *names, *(name for name, _ in second[36:])
    ]  # fmt: skip
    assert [data for name, data in first if name in names] == [data for _, data in late]
    for noted in (11, 13, 30):
        broken = tmp_path / f"broken{noted}"
        shutil.copytree(tmp_path / "out", broken)
        own = broken / ".refinery"
        lines = (own / "manifest.jsonl").read_text().splitlines(keepends=True)
        (own / "manifest.jsonl").write_text("".join(lines[:noted]))
        (own / "summary.json").unlink()
        assert refine("memory://in", broken, model, *THREE).exit_code == 3
        assert tree_of(broken) == tree_of(tmp_path / "out")
        assert (own / "manifest.jsonl").read_text() == "".join(lines)


@pytest.mark.slow
def test_a_long_name_of_a_loose_file_needs_no_room(model):
    files = [*scenes(), (f"z/{LONG}.txt", b"loose")]
    done = pipe(archive(files), model, *THREE)
    assert done.returncode == 0, done.stderr.decode()
    assert dict(members(done.stdout))[f"z/{LONG}.txt"] == b"loose"


@pytest.mark.slow
def test_a_carried_sample_of_a_pipe_is_listed(model, tmp_path):
    image = png(scene(0, size_hw=(16, 16))[0])
    names = [*(f"{i:03d}.png" for i in range(_pipe.HEAD_SAMPLES)), "a.b.png", "c.png"]
    data = archive([(name, image) for name in names])
    done = pipe(data, model, *THREE, "--no-check", "--report", tmp_path)
    assert done.returncode == 3, done.stderr.decode()
    found = members(done.stdout)
    assert [name for name, _ in found[-4:]] == ["a.b.png", "c.png", "c_v1.png", "c_v2.png"]
    assert len(found) == 3 * (_pipe.HEAD_SAMPLES + 1) + 1
    assert dict(found)["a.b.png"] == image
    assert "a.b.png: a name with several dots" in manifest(tmp_path)["a.b.png"]["error"]


def test_a_name_that_a_variant_may_have_stops_the_job_behind_what_came_before(model, tmp_path, monkeypatch, memory):
    monkeypatch.setattr(_remote, "HEAD_SAMPLES", 3)
    files = scenes()
    put(memory, {"a.tar": archive([*files[:12], ("0004_v2.png", files[0][1]), *files[12:]])})
    done = refine("memory://in", tmp_path / "out", model, *THREE)
    assert "0004_v2.png: a name such as variants get" in error_of(done)
    assert done.exit_code == 2
    lines = (tmp_path / "out/.refinery/manifest.jsonl").read_text().splitlines()
    assert len(lines) in (3 * 3, 4 * 3)
    assert refine("memory://in", tmp_path / "plain", model).exit_code in (0, 3)


@pytest.mark.slow
def test_names_of_the_beginning_choose_the_mark(model):
    files = [(f"scene_v7_{name}", data) for name, data in scenes()]
    done = pipe(archive(files), model, *THREE)
    assert done.returncode == 0, done.stderr.decode()
    assert "scene_v7_0001_look2.png" in dict(members(done.stdout))
