"""A model that fails on a batch gets half of it; one that has no room for an image gets it in tiles."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from models import blur, model, write_artifact
from stream import error_of, refine, tree_of, write_scenes

from refinery.artifact import Artifact, Manifest
from refinery.errors import ModelError
from refinery.networks.resnet_refiner import ResnetRefiner
from refinery.networks.unet import UNet
from refinery.onnx_export import to_onnx
from refinery.runtime import session as sessions
from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.room import Room, out_of_memory
from refinery.runtime.session import open_session

LOCAL = Fit(1, 8, 3, 1)


def images(count: int, size_hw: tuple[int, int] = (8, 12)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.uniform(-1, 1, (*size_hw, 1)).astype(np.float32) for _ in range(count)]


class Narrow:
    """A real runner that takes so many pixels, or images, at once."""

    def __init__(self, most_images=10**9, most_px=10**9, error=MemoryError(), data=blur()):  # noqa: B008
        artifact = Artifact(Path("refiner.onnx"), Manifest(), data)
        self.inner = open_session(artifact, "cpu", "fp32", threads=1).run
        self.most_images, self.most_px, self.error, self.calls = most_images, most_px, error, []

    def __call__(self, batch, latent=None):
        self.calls.append(batch.shape)
        if len(batch) > self.most_images or batch.shape[2] * batch.shape[3] > self.most_px:
            raise self.error
        return self.inner(batch) if latent is None else self.inner(batch, latent)


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_halving_changes_no_bit_and_is_remembered(most):
    said: list[str] = []
    given, room = images(21), Room(said.append)
    runner = Narrow(most, error=RuntimeError("CUDA failure 2: out of memory"))
    expected = refine_images(runner.inner, given, 16)
    assert all(map(np.array_equal, refine_images(runner, given, 16, room=room), expected))
    size = {1: 1, 2: 2, 3: 2, 7: 4}[most]
    assert said == [f"the model ran out of memory at batches of 16; going on with {size}"]
    runner.calls.clear()
    assert all(map(np.array_equal, refine_images(runner, given, 16, room=room), expected))
    assert {shape[0] for shape in runner.calls} == {size}
    refine_images(Narrow(), images(2, (9, 9)), 16, room=room)
    assert len(said) == 1, "another shape starts anew"


def test_a_batch_of_five_is_halved_into_full_ones():
    runner = Narrow(2)
    refine_images(runner, images(5), 5)
    assert [shape[0] for shape in runner.calls] == [5, 2, 2, 2]


def test_an_error_that_is_not_of_memory_is_named():
    said: list[str] = []
    refine_images(Narrow(4, error=ValueError("odd\nthing")), images(8), 8, room=Room(said.append))
    assert said == ["the model failed (odd thing) at batches of 8; going on with 4"]


def test_streams_side_by_side_say_it_once():
    said: list[str] = []
    given, runner = images(64), Narrow(2)
    with ThreadPoolExecutor(4) as pool:
        refined = refine_images(runner, given, 8, pool, room=Room(said.append))
    assert said[-1] == "the model ran out of memory at batches of 8; going on with 2"
    assert len(said) == 1
    assert all(map(np.array_equal, refined, refine_images(runner.inner, given, 8)))


def test_what_refinery_itself_refuses_is_not_tried_again():
    calls = []

    def refuse(batch, latent=None):  # noqa: ARG001
        calls.append(len(batch))
        raise ModelError("no")

    with pytest.raises(ModelError):
        refine_images(refuse, images(8), 8, fit=LOCAL)
    assert calls == [8]


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 64000"), True),
        (RuntimeError("The input tensor cannot be reshaped to the requested shape"), False),
    ],
)
def test_errors_of_memory_are_known_by_their_words(error, memory):
    assert out_of_memory(error) is memory


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resnet", "unet"])
@pytest.mark.parametrize("latent", [True, False])
def test_batches_of_every_size_give_the_same_bits_on_the_cpu(kind, latent):
    torch.manual_seed(0)
    if kind == "resnet":
        network = ResnetRefiner(3, width=16, blocks=2, latent=4 * latent, tone=latent).eval()
        torch.nn.init.normal_(network.last.weight, std=0.1)
    else:
        network = UNet(3, width=8, levels=3, norm="instance", noise=latent).eval()
    random, count = np.random.default_rng(0), int(network.latent)
    given = [random.uniform(-1, 1, (33, 47, 3)).astype(np.float32) for _ in range(8)]
    latents = [random.standard_normal(count, dtype=np.float32) for _ in given] if count else None
    runner = Narrow(data=to_onnx(network, 3, "simgan"))
    expected = refine_images(runner, given, 8, latents=latents)
    for most in (1, 2, 5):
        runner.most_images = most
        assert all(map(np.array_equal, refine_images(runner, given, 8, latents=latents), expected))


def test_an_image_that_is_too_large_alone_is_cut_ever_smaller():
    said: list[str] = []
    given, room, runner = images(3, (90, 120)), Room(said.append), Narrow(most_px=1000)
    expected = [refine_images(runner.inner, [image])[0] for image in given]
    refined = refine_images(runner, given, 2, fit=LOCAL, room=room)
    assert all(map(np.array_equal, refined, expected))
    assert said[0].startswith("the model ran out of memory at an image of 120x90 px; going on with tiles of ")
    assert len(said) == 2
    runner.calls.clear()
    refine_images(runner, given, 2, fit=LOCAL, room=room)
    assert {shape[2] * shape[3] <= 1000 for shape in runner.calls} == {True}


@pytest.mark.parametrize("fit", [LOCAL, Fit()])
def test_where_no_tile_is_small_enough_the_error_comes_through(fit):
    with pytest.raises(MemoryError):
        refine_images(Narrow(most_px=10), images(1, (90, 120)), fit=fit)


# The command line


@pytest.fixture
def narrow(monkeypatch):
    """The CPU provider out of memory beyond some images or pixels at once."""
    limits = {"images": 10**9, "pixels": 10**9}
    original = sessions._OnnxRuntimeRunner.__call__

    def call(self, batch, latent=None):
        if len(batch) > limits["images"] or batch.shape[2] * batch.shape[3] > limits["pixels"]:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 12345")
        return original(self, batch, latent)

    monkeypatch.setattr(sessions._OnnxRuntimeRunner, "__call__", call)
    return limits


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"images": 2}, {"pixels": 1000}])
def test_a_job_short_of_memory_ends_with_the_same_bytes_and_says_so(tmp_path, narrow, limit):
    source = write_scenes(tmp_path / "in", 20)
    model = write_artifact(tmp_path / "model", blur(), receptive_field_px=3, cell_px=1)
    options = ("--batch-size", 16)
    assert refine(source, tmp_path / "whole", model, *options).exit_code == 0
    narrow.update(limit)
    done = refine(source, tmp_path / "short", model, *options)
    assert done.exit_code == 0
    assert tree_of(tmp_path / "short", own=True) == tree_of(tmp_path / "whole", own=True)
    sentence = "at batches of 16; going on with 2" if "images" in limit else "at an image of 64x48 px; going on with"
    assert done.stderr.count(f"the model ran out of memory {sentence}") == 1


def test_one_image_for_which_there_is_no_room_is_one_line(tmp_path, narrow):
    source = write_scenes(tmp_path / "in", 3)
    narrow["pixels"] = 10
    error = error_of(refine(source, tmp_path / "out", write_artifact(tmp_path / "model", model())))
    assert error.startswith("error: the model ran out of memory on a single image (0000.png, or one soon after it)")
    assert json.loads(json.dumps(error)).count("\n") == 0
