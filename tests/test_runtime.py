"""Sessions start where they were told to or say why not; batches keep the order and do not change results."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import blur, model
from onnx import helper, numpy_helper

from refinery.artifact import Artifact, Manifest
from refinery.errors import ModelError, ProviderError, RefineryError
from refinery.networks.resnet_refiner import ResnetRefiner
from refinery.onnx_export import to_onnx
from refinery.processor import is_slow_in_bf16
from refinery.runtime.batching import batch_size, by_shape, refine_images
from refinery.runtime.gpu import in_half
from refinery.runtime.session import open_session

CUDA = any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/dxg"))
SHAPES = st.lists(st.sampled_from([(8, 8, 1), (8, 16, 1), (9, 8, 1)]), max_size=20)


def artifact(data: bytes) -> Artifact:
    return Artifact(Path("refiner.onnx"), Manifest(), data)


def images(shapes) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def box_blur(image: np.ndarray) -> np.ndarray:
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return windows.mean(axis=(-1, -2))


@given(SHAPES, st.integers(0, 7))
def test_batches_are_a_partition_by_shape(shapes, asked):
    groups = list(by_shape(shapes, asked))
    assert sorted(index for group in groups for index in group) == list(range(len(shapes)))
    for group in groups:
        assert len({shapes[i] for i in group}) == 1
        assert len(group) <= batch_size(shapes[group[0]][:2], asked)
        assert group == sorted(group)


@given(SHAPES, st.integers(0, 7))
def test_the_order_is_restored_whatever_the_batch_size(shapes, asked):
    given_images = images(shapes)
    refined = refine_images(lambda batch: batch * np.float32(0.5), given_images, asked)
    assert len(refined) == len(given_images)
    assert all(np.array_equal(r, i * np.float32(0.5)) for r, i in zip(refined, given_images, strict=True))


@given(SHAPES, st.integers(1, 7))
def test_every_batch_of_a_shape_is_full(shapes, asked):
    sizes: dict[tuple, set[int]] = {}

    def run(batch):
        sizes.setdefault(batch.shape[1:], set()).add(len(batch))
        return batch

    refine_images(run, images(shapes), asked)
    assert all(found == {asked} for found in sizes.values())


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_session_refines_alike_in_every_batch_size(provider):
    if provider == "openvino":
        pytest.importorskip("openvino")
    session = open_session(artifact(blur()), provider, "fp32", threads=1)
    assert (session.provider, session.precision) == (provider, "fp32")
    given_images = images([(8, 8, 1), (9, 16, 1), (8, 8, 1), (9, 16, 1), (8, 8, 1)])
    results = [refine_images(session.run, given_images, asked) for asked in (0, 1, 2, 5)]
    for refined in results:
        for result, image, first in zip(refined, given_images, results[0], strict=True):
            assert np.allclose(result, box_blur(image), atol=1e-5)
            assert np.allclose(result, first, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)), st.integers(1, 4))
def test_company_does_not_change_an_image(order, asked):
    session = open_session(artifact(blur()), "cpu", "fp32", threads=1)
    given_images = images([(8, 8, 1)] * 6)
    straight = refine_images(session.run, given_images, asked)
    shuffled = refine_images(session.run, [given_images[i] for i in order], asked)
    assert all(np.array_equal(shuffled[place], straight[i]) for place, i in enumerate(order))


@pytest.mark.parametrize(
    ("about", "slow"),
    [
        ("vendor_id : GenuineIntel\nflags : fma avx512_bf16", True),
        ("vendor_id : GenuineIntel\nflags : avx512_bf16 amx_bf16 amx_tile", False),
        ("vendor_id : AuthenticAMD\nflags : avx512_bf16", False),
        ("", False),
    ],
)
def test_bf16_is_slow_on_intel_without_amx(about, slow):
    assert is_slow_in_bf16(about) is slow


def test_auto_takes_bf16_only_where_it_is_fast(monkeypatch):
    pytest.importorskip("openvino")
    chosen = {}
    for slow in (True, False):
        monkeypatch.setattr("refinery.runtime.session.is_slow_in_bf16", lambda slow=slow: slow)
        chosen[slow] = open_session(artifact(blur(3)), "openvino", "auto", threads=1).precision
    assert chosen[True] == "fp32"
    assert chosen[False] in ("fp32", "bf16")


def test_auto_starts_something_and_says_what():
    session = open_session(artifact(blur(3)), "auto", "auto", threads=1)
    assert session.provider in ("cuda", "openvino", "cpu")
    assert session.precision in ("fp32", "bf16")
    (refined,) = refine_images(session.run, images([(8, 12, 3)]))
    assert refined.shape == (8, 12, 3)


@pytest.mark.skipif(CUDA, reason="needs a machine without CUDA")
@pytest.mark.parametrize("precision", ["auto", "fp16"])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_asked_for_and_not_there_is_an_error_never_a_fallback(provider, precision, capfd):
    with pytest.raises(ProviderError, match=rf"^provider {provider} does not start") as caught:
        open_session(artifact(model()), provider, precision)
    assert "use --provider auto, openvino or cpu" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("provider", "message"),
    [("cpu", "the cpu provider has no bf16 convolution"), ("cuda", "the cuda provider runs fp32 and fp16")],
)
def test_bf16_where_it_does_not_run(provider, message):
    with pytest.raises(ProviderError, match=message):
        open_session(artifact(model()), provider, "bf16")


@pytest.mark.skipif(CUDA, reason="needs a machine without CUDA")
@pytest.mark.parametrize("provider", ["cpu", "openvino", "auto"])
def test_fp16_is_for_gpus(provider):
    with pytest.raises(ProviderError, match="--precision fp32 or auto"):
        open_session(artifact(model()), provider, "fp16")


@pytest.mark.slow
def test_a_network_in_half_precision_takes_and_gives_fp32_and_differs_by_less_than_a_level():
    import onnxruntime

    whole = to_onnx(ResnetRefiner(3, latent=4, tone=True).eval(), 3, "simgan")
    half = in_half(whole)
    assert len(half) < 0.6 * len(whole)
    assert not any("transformers" in folder for folder in sys.path)
    given = np.random.default_rng(0).uniform(-1, 1, (2, 3, 40, 56)).astype(np.float32)
    results = []
    for data in (whole, half):
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        fed = dict(zip(names, [given, np.full((2, 4), 0.5, np.float32)], strict=False))
        results.append(session.run(None, fed)[0])
    assert results[1].dtype == np.float32
    assert 0 < np.abs(results[0] - results[1]).max() < 1 / 127.5


def test_weights_beyond_half_precision_are_refused():
    big = numpy_helper.from_array(np.array(1e6, np.float32), "big")
    nodes = [helper.make_node("Mul", ["synthetic", "big"], ["refined"])]
    with pytest.raises(ModelError, match="more than fp16 holds; use --precision fp32"):
        in_half(model(nodes, initialisers=[big]))


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_model_that_does_not_run_is_one_line(provider):
    if provider == "openvino":
        pytest.importorskip("openvino")
    broken = model([helper.make_node("NoSuchOperator", ["synthetic"], ["refined"])])
    with pytest.raises(ModelError, match=r"^refiner\.onnx: .* cannot run it") as caught:
        open_session(artifact(broken), provider, "fp32")
    assert "\n" not in str(caught.value)
    with pytest.raises(RefineryError, match="cannot run it"):
        open_session(artifact(broken), "auto", "fp32")


def test_a_model_that_changes_the_size_is_refused():
    halved = model([helper.make_node("MaxPool", ["synthetic"], ["refined"], kernel_shape=[2, 2], strides=[2, 2])])
    session = open_session(artifact(halved), "cpu", "fp32", threads=1)
    with pytest.raises(ModelError, match=r"\(2, 1, 8, 8\) into \(2, 1, 4, 4\); a refiner keeps height and width"):
        refine_images(session.run, images([(8, 8, 1)]), 2)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_streams_side_by_side_give_what_one_gives(provider):
    images = [np.random.default_rng(i).uniform(-1, 1, (20, 24, 1)).astype(np.float32) for i in range(24)]
    alone = refine_images(open_session(artifact(blur()), provider, "fp32", threads=1).run, images, 2)
    session = open_session(artifact(blur()), provider, "fp32", threads=4, streams=4)
    with ThreadPoolExecutor(session.streams) as pool:
        together = refine_images(session.run, images, 2, pool)
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
