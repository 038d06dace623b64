"""Refiners with noise, with sizes of their own and with other channels out than in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import model, write_artifact
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tiny import Recorder

from refinery.artifact import Artifact, Manifest, load
from refinery.checks import CheckBatch, CheckContext, calibrate
from refinery.checks import colour as colour_check
from refinery.config import RefineConfig
from refinery.errors import UsageError
from refinery.jobs.refine import refine
from refinery.journal import Journal
from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.latent import latents_of
from refinery.runtime.session import open_session
from refinery.sample import Label, Pair, Sample

KEYS = ["a", "b", "folder/c", "\udcff"]


def noisy() -> bytes:
    """refined = 0.5 synthetic + 0.1 latent, one latent number an image."""
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    tenth = numpy_helper.from_array(np.array(0.1, np.float32), "tenth")
    nodes = [
        helper.make_node("Mul", ["synthetic", "half"], ["dark"]),
        helper.make_node("Mul", ["latent", "tenth"], ["small"]),
        helper.make_node("Unsqueeze", ["small", "axes"], ["wide"]),
        helper.make_node("Add", ["dark", "wide"], ["refined"]),
    ]
    inputs = [
        helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, ["b", 1, "h", "w"]),
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["b", 1]),
    ]
    return model(nodes, inputs=inputs, initialisers=[axes, tenth])


def colouring() -> bytes:
    """A gray image to a colour one: red as it was, green and blue half as bright."""
    nodes = [
        helper.make_node("Mul", ["synthetic", "half"], ["dark"]),
        helper.make_node("Concat", ["synthetic", "dark", "dark"], ["refined"], axis=1),
    ]
    outputs = [helper.make_tensor_value_info("refined", TensorProto.FLOAT, ["batch", 3, "height", "width"])]
    return model(nodes, outputs=outputs)


def colouring_elsewhere() -> bytes:
    """A gray image to a colour one, 3 px further to the left."""
    weights = np.zeros((3, 1, 7, 7), np.float32)
    weights[:, 0, 3, 6] = 1
    node = helper.make_node("Conv", ["synthetic", "weights"], ["refined"], pads=[3, 3, 3, 3])
    outputs = [helper.make_tensor_value_info("refined", TensorProto.FLOAT, ["batch", 3, "height", "width"])]
    return model([node], outputs=outputs, initialisers=[numpy_helper.from_array(weights, "weights")])


def write_gray(folder: Path, count: int = 6) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(generator.integers(60, 180, (16, 20), np.uint8)).save(folder / f"{i}.png")


def test_the_noise_of_a_sample_is_its_own():
    together, alone = latents_of(KEYS, 3, seed=5), [latents_of([key], 3, seed=5)[0] for key in KEYS]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert len({latent.tobytes() for latent in together}) == len(KEYS)
    assert all((latent.shape, latent.dtype) == ((3,), np.float32) for latent in together)
    others = [latents_of(KEYS[:1], 3, seed=6)[0], latents_of(KEYS[:1], 3, seed=5, variants=[1])[0]]
    assert not any(np.array_equal(together[0], other) for other in others)


def test_the_noise_is_normal():
    values = np.concatenate(latents_of([str(i) for i in range(2000)], 4, seed=0))
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_each_image_gets_its_noise_whatever_the_batch(provider):
    artifact = Artifact(Path("refiner.onnx"), Manifest(latent=1), noisy())
    session = open_session(artifact, provider, "fp32", threads=1)
    images = [np.full((8, 8 + 8 * (i % 2), 1), 0.1 * i, np.float32) for i in range(7)]
    latents = latents_of([str(i) for i in range(7)], session.latent, seed=0)
    for asked in (0, 1, 3):
        refined = refine_images(session.run, images, asked, latents=latents)
        for image, latent, result in zip(images, latents, refined, strict=True):
            assert np.allclose(result, 0.5 * image + 0.1 * latent, atol=1e-5)


def test_sizes_that_a_refiner_does_not_take_are_padded_and_cut_back():
    seen: list[tuple[int, ...]] = []

    def run(batch):
        seen.append(batch.shape[2:])
        return batch

    images = [np.random.default_rng(i).uniform(-1, 1, size).astype(np.float32) for i, size in enumerate(SIZES)]
    refined = refine_images(run, images, 1, fit=Fit(multiple=16, least_px=32))
    assert all(np.array_equal(a, b) for a, b in zip(images, refined, strict=True))
    assert seen == [(32, 32), (48, 32), (32, 32)]


SIZES = [(9, 32, 1), (33, 17, 1), (32, 32, 1)]


def test_a_padded_image_continues_by_reflection():
    def run(batch):
        assert np.array_equal(batch[0, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0, 1])
        return batch

    refine_images(run, [np.tile(np.arange(8, dtype=np.float32)[None, :, None], (8, 1, 1))], fit=Fit(16, 1))


def test_refining_with_noise_twice_gives_the_same_bytes_and_another_seed_others(tmp_path):
    write_gray(tmp_path / "synth")
    write_artifact(tmp_path / "model", noisy(), latent=1, deterministic=False)
    outputs = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        out = tmp_path / name
        refine(RefineConfig(str(tmp_path / "synth"), str(out), str(tmp_path / "model"), check=False, seed=seed))
        outputs[name] = [path.read_bytes() for path in sorted(out.glob("*.png"))]
    assert outputs["first"] == outputs["again"]
    assert all(a != b for a, b in zip(outputs["first"], outputs["other"], strict=True))


def test_a_refiner_that_makes_colour_of_gray_writes_colour_files_and_checks_their_labels(tmp_path):
    write_gray(tmp_path / "synth")
    write_artifact(tmp_path / "model", colouring(), out_channels=3)
    out = tmp_path / "out"
    result = refine(RefineConfig(str(tmp_path / "synth"), str(out), str(tmp_path / "model"), on_drift="keep"))
    assert (result["refined"] + result["verdicts"]["fail"], result["rejected"]) == (6, 0)
    before, after = (np.asarray(Image.open(folder / "3.png"), float) for folder in (tmp_path / "synth", out))
    assert after.shape == (16, 20, 3)
    assert np.array_equal(after[:, :, 0], before)
    assert np.abs(after[:, :, 1] - (63.75 + before / 2)).max() <= 0.5
    assert {line["status"] for line in Journal(out, {}).lines()} <= {"refined", "kept"}


def test_a_manifest_that_denies_the_noise_is_refused(tmp_path):
    with pytest.raises(Exception, match=r"takes 1 latent number\(s\), but its manifest.json says 0"):
        load(write_artifact(tmp_path, noisy()))


def test_the_colours_of_what_was_gray_are_no_objection():
    generator = np.random.default_rng(0)
    box = Label("box", "box", np.array([4.0, 4.0, 11.0, 11.0]))
    pairs = []
    for i in range(12):
        gray = np.repeat(generator.uniform(-1, 1, (16, 16, 1)), 3, axis=2).astype(np.float32)
        colour = gray * np.array([1.0, 0.3, -0.2], np.float32)
        pairs.append(Pair(Sample(str(i), f"{i}.png"), gray, colour, (box,)))
    context = calibrate(pairs, CheckContext())
    assert not any(key.startswith("colour.") for key in context.thresholds)
    assert colour_check.check(CheckBatch(pairs), context) == [[]] * 12


def test_colour_that_fails_goes_into_quarantine_since_it_cannot_be_blended_with_gray(tmp_path):
    write_gray(tmp_path / "synth")
    write_artifact(tmp_path / "model", colouring_elsewhere(), out_channels=3)
    watching = Recorder()
    refine(RefineConfig(str(tmp_path / "synth"), str(tmp_path / "out"), str(tmp_path / "model")), watching)
    assert any("cannot be blended back" in sentence for sentence in watching.said)
    lines = list(Journal(tmp_path / "out", {}).lines())
    assert {line["status"] for line in lines} == {"quarantined"}
    assert (tmp_path / "out" / "3.png").read_bytes() == (tmp_path / "synth" / "3.png").read_bytes()
    assert np.asarray(Image.open(tmp_path / "out" / ".refinery" / "quarantine" / "3.png")).shape == (16, 20, 3)


def test_colour_that_would_go_into_quarantine_needs_a_place_for_it_in_a_pipeline(tmp_path):
    write_gray(tmp_path / "synth")
    write_artifact(tmp_path / "model", colouring_elsewhere(), out_channels=3)
    with pytest.raises(UsageError, match="give --report FOLDER too"):
        refine(RefineConfig(str(tmp_path / "synth"), "-", str(tmp_path / "model")))


def test_partners_that_are_known_to_hold_their_labels_widen_what_may_seem_to_move():
    generator = np.random.default_rng(1)
    box = Label("box", "box", np.array([8.0, 8.0, 23.0, 23.0]))
    images = [box_blurred(generator.uniform(-1, 1, (32, 32, 1)).astype(np.float32)) for _ in range(60)]
    pairs = [Pair(Sample(str(i), f"{i}.png"), image, image * np.float32(0.8), (box,)) for i, image in enumerate(images)]
    partners = [replace(pair, refined=np.roll(pair.refined, 1, axis=1)) for pair in pairs]
    alone, told = (calibrate(pairs, CheckContext(), unmoved=known).thresholds for known in ([], partners))
    assert told["geometry.fail_px:box"] >= 0.9
    assert alone["geometry.fail_px:box"] < 0.7


def box_blurred(image):
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="wrap")
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1)).mean(axis=(-1, -2)).astype(np.float32)
