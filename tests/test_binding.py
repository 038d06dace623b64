"""Bound buffers change no bit, stay few, and survive errors; the way to the GPU is run with a CPU in its place."""

from __future__ import annotations

import ctypes
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from models import blur, model, write_artifact
from stream import error_of, refine, tree_of, write_scenes

from refinery.artifact import Artifact, Manifest
from refinery.errors import ModelError, ProviderError
from refinery.networks.resnet_refiner import ResnetRefiner
from refinery.onnx_export import to_onnx
from refinery.runtime import binding, gpu
from refinery.runtime import session as sessions
from refinery.runtime.batching import refine_images
from refinery.runtime.binding import BoundRunner, Lane
from refinery.runtime.pinned import PageLocked, cuda_runtime
from refinery.runtime.room import Room
from refinery.runtime.session import open_session


def started(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def plain(data: bytes):
    return open_session(Artifact(Path("refiner.onnx"), Manifest(), data), "cpu", "fp32", threads=1).run


def images(shapes) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def same(one, other) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


class Runtime:
    """The two functions of the CUDA runtime that are used, without CUDA."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.memory, self.made = code, {}, 0

    def cudaHostAlloc(self, pointer, size, flags):
        assert flags.value == 0
        if self.code:
            return self.code
        memory = ctypes.create_string_buffer(size.value)
        pointer._obj.value = ctypes.addressof(memory)
        self.memory[pointer._obj.value] = memory
        self.made += 1
        return 0

    def cudaFreeHost(self, address):
        del self.memory[address.value]
        return 0


MIXED = [(20, 24, 1), (9, 16, 1), (20, 24, 1), (36, 60, 1), (9, 16, 1), (20, 24, 1)] * 3


@pytest.mark.parametrize("asked", [0, 1, 2, 5])
@pytest.mark.parametrize("locked", [False, True])
def test_bound_buffers_give_the_bits_of_a_plain_run(asked, locked):
    runner = BoundRunner([Lane(started(blur()), "cpu", PageLocked(Runtime()) if locked else binding.pageable)])
    for _ in range(2):
        assert same(refine_images(runner, images(MIXED), asked), refine_images(plain(blur()), images(MIXED), asked))


@pytest.mark.slow
def test_latent_numbers_go_through_buffers_too():
    data = to_onnx(ResnetRefiner(3, width=8, blocks=1, latent=4, tone=True).eval(), 3, "simgan")
    given, random = images([(20, 24, 3), (33, 17, 3)] * 4), np.random.default_rng(1)
    latents = [random.standard_normal(4, dtype=np.float32) for _ in given]
    runner = BoundRunner([Lane(started(data), "cpu")])
    expected = refine_images(plain(data), given, 2, latents=latents)
    assert same(refine_images(runner, given, 2, latents=latents), expected)
    assert same(refine_images(runner, given[::-1], 2, latents=latents[::-1]), expected[::-1])


def test_threads_at_once_do_not_mix_their_images():
    runner = BoundRunner([Lane(started(blur()), "cpu") for _ in range(3)])
    given = images([(20 + i % 3, 24, 1) for i in range(60)])
    with ThreadPoolExecutor(8) as pool:
        assert same(refine_images(runner, given, 2, pool), refine_images(plain(blur()), given, 2))


def test_a_result_is_not_overwritten_by_the_next():
    lane = Lane(started(blur()), "cpu")
    for _ in range(2):
        first = lane.run([np.ones((1, 1, 8, 8), np.float32)])
        kept = first.copy()
        lane.run([np.zeros((1, 1, 8, 8), np.float32)])
        assert np.array_equal(first, kept)


def test_an_error_in_the_middle_leaves_a_runner_that_works():
    runner = BoundRunner([Lane(started(blur()), "cpu")])
    (given,) = images([(2, 1, 8, 8)])
    expected = runner(given)
    for _ in range(3):
        with pytest.raises(Exception, match=r"Got invalid dimensions|INVALID_ARGUMENT"):
            runner(np.zeros((2, 3, 8, 8), np.float32))
        assert np.array_equal(runner(given), expected)


def test_after_running_out_of_memory_no_buffer_is_kept_and_half_the_batch_gives_the_same_bits():
    class Short(Lane):
        def run(self, given):
            if len(given[0]) > 4:
                self._allocate = full
            return super().run(given)

    def full(shape):  # noqa: ARG001
        lane._allocate = binding.pageable
        raise MemoryError("cudaHostAlloc")

    lane, said = Short(started(blur()), "cpu"), []
    lane.run(images([(1, 1, 8, 8)]))
    assert lane.kept_bytes() > 0
    with pytest.raises(MemoryError):
        lane.run(images([(8, 1, 8, 8)]))
    assert lane.kept_bytes() == 0
    given = images([(8, 12, 1)] * 16)
    refined = refine_images(BoundRunner([lane]), given, 16, room=Room(said.append))
    assert said == ["the model ran out of memory at batches of 16; going on with 4"]
    assert same(refined, refine_images(plain(blur()), given, 16))


def test_buffers_do_not_grow_with_the_number_of_shapes_and_are_seldom_made():
    runtime = Runtime()
    lane = Lane(started(blur()), "cpu", PageLocked(runtime))
    for _ in range(2):
        for height in range(8, 60):
            (given,) = images([(2, 1, height, 12)])
            for _ in range(2):
                assert np.array_equal(lane.run([given]), plain(blur())(given))
    gc.collect()
    assert sum(map(len, runtime.memory.values())) == lane.kept_bytes() <= 2 * 2 * given.nbytes
    assert runtime.made == 2 * 4


def test_a_shape_goes_to_the_idle_session_that_had_it_last():
    class Seen(Lane):
        def __init__(self):
            super().__init__(started(blur()), "cpu")
            self.heights = []

        def run(self, given):
            self.heights.append(given[0].shape[2])
            return super().run(given)

    lanes = [Seen(), Seen()]
    runner = BoundRunner(lanes)
    for height in (8, 9, 8, 9, 9, 8, 10, 8):
        runner(np.zeros((1, 1, height, 8), np.float32))
    assert [lane.heights for lane in lanes] == [[8, 8, 8, 8], [9, 9, 9, 10]]


def test_more_threads_than_sessions_wait_for_one():
    session, busy, most = started(blur()), [], []
    lock = threading.Lock()

    class Counting(Lane):
        def run(self, given):
            with lock:
                busy.append(1)
                most.append(len(busy))
            try:
                return super().run(given)
            finally:
                busy.pop()

    runner = BoundRunner([Counting(session, "cpu"), Counting(session, "cpu")])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: runner(np.zeros((4, 1, 36, 60), np.float32)), range(200)))
    assert max(most) <= 2


# Page-locked memory


def test_page_locked_memory_is_given_back_with_its_last_view():
    runtime = Runtime()
    array = PageLocked(runtime)((2, 3))
    view = array[1:]
    view[:] = 7
    assert (array.shape, array.dtype, len(runtime.memory)) == ((2, 3), np.float32, 1)
    del array
    gc.collect()
    assert (len(runtime.memory), view.tolist()) == (1, [[7, 7, 7]])
    del view
    gc.collect()
    assert not runtime.memory


def test_no_page_locked_memory_is_an_error_of_memory():
    with pytest.raises(MemoryError, match=r"cudaHostAlloc of 24 bytes of page-locked memory: CUDA error 2"):
        PageLocked(Runtime(2))((2, 3))


def test_without_cuda_no_runtime_is_found_and_it_is_said(monkeypatch):
    monkeypatch.setattr("refinery.runtime.pinned._RUNTIMES", ("libnosuchthing.so.1",))
    with pytest.raises(OSError, match="no CUDA runtime is loaded"):
        cuda_runtime()
    allocate, said = gpu.host_memory()
    assert allocate is binding.pageable
    assert said == "no page-locked memory (no CUDA runtime is loaded): copies to the GPU and back take longer"


# The way to the GPU, on a CPU


@pytest.fixture
def pretended(monkeypatch):
    """Opens CUDA where there is none: the CPU provider under its name, with page-locked memory that is not."""
    monkeypatch.setattr(gpu, "providers", lambda *_: [("CPUExecutionProvider", {})])
    monkeypatch.setattr(gpu, "CUDA", "CPUExecutionProvider")
    monkeypatch.setattr(gpu, "TENSORRT", "CPUExecutionProvider")
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "cuda_runtime", Runtime)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(("provider", "asked", "streams"), [("cuda", 4, 2), ("cuda", 1, 1), ("tensorrt", 4, 1)])
def test_a_gpu_has_the_streams_that_were_decided(provider, asked, streams):
    artifact = Artifact(Path("refiner.onnx"), Manifest(), blur())
    session = open_session(artifact, provider, "fp32", threads=8, streams=asked)
    assert (session.provider, session.streams, session.note) == (provider, streams, "")


@pytest.mark.usefixtures("pretended")
def test_memory_that_cannot_be_locked_is_said_and_the_job_goes_on(monkeypatch):
    monkeypatch.setattr(gpu, "cuda_runtime", lambda: Runtime(801))
    monkeypatch.setattr(sessions, "_cuda_device_present", lambda: True)
    monkeypatch.setattr(gpu, "load_libraries", lambda: None)
    artifact = Artifact(Path("refiner.onnx"), Manifest(), blur())
    for provider in ("cuda", "auto"):
        session = open_session(artifact, provider, "fp32", threads=1)
        assert session.provider == "cuda"
        assert session.note.startswith("no page-locked memory (cudaHostAlloc of 4 bytes")
        assert same(refine_images(session.run, images(MIXED)), refine_images(plain(blur()), images(MIXED)))


@pytest.mark.usefixtures("pretended")
def test_a_gpu_that_starts_and_does_not_run_is_told_when_it_is_opened(monkeypatch):
    def fail(self, given):  # noqa: ARG001
        raise RuntimeError("CUDNN failure 4000:\nCUDNN_STATUS_INTERNAL_ERROR")

    monkeypatch.setattr(Lane, "run", fail)
    monkeypatch.setattr(sessions, "_cuda_device_present", lambda: True)
    monkeypatch.setattr(gpu, "load_libraries", lambda: None)
    artifact = Artifact(Path("refiner.onnx"), Manifest(method="simgan"), blur())
    message = (
        r"^provider cuda starts but does not run the model \(CUDNN failure 4000: CUDNN_STATUS_INTERNAL_ERROR\); use"
    )
    with pytest.raises(ProviderError, match=message):
        open_session(artifact, "cuda", "fp32")
    fallen = open_session(artifact, "auto", "fp32")
    assert fallen.provider != "cuda"
    assert "provider cuda starts but does not run" in fallen.note
    assert open_session(Artifact(Path("refiner.onnx"), Manifest(), blur()), "cuda", "fp32").provider == "cuda"


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_what_loads_at_the_first_run_loads_when_it_is_opened(monkeypatch):
    ran: list[tuple] = []
    run = Lane.run
    monkeypatch.setattr(Lane, "run", lambda self, given: (ran.append(binding.shapes_of(given)), run(self, given))[1])
    data = to_onnx(ResnetRefiner(3, width=8, blocks=1, latent=4).eval(), 3, "simgan")
    known = Manifest(method="simgan", channels=3, latent=4, size_multiple=24)
    open_session(Artifact(Path("refiner.onnx"), known, data), "cuda", "fp32", threads=2, streams=2)
    assert ran == [((1, 3, 48, 48), (1, 4))] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
def test_a_whole_job_through_bound_buffers_writes_the_same_bytes(tmp_path):
    source = write_scenes(tmp_path / "in", 20)
    artifact = write_artifact(tmp_path / "model", blur())
    for provider in ("cpu", "cuda"):
        done = refine(source, tmp_path / provider, artifact, "--provider", provider)
        assert done.exit_code == 0, done.stderr
    assert tree_of(tmp_path / "cuda") == tree_of(tmp_path / "cpu")


@pytest.mark.usefixtures("pretended")
def test_a_gpu_without_room_for_an_image_is_one_line(tmp_path, monkeypatch):
    run = Lane.run

    def narrow(self, given):
        if given[0].shape[2] > 32:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 12345")
        return run(self, given)

    monkeypatch.setattr(Lane, "run", narrow)
    source = write_scenes(tmp_path / "in", 3)
    artifact = write_artifact(tmp_path / "model", model())
    error = error_of(refine(source, tmp_path / "out", artifact, "--provider", "cuda"))
    assert error.startswith("error: the model ran out of memory on a single image (0000.png, or one soon after it)")


@pytest.mark.usefixtures("pretended")
def test_a_model_that_changes_the_size_is_refused_through_buffers_as_well():
    from onnx import helper

    halved = model([helper.make_node("MaxPool", ["synthetic"], ["refined"], kernel_shape=[2, 2], strides=[2, 2])])
    session = open_session(Artifact(Path("refiner.onnx"), Manifest(), halved), "cuda", "fp32", threads=1)
    for _ in range(2):
        with pytest.raises(ModelError, match="a refiner keeps height and width"):
            refine_images(session.run, images([(8, 8, 1)]), 2)
