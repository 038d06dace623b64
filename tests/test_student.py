"""A student learns what a slow refiner does, is compared with it, and refused where it does not agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from stream import refinery
from test_export import write_checkpoint
from tiny import write_images

from refinery import artifact
from refinery.config import ExportConfig
from refinery.errors import DatasetError, ModelError, UsageError
from refinery.image import to_float
from refinery.jobs.export import export
from refinery.networks import resnet_refiner
from refinery.training import checkpoint
from refinery.training.distillation import agreement, answers_of, distil, new_student

HW = (24, 32)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("synthetic"), 60, HW, labels=True)


def run_of(folder, synthetic, **changes):
    """A run whose refiner has random weights and that remembers its images."""
    write_checkpoint(folder, **{"latent": 2, "tone": True, **changes})
    path = folder / "checkpoints" / "best.safetensors"
    checkpoint.save(path, {**checkpoint.load(path), "paths": {"synthetic": [str(synthetic), str(synthetic)]}})
    return folder


@pytest.fixture(scope="module")
def taught(tmp_path_factory, synthetic):
    """A run with a student, and what exporting it told."""
    run = run_of(tmp_path_factory.mktemp("run"), synthetic)
    return run, export(ExportConfig(run=str(run), student=True, student_steps=150, student_levels=30.0))


def scenes(count: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    coarse = [generator.uniform(0, 255, (6, 8, 1)) for _ in range(count)]
    return [to_float(np.kron(one, np.ones((4, 4, 1))).astype(np.uint8)) for one in coarse]


def test_a_student_comes_nearer_to_its_teacher_than_the_images_are():
    torch.manual_seed(0)
    teacher = resnet_refiner.build(1, width=8, blocks=2).eval()
    torch.nn.init.normal_(teacher.last.weight, std=0.2)
    student = new_student(teacher, 1, 1)
    images, keys = scenes(48), [str(i) for i in range(48)]
    distil(teacher, student, images, keys, 200, seed=0)
    unseen, names = scenes(8, seed=1), [f"u{i}" for i in range(8)]
    expected, learnt = (answers_of(one, unseen, names, 0, 8) for one in (teacher, student))
    assert agreement(expected, unseen).mean_levels > 20
    assert agreement(expected, learnt).mean_levels < 0.3 * agreement(expected, unseen).mean_levels


def test_agreement_is_in_levels_of_255():
    flat = np.zeros((4, 5, 1), np.float32)
    other = flat.copy()
    other[0, 0] = 1.0
    one = agreement([flat], [other])
    assert one.mean_levels == pytest.approx(127.5 / 20, rel=1e-3)
    assert one.p99_levels > 90


def test_the_same_seed_gives_the_same_student():
    torch.manual_seed(0)
    teacher = resnet_refiner.build(1, width=8, blocks=1).eval()
    torch.nn.init.normal_(teacher.last.weight, std=0.2)
    weights = []
    for _ in range(2):
        torch.manual_seed(1)
        student = new_student(teacher, 1, 1)
        distil(teacher, student, scenes(8), [str(i) for i in range(8)], 3, seed=5)
        weights.append(student.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_manifest_says_of_whom_it_is_and_how_far_they_agree(taught):
    run, result = taught
    manifest = artifact.load(run / "student").manifest
    assert result["artifact"] == str(run / "student")
    assert manifest.student["of"] == {"method": "simgan", "step": 7}
    assert manifest.student["levels"]["mean_levels"] <= 30.0
    assert manifest.student["failed"].keys() == {"teacher", "student", "against_teacher"}
    assert (manifest.latent, manifest.size_multiple, manifest.student["images"]) == (2, 4, 12)
    assert manifest.check_thresholds["calibration.pairs"] == 12
    assert not (run / "artifact").exists()


def test_a_student_keeps_its_teachers_tone(taught):
    run, _ = taught
    states = [checkpoint.load(run / "checkpoints" / f"{name}.safetensors")["refiner"] for name in ("best", "student")]
    tones = [name for name in states[0] if name.startswith("tone.")]
    assert tones
    assert all(torch.equal(states[0][name], states[1][name]) for name in tones)


def test_a_student_refines(taught, synthetic, tmp_path):
    run, _ = taught
    done = refinery("refine", synthetic, "--out", tmp_path / "refined", "--model", run / "student", "--json")
    assert done.exit_code in (0, 3)
    assert json.loads(done.stdout)["refined"] == 60


def test_a_student_that_does_not_agree_is_refused(synthetic, tmp_path):
    run = run_of(tmp_path, synthetic)
    with pytest.raises(ModelError, match=r"levels of 255 apart from its teacher, more than student_levels = 0\.001"):
        export(ExportConfig(run=str(run), student=True, student_steps=2, student_levels=0.001))
    assert not (run / "student").exists()
    assert not (run / "checkpoints" / "student.safetensors").exists()


def test_where_the_images_are_gone_is_asked_for(tmp_path):
    run = write_checkpoint(tmp_path)
    with pytest.raises(UsageError, match="say where with --synthetic"):
        export(ExportConfig(run=str(run), student=True))


@pytest.mark.parametrize(
    ("count", "channels", "message"),
    [(20, 1, r"20 usable image\(s\); a student needs 40"), (60, 3, r"3 channel\(s\), the refiner takes 1")],
)
def test_images_that_cannot_teach(tmp_path, count, channels, message):
    images = write_images(tmp_path / "images", count, HW, channels=channels)
    run = write_checkpoint(tmp_path / "run")
    with pytest.raises(DatasetError, match=message):
        export(ExportConfig(run=str(run), student=True, synthetic=str(images)))


def test_a_teacher_of_other_channels_has_no_student():
    with pytest.raises(ModelError, match="makes 3 of 1"):
        new_student(resnet_refiner.build(1, width=8, blocks=1), 1, 3)


def test_a_student_goes_into_a_folder(synthetic, tmp_path):
    run = run_of(tmp_path / "run", synthetic)
    done = refinery("export", run, "--student", "--out", tmp_path / "student.onnx")
    assert done.exit_code == 2
    assert "a student goes into a folder" in done.stderr
