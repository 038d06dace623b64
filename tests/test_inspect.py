"""`refinery inspect`: what a dataset, a run, an artifact and a refined dataset are worth."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import photo, png
from PIL import Image
from stream import error_of, refine, refinery, tree_of, write_gaze, write_refiner, write_scenes

DATASET_KEYS = {"kind", "layout", "samples", "images", "labels", "problems"}
REALISM_KEYS = {"synthetic", "refined", "floor", "ci95"}
DRIFT_KEYS = {"unit", "median", "p95", "mean", "ci95", "coverage", "power", "failed", "failed_ci95", "moved", "iou"}


def inspect(path: Path, *options: object) -> dict:
    """The JSON object that is all of stdout."""
    code, found = inspect_with_code(path, *options)
    assert code == 0
    return found


def inspect_with_code(path: Path, *options: object) -> tuple[int, dict]:
    done = refinery("inspect", path, "--json", *options)
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def require_picture(path: Path | str) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 50
        picture.load()


@pytest.fixture
def refined(tmp_path) -> tuple[Path, Path]:
    """A synthetic dataset and what refinery made of it."""
    source = write_scenes(tmp_path / "synth", 10)
    assert refine(source, tmp_path / "refined", write_refiner(tmp_path)).exit_code == 0
    return source, tmp_path / "refined"


@pytest.fixture
def real(tmp_path) -> Path:
    """Real images of another size."""
    (tmp_path / "real").mkdir()
    for i in range(20):
        (tmp_path / "real" / f"{i}.png").write_bytes(png(photo(i, 60, 70, 1) // 2 + 60))
    return tmp_path / "real"


# Datasets


def test_a_folder(tmp_path):
    source = write_scenes(tmp_path / "synth", 5)
    (source / "broken.png").write_bytes(b"")
    (source / "0001.json").write_text("{")
    before = tree_of(tmp_path)
    found = inspect(source)
    assert found.keys() >= DATASET_KEYS
    assert (found["kind"], found["layout"], found["samples"]) == ("dataset", "folder", 6)
    assert found["labels"]["disc.center"].items() >= {"type": "keypoint", "count": 4, "unit": "px"}.items()
    assert "geometry" in found["labels"]["disc.center"]["checks"]
    assert found["images"]["unreadable"] == 1
    assert [problem.split(":")[0] for problem in found["problems"]] == ["broken.png", "0001.json"]
    assert tree_of(tmp_path) == before


def test_an_hdf5_file(tmp_path):
    found = inspect(write_gaze(tmp_path / "gaze.h5", 6))
    assert (found["kind"], found["layout"], found["samples"]) == ("dataset", "hdf5", 6)
    assert found["labels"]["look_vec"]["count"] == 6


def test_text_for_people_has_no_colour_codes(tmp_path):
    source = write_scenes(tmp_path / "synth", 3)
    (source / "0001.json").write_text('{"\\u001b[31mred\\ud800": [1, 2, 3]}')
    done = refinery("inspect", source)
    assert done.exit_code == 0
    assert "folder layout, 3 samples\n" in done.stdout
    assert "\x1b" not in done.stdout
    assert "red" in done.stdout


def test_realism_of_a_dataset_alone(tmp_path, real):
    found = inspect(write_scenes(tmp_path / "synth", 10), "--real", real)
    assert len(found["realism"]) >= 2
    for numbers in found["realism"].values():
        assert numbers.keys() >= REALISM_KEYS
        assert numbers["refined"] is None
        assert numbers["synthetic"] >= 0


def test_a_picture_of_a_dataset_where_it_is_asked_for(tmp_path, real):
    source = write_scenes(tmp_path / "synth", 10)
    found = inspect(source, "--real", real, "--picture", tmp_path / "new folder" / "grid.png")
    require_picture(found["picture"])
    assert found["picture"] == str(tmp_path / "new folder" / "grid.png")


def test_too_few_images_for_realism_is_one_line(tmp_path, real):
    done = refinery("inspect", write_scenes(tmp_path / "synth", 2), "--real", real)
    assert done.exit_code == 1
    assert "too few to compare" in error_of(done)


def test_no_readable_image_is_no_crash(tmp_path):
    (tmp_path / "synth").mkdir()
    (tmp_path / "synth" / "a.png").write_bytes(b"")
    found = inspect(tmp_path / "synth", "--picture", tmp_path / "grid.png")
    assert found["images"]["unreadable"] == 1
    assert "picture" not in found
    done = refinery("inspect", tmp_path / "synth", "--real", tmp_path / "synth")
    assert done.exit_code == 1
    assert "no readable image" in error_of(done)


# Refined datasets


def test_a_refined_dataset_remembers_its_source(refined, real):
    _, out = refined
    found = inspect(out, "--real", real)
    assert found["kind"] == "refined dataset"
    assert found["samples"] == 10
    assert found["verdicts"] == {"pass": 10, "fail": 0, "abstain": 0, "not_checkable": 0}
    assert found["drift"]["disc.center"].keys() >= DRIFT_KEYS
    assert all(numbers["refined"] is not None for numbers in found["realism"].values())
    assert found["picture"] == str(out / ".refinery" / "inspect.png")
    require_picture(found["picture"])


def test_a_refined_dataset_whose_source_is_gone(refined):
    source, out = refined
    shutil.rmtree(source)
    found = inspect(out)
    assert found["kind"] == "refined dataset"
    require_picture(found["picture"])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 3}'])
@pytest.mark.parametrize("name", ["job.json", "summary.json"])
def test_a_refined_dataset_whose_records_were_changed(refined, name, text):
    _, out = refined
    (out / ".refinery" / name).write_text(text)
    done = refinery("inspect", out)
    assert done.exit_code in (0, 1)
    assert done.exit_code == 0 or name in error_of(done)


def test_an_audit_says_the_same_as_refine_did(refined):
    source, out = refined
    kept = json.loads((out / ".refinery" / "summary.json").read_text())
    found = inspect(out, "--synthetic", source)
    assert found["verdicts"] == {f"{i:04d}": "pass" for i in range(10)}
    assert found["drift"] == kept["drift"]


def by_another_tool(source: Path, out: Path) -> Path:
    shutil.copytree(source, out)
    for path in out.glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2 + 40).save(path)
    return out


def test_an_audit_of_another_tools_work_finds_what_it_broke(tmp_path):
    source = write_scenes(tmp_path / "synth", 12)
    out = by_another_tool(source, tmp_path / "refined")
    (out / "0001.png").unlink()
    Image.open(source / "0002.png").resize((128, 96)).save(out / "0002.png")
    Image.open(out / "0003.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(out / "0003.png")
    shutil.copy(out / "0005.png", out / "0004.png")
    (out / "0006.json").unlink()
    (out / "0007.json").write_text('{"disc": {"center": [1, 2], "radius": 9}}')
    (out / "0008.png").write_bytes(b"")
    code, found = inspect_with_code(out, "--synthetic", source)
    failed = {key for key, verdict in found["verdicts"].items() if verdict == "fail"}
    assert code == 3
    assert failed == {f"000{i}" for i in (1, 2, 3, 4, 6, 7, 8)}
    assert {found["verdicts"][key] for key in ("0000", "0005", "0009", "0010", "0011")} == {"pass"}
    for name in ("0001.png", "0002.png", "0006.json", "0007.json", "0008.png"):
        assert any(name in problem for problem in found["problems"]), name
    assert found["kind"] == "refined dataset"


def as_jpeg(source: Path, out: Path) -> Path:
    """What many tools leave: colour JPEG images, flat, and no annotations."""
    out.mkdir()
    for path in source.glob("*.png"):
        pixels = np.asarray(Image.open(path)) // 2 + 40
        Image.fromarray(pixels).convert("RGB").save(out / f"{path.stem}.jpg", quality=95)
    return out


def test_two_paths_are_a_source_and_what_another_tool_made_of_it(tmp_path):
    source = write_scenes(tmp_path / "synth", 40)
    out = as_jpeg(source, tmp_path / "refined")
    (out / "0003.jpg").unlink()
    Image.open(out / "0005.jpg").resize((64, 64)).save(out / "0005.jpg")
    Image.open(out / "0007.jpg").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(out / "0007.jpg")
    shutil.copy(out / "0009.jpg", out / "extra.jpg")
    before = tree_of(tmp_path)
    code, found = inspect_with_code(source, out, "--html", tmp_path / "page.html")
    assert code == 3
    assert found["kind"] == "refined dataset"
    assert {key for key, verdict in found["verdicts"].items() if verdict == "fail"} == {"0003", "0005", "0007"}
    assert len(found["verdicts"]) == 40
    assert found["drift"]["disc.center"].keys() >= DRIFT_KEYS
    assert found["labels"]["disc.center"]["type"] == "keypoint"
    assert found["worst"][0]["key"] == "0007"
    lines = [
        f"0003.png: missing in the refined dataset {out}",
        "0005.png: 64x64 px in the refined dataset, 64x48 px in its source, which its labels are in; scale it back",
        f"extra.jpg: no such sample in {source}; not judged",
        "39 refined images have other channels than their source: compared as its",
        f"{out}: has no annotation files; its labels are those of {source}",
    ]
    assert found["problems"] == lines
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count('src="data:image/png;base64,') == 1
    assert '<h2 id="drift">Drift</h2>' in html
    assert '"key": "0007"' in html
    assert found["page"] == str(tmp_path / "page.html")
    assert tree_of(tmp_path) == before | {"page.html": html.encode()}


def test_an_audit_in_words(tmp_path):
    source = write_scenes(tmp_path / "synth", 40)
    out = as_jpeg(source, tmp_path / "refined")
    shutil.copy(out / "0001.jpg", out / "0000.jpg")
    done = refinery("inspect", source, out, "--picture", tmp_path / "p.png")
    assert done.exit_code == 3
    text = done.stdout
    assert "worst      0000.png: pairing looks like another image" in text
    assert "power      disc.center: detects " in text
    assert " power, " in text
    assert "checks: calibrated on 40 samples of this dataset to 1.0% false alarms" in done.stderr
    require_picture(tmp_path / "p.png")
    require_picture(tmp_path / "p-worst.png")


def test_an_audit_of_a_refined_dataset_in_folders_and_with_a_changed_shared_file(tmp_path):
    source = tmp_path / "synth"
    write_scenes(source / "a", 3)
    write_scenes(source / "b", 3)
    (source / "classes.txt").write_text("disc")
    shutil.copytree(source, tmp_path / "refined")
    (tmp_path / "refined" / "classes.txt").write_text("box")
    found = inspect(source, tmp_path / "refined")
    assert set(found["verdicts"].values()) == {"pass"}
    assert found["problems"] == ["classes.txt: differs from its source"]


def test_two_paths_and_a_source_are_one_too_many(tmp_path):
    source = write_scenes(tmp_path / "synth", 3)
    done = refinery("inspect", source, source, "--synthetic", source)
    assert done.exit_code == 2
    assert "inspect takes two paths, SYNTH REFINED, or one and --synthetic" in error_of(done)


def test_labels_may_be_left_out_or_named_in_the_toml(tmp_path):
    source = write_scenes(tmp_path / "synth", 3)
    toml = tmp_path / "c.toml"
    toml.write_text('[labels."disc.center"]\nignore = true\n[labels.disk]\ntype = "box"\n')
    found = inspect(source, "--config", toml)
    assert "disc.center" not in found["labels"]
    assert any("[labels.disk]" in problem for problem in found["problems"])
    toml.write_text('[labels."disc.center"]\ntype = "point"\n')
    done = refinery("inspect", source, "--config", toml)
    assert done.exit_code == 2
    assert "type: got 'point', expected one of class, number" in error_of(done)


def test_an_audit_says_which_name_in_the_toml_no_label_has(tmp_path):
    source = write_scenes(tmp_path / "synth", 3)
    (source / "all.json").write_text("{")
    toml = tmp_path / "c.toml"
    toml.write_text('[labels.disk]\ntype = "box"\n')
    found = inspect(source, source, "--config", toml)
    assert any("[labels.disk]: no label of this name was found" in problem for problem in found["problems"])
    assert any(problem.startswith("all.json: not JSON") for problem in found["problems"])


def test_an_audit_of_good_work_by_another_tool(tmp_path):
    source = write_scenes(tmp_path / "synth", 6)
    found = inspect(by_another_tool(source, tmp_path / "refined"), "--synthetic", source)
    assert set(found["verdicts"].values()) == {"pass"}


def test_an_audit_calls_nothing_failed_that_was_broken_before(tmp_path):
    source = write_scenes(tmp_path / "synth", 6)
    (source / "0001.png").write_bytes(b"")
    out = tmp_path / "refined"
    assert refine(source, out, write_refiner(tmp_path)).exit_code == 3
    found = inspect(out, "--synthetic", source)
    assert found["verdicts"]["0001"] == "not_checkable"
    assert any("0001.png" in problem for problem in found["problems"])


def test_an_audit_of_hdf5(tmp_path):
    source = write_gaze(tmp_path / "gaze.h5", 6)
    assert refine(source, tmp_path / "out", write_refiner(tmp_path)).exit_code == 0
    gc.collect()  # lets go of the file, which the job held open
    with h5py.File(tmp_path / "out" / "gaze.h5", "r+") as file:
        file["look_vec/2"][0] += 1
        file["image/3"][...] = file["image/3"][()][:, ::-1]
    code, found = inspect_with_code(tmp_path / "out", "--synthetic", source)
    failed = {key for key, verdict in found["verdicts"].items() if verdict == "fail"}
    assert code == 3
    assert failed == {"gaze.h5/image/2", "gaze.h5/image/3"}


def test_an_audit_against_the_wrong_source_fails_every_sample(tmp_path, refined):
    _, out = refined
    other = write_scenes(tmp_path / "other", 3)
    for path in other.iterdir():
        path.rename(path.with_name("other " + path.name))
    code, found = inspect_with_code(out, "--synthetic", other)
    assert code == 3
    assert set(found["verdicts"].values()) == {"fail"}


def test_max_drift_of_an_audit(refined):
    source, out = refined
    found = inspect(out, "--synthetic", source, "--max-drift", "disc.centre=3px")
    assert "no label named 'disc.centre'" in found["problems"][-1]
    assert refinery("inspect", out, "--synthetic", source, "--max-drift", "far").exit_code == 2


def test_a_run_that_was_interrupted_can_be_inspected(refined):
    _, out = refined
    (out / ".refinery" / "summary.json").unlink()
    (out / "0009.png").unlink()
    code, found = inspect_with_code(out)
    assert code == 3  # an image that the manifest names is gone
    assert found["verdicts"]["0009"] == "fail"


# Artifacts and runs


def test_an_artifact(tmp_path):
    found = inspect(write_refiner(tmp_path, "brighter", 3))
    assert found["kind"] == "artifact"
    assert found["manifest"]["channels"] == 3
    assert "3 channel(s)" in refinery("inspect", write_refiner(tmp_path, "brighter", 3)).stdout


def write_run(root: Path, finished: bool = True) -> Path:
    """What a training run leaves, as far as inspect reads it."""
    (root / "checkpoints").mkdir(parents=True)
    (root / "samples").mkdir()
    (root / "samples" / "000010.png").write_bytes(png(photo()))
    (root / "samples" / "000020.png").write_bytes(png(photo()))
    records = [{"step": s, "discriminator": 1 / s, "refiner_adversarial": s, "images_per_s": 9.0} for s in (10, 20)]
    (root / "stats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + '{"step": 30, "dis')
    if finished:
        summary = {"run": str(root), "steps": 20, "images_per_s": 9.0, "best_step": 20, "stopped_by": "steps"}
        (root / "summary.json").write_text(json.dumps(summary | {"artifact": "a", "drift": {}, "realism": {}}))
    return root


@pytest.mark.parametrize("finished", [True, False])
def test_a_run(tmp_path, finished):
    run = write_run(tmp_path / "run", finished)
    found = inspect(run)
    assert (found["kind"], found["steps"], found["finished"]) == ("run", 20, finished)
    assert found["grid"] == str(run / "samples" / "000020.png")
    require_picture(found["curves"])
    text = refinery("inspect", run).stdout
    assert ("best step 20" in text) is finished
    assert ("refinery train --resume" in text) is not finished


def test_a_run_of_which_nothing_is_there_yet(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    found = inspect(tmp_path / "run")
    assert (found["steps"], found["curves"], found["grid"], found["summary"]) == (0, None, None, None)


def test_a_run_whose_summary_was_changed_is_one_line(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "summary.json").write_text("{")
    done = refinery("inspect", run)
    assert done.exit_code == 1
    assert "summary.json: not readable as JSON" in error_of(done)


# Nonsense

NONSENSE = {
    "nothing": "no such file or folder; check the path",
    "empty": "the folder is empty",
    "notes.txt": "not a dataset",
    "garbage.onnx": "not an ONNX file",
    "nothing.onnx": "no model there",
}


@pytest.mark.parametrize(("name", "message"), NONSENSE.items(), ids=NONSENSE)
def test_nonsense_is_one_line(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("a")
    (tmp_path / "garbage.onnx").write_bytes(b"\0garbage")
    done = refinery("inspect", tmp_path / name)
    assert done.exit_code == 1
    assert message in error_of(done)
    assert name in error_of(done)


@pytest.mark.parametrize("option", ["--real", "--synthetic"])
def test_nonsense_beside_a_good_dataset_is_one_line(tmp_path, option):
    done = refinery("inspect", write_scenes(tmp_path / "synth", 10), option, tmp_path / "nothing")
    assert done.exit_code == 1
    assert "nothing: no such file or folder" in error_of(done)


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("precious")
    done = refinery("inspect", write_scenes(tmp_path / "synth", 3), "--picture", tmp_path / "file" / "grid.png")
    assert done.exit_code == 1
    assert "the picture cannot be written" in error_of(done)
