"""`import refinery`: the same pixels and verdicts as the command line, for arrays, datasets, jobs and DataLoaders."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models import write_artifact
from PIL import Image
from stream import refine, write_refiner
from test_noise import noisy

import refinery
from refinery.config import Provider

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def gray(tmp_path_factory) -> refinery.Refiner:
    return refinery.load(write_refiner(tmp_path_factory.mktemp("gray"), "brighter"))


@pytest.fixture(scope="module")
def colour(tmp_path_factory) -> refinery.Refiner:
    return refinery.load(write_refiner(tmp_path_factory.mktemp("colour"), "brighter", channels=3))


def blobs(root: Path, count: int = 6) -> Path:
    """Gray images of a bright disc on noise, each with its centre and its box."""
    root.mkdir()
    rows, columns = np.mgrid[:48, :64]
    for at in range(count):
        x, y, radius = (int(v) for v in RNG.integers((20, 18, 7), (44, 30, 11)))
        image = RNG.integers(20, 60, (48, 64)) + 120 * ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)
        Image.fromarray(image.astype(np.uint8)).save(root / f"{at:03d}.png")
        box = [x - radius, y - radius, x + radius, y + radius]
        (root / f"{at:03d}.json").write_text(json.dumps({"disc": {"center": [x, y], "radius": radius, "box": box}}))
    return root


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 16, 20, 1), (3, 16, 20), (16, 20, 1), (16, 20), (0, 16, 20, 1)], ids=str)
def test_what_comes_back_has_the_shape_and_dtype_of_what_went_in(gray, shape, dtype) -> None:
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    images = (RNG.random(shape) * 0.5 * top).astype(dtype)
    refined = gray(images)
    assert (refined.shape, refined.dtype) == (images.shape, images.dtype)
    if images.size:
        assert np.allclose(refined / top - images / top, 0.05, atol=0.003)  # `brighter` adds 0.1 of [-1, 1]


def test_a_list_may_hold_images_of_several_sizes_and_dtypes(gray) -> None:
    images = [np.zeros((16, 20), np.uint8), np.zeros((33, 9, 1), np.uint16)]
    refined = gray(images)
    assert [(one.shape, one.dtype) for one in refined] == [(one.shape, one.dtype) for one in images]


def test_alpha_is_carried(colour) -> None:
    image = RNG.integers(0, 200, (16, 20, 4), dtype=np.uint8)
    refined = colour(image)
    assert (refined[..., 3] == image[..., 3]).all()
    assert (refined[..., :3] > image[..., :3]).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((16, 20), np.int64), r"images\[0\]: dtype int64; expected uint8, uint16, or floats from 0 to 1"),
        (np.full((16, 20), 200.0), r"images\[0\]: floats from 200 to 200; expected them from 0 to 1"),
        (np.full((16, 20), np.nan), r"images\[0\]: floats from nan to nan"),
        (np.zeros((4, 20), np.uint8), r"images\[0\]: 20x4 px; expected 8 px a side at least"),
        (np.zeros((2, 16, 20, 5), np.uint8), r"images\[0\]: shape \(16, 20, 5\); expected"),
        (np.zeros(9, np.uint8), r"images: an array of shape \(9,\); expected"),
    ],
)
def test_other_arrays_are_refused_in_one_line(gray, images, message: str) -> None:
    with pytest.raises(refinery.RefineryError, match=message):
        gray(images)


def test_images_of_another_kind_than_the_model_was_trained_on_are_refused(gray, colour) -> None:
    with pytest.raises(refinery.RefineryError, match=r"images\[0\] is colour, but .* was trained on gray images"):
        gray(np.zeros((16, 20, 3), np.uint8))
    with pytest.raises(refinery.RefineryError, match=r"images\[0\] is gray"):
        colour(np.zeros((16, 20), np.uint8))


@pytest.mark.parametrize("is_noisy", [False, True])
def test_the_same_bytes_as_the_command_line(tmp_path, is_noisy: bool) -> None:
    synth = blobs(tmp_path / "synth")
    noisy_model = write_artifact(tmp_path / "model", noisy(), latent=1, deterministic=False)
    model = noisy_model if is_noisy else write_refiner(tmp_path)
    assert refine(synth, tmp_path / "out", model, "--no-check", "--seed", "3").exit_code == 0
    samples = list(refinery.open_dataset(synth))
    refined = refinery.load(model)([one.image for one in samples], seed=3, keys=[one.key for one in samples])
    for sample, image in zip(samples, refined, strict=True):
        assert (np.asarray(Image.open(tmp_path / "out" / f"{sample.key}.png")) == image[..., 0]).all()


def test_a_dataset_is_a_sequence_of_images_with_labels(tmp_path) -> None:
    dataset = refinery.open_dataset(blobs(tmp_path / "synth"))
    assert (len(dataset), dataset.layout, [one.key for one in dataset[1:3]]) == (6, "folder", ["001", "002"])
    first = dataset[0]
    assert (first.image.shape, first.image.dtype) == ((48, 64, 1), np.uint8)
    assert {(label.name, label.type) for label in first.labels} >= {("disc.center", "keypoint"), ("disc.box", "box")}
    (tmp_path / "synth" / "002.png").write_bytes(b"no image")
    assert [one.key for one in dataset] == ["000", "001", "003", "004", "005"]
    assert len(dataset.problems) == 1
    with pytest.raises(refinery.RefineryError, match=r"002\.png"):
        dataset[2]


def test_a_dataset_tells_what_belongs_to_no_image_and_what_is_wrong(tmp_path) -> None:
    synth = blobs(tmp_path / "synth", 2)
    (synth / "notes.md").write_text("all")
    (synth / "train.csv").write_text("file,x\nelsewhere.png,3\n")
    dataset = refinery.open_dataset(synth)
    assert [(one.path, one.sidecars) for one in dataset] == [("000.png", ("000.json",)), ("001.png", ("001.json",))]
    assert dataset.loose == ("notes.md", "train.csv")
    assert dataset.problems == ("train.csv: none of its 1 entries names an image of this dataset",)


def test_globs_say_which_images_are_pictures(tmp_path) -> None:
    for name in ("one", "two"):
        blobs(tmp_path / name)
    with pytest.raises(refinery.RefineryError, match="no image matches 'three"):
        refinery.open_dataset(tmp_path, images=["three/*"])
    assert {one.key.split("/")[0] for one in refinery.open_dataset(tmp_path, images=["one/*"])} == {"one"}


def test_an_audit_of_arrays_tells_moved_from_brightened(tmp_path) -> None:
    samples = list(refinery.open_dataset(blobs(tmp_path / "synth", 24)))
    images, labels = np.stack([one.image for one in samples]), [one.labels for one in samples]
    brighter = np.clip(images.astype(int) + 20, 0, 255).astype(np.uint8)
    told = refinery.audit(images, brighter, labels, max_drift="1px")
    assert told.verdicts["fail"] == 0
    assert told.drift["disc.center"]["median"] < 0.2
    moved = refinery.audit(images, np.roll(brighter, 3, axis=2), labels, max_drift="1px")
    assert moved.sample_verdicts == ("fail",) * 24
    assert {found.label for found in moved.findings[0] if found.verdict == "fail"} >= {"disc.center", "disc.box"}
    assert 2.5 < moved.drift["disc.center"]["median"] < 3.5


def test_labels_may_be_dictionaries_of_numpy_values(tmp_path) -> None:
    (sample, *_) = refinery.open_dataset(blobs(tmp_path / "synth", 1))
    told = next(label for label in sample.labels if label.name == "disc.center").value
    audited = refinery.audit([sample.image], [sample.image], [{"center": told, "radius": 8}])
    assert [found.label for found in audited.findings[0] if found.type == "keypoint"] == ["center"]
    with pytest.raises(refinery.RefineryError, match=r"labels\[0\]\.json: box is read as x0, y0, x1, y1"):
        refinery.audit([sample.image], [sample.image], [{"box": [30, 30, 4, 4]}])


@pytest.mark.parametrize(
    ("refined", "labels", "message"),
    [
        ([np.zeros((16, 20), np.uint8)] * 2, [[]], "refined: 2 for 1 images"),
        ([np.zeros((16, 20), np.uint8)], [], "labels: 0 for 1 images"),
        ([np.zeros((20, 16), np.uint8)], [[]], r"refined\[0\]: 16x20 px, but images\[0\] is 20x16 px"),
    ],
)
def test_sides_that_do_not_match_are_refused(refined, labels, message: str) -> None:
    with pytest.raises(refinery.RefineryError, match=message):
        refinery.audit([np.zeros((16, 20), np.uint8)], refined, labels)


@pytest.mark.parametrize("labels", [None, "center", [1, 2]])
def test_labels_that_are_none_are_refused(labels) -> None:
    image = np.zeros((16, 20), np.uint8)
    with pytest.raises(refinery.RefineryError, match=r"labels\[0\]: got .*; expected the labels of one image"):
        refinery.audit([image], [image], [labels])


def test_a_provider_that_there_is_none_of_is_refused_at_once(gray) -> None:
    with pytest.raises(refinery.RefineryError, match="load: provider: got 'gpu'"):
        refinery.load(gray.artifact.path, provider="gpu")


def test_pixels_of_the_other_byte_order_are_the_same_pixels(gray) -> None:
    image = RNG.integers(0, 30000, (16, 20)).astype(">u2")
    assert (gray(image) == gray(image.astype(np.uint16))).all()


def test_jobs_are_functions_with_results_that_are_also_what_json_prints(tmp_path) -> None:
    synth, model = blobs(tmp_path / "synth"), write_refiner(tmp_path, "brighter")
    result = refinery.refine(synth, out=tmp_path / "out", model=model, max_drift="2px")
    assert (result.samples, result.verdicts["fail"], result.out) == (6, 0, str(tmp_path / "out"))
    assert result["refined"] == 6
    assert json.dumps(dict(result))
    again = refinery.refine(synth, out=tmp_path / "again", model=refinery.load(model), max_drift="2px")
    assert again.verdicts == result.verdicts
    told = refinery.inspect(tmp_path / "out")
    assert told.kind == "refined dataset"
    assert not told.problems
    with pytest.raises(refinery.RefineryError, match=r"unknown key .max_drfit.; did you mean .max_drift."):
        refinery.refine(synth, out=tmp_path / "other", model=model, max_drfit="1px")
    with pytest.raises(refinery.RefineryError, match="nowhere: no model there"):
        refinery.load(tmp_path / "nowhere")


def test_refining_imports_no_torch_and_importing_nothing_heavy(tmp_path) -> None:
    synth, model = blobs(tmp_path / "synth"), write_refiner(tmp_path, "brighter")
    script = f"""
import sys, refinery
assert not {{"torch", "numpy", "onnxruntime", "PIL"}} & set(sys.modules), sorted(sys.modules)
samples = list(refinery.open_dataset({str(synth)!r}))
refined = refinery.load({str(model)!r})([one.image for one in samples])
refinery.audit([one.image for one in samples], refined, [one.labels for one in samples])
refinery.refine({str(synth)!r}, out={str(tmp_path / "out")!r}, model={str(model)!r})
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_that_is_offered_is_there() -> None:
    assert {name for name in refinery.__all__ if getattr(refinery, name) is None} == set()
    assert set(refinery.__all__) <= set(dir(refinery))
    with pytest.raises(AttributeError, match="has no attribute 'refin'"):
        refinery.refin  # noqa: B018


def only_image(image: np.ndarray, _: object) -> np.ndarray:
    return image


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("provider", ["openvino", "cpu"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_data_loader_of_four_workers_refines_as_one_process_does(
    tmp_path, gray, start: str, provider: Provider, is_open: bool
) -> None:
    from torch.utils.data import DataLoader

    dataset = refinery.open_dataset(blobs(tmp_path / "synth", 12))
    refiner = refinery.load(gray.artifact.path, provider, threads=1)
    refined = refinery.RefinedDataset(dataset, refiner, only_image)
    loader = DataLoader(refined, batch_size=3, num_workers=4, multiprocessing_context=start)
    if is_open:  # in this process, too, when it forks
        refined[0]
    batches = [batch.numpy() for batch in loader]
    here = np.stack([refined[at] for at in range(len(refined))])
    assert (np.concatenate(batches) == here).all()


def test_a_refiner_and_a_dataset_can_be_sent_to_another_process(tmp_path, gray) -> None:
    dataset = refinery.open_dataset(blobs(tmp_path / "synth"))
    assert len(dataset[0].labels) == len(pickle.loads(pickle.dumps(dataset))[0].labels)
    image = dataset[0].image
    assert (pickle.loads(pickle.dumps(gray))(image) == gray(image)).all()
