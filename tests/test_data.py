"""Images for training: what is loaded, what is left out, how real images are fitted, and the crops."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from tiny import SIMGAN, Recorder, train_config, write_images

from refinery.dataset import open_dataset
from refinery.errors import DatasetError
from refinery.jobs.train import train
from refinery.sample import Sample
from refinery.training.data import Batches, ImageSet
from refinery.training.loading import crop_size, load, resize_to_cover
from refinery.training.sampling import Chance

CPU = torch.device("cpu")


def image_set(*sizes_hw: tuple[int, int], channels: int = 1, dtype=np.uint8) -> ImageSet:
    """Images in which every pixel says which image and place it is from."""
    images = []
    for number, (height, width) in enumerate(sizes_hw):
        y, x = np.mgrid[:height, :width]
        pixels = (100 * number + 10 * y + x).astype(dtype)
        images.append(np.repeat(pixels[:, :, None], channels, axis=2))
    samples = [Sample(str(i), f"{i}.png") for i in range(len(images))]
    return ImageSet(images, samples, channels, 8 * np.dtype(dtype).itemsize)


def batches(images: ImageSet, crop_hw=(8, 8), batch_size=16, seed=0, **options) -> Batches:
    return Batches(images, crop_hw, batch_size, Chance(seed, "synthetic"), CPU, **options)


def levels(batch: torch.Tensor, top: int = 255) -> np.ndarray:
    """Back to whole pixel values, (B, H, W)."""
    return np.rint((batch[:, 0].numpy() + 1) * top / 2).astype(int)


@pytest.mark.parametrize("sizes", [[(9, 12)] * 3, [(8, 8), (9, 12), (20, 8)]])
def test_crops_are_pieces_of_the_images(sizes):
    images = image_set(*sizes, dtype=np.uint16)
    batch = batches(images, batch_size=64).draw()
    assert batch.shape == (64, 1, 8, 8)
    assert batch.dtype == torch.float32
    for crop in levels(batch, 65535):
        number, first = crop[0, 0] // 100, crop[0, 0] % 100
        top, left = next((y, x) for y in range(13) for x in range(5) if 10 * y + x == first)
        whole = images.images[min(number, len(sizes) - 1)][:, :, 0]
        windows = np.lib.stride_tricks.sliding_window_view(whole, (8, 8)).reshape(-1, 8, 8)
        assert (windows == crop).all(axis=(1, 2)).any(), (number, top, left)


def test_every_place_and_every_image_is_met():
    drawn = levels(batches(image_set((9, 10), (9, 10)), batch_size=400).draw())
    assert {int(crop[0, 0]) for crop in drawn} == {
        100 * i + 10 * y + x for i in (0, 1) for y in (0, 1) for x in (0, 1, 2)
    }


def test_an_image_of_the_crop_size_is_used_whole():
    assert (levels(batches(image_set((8, 8))).draw()) == image_set((8, 8)).images[0][:, :, 0]).all()


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_range_of_both_depths(dtype, top):
    pixels = np.full((8, 8, 1), top, dtype)
    pixels[0, 0] = 0
    images = ImageSet([pixels], [Sample("a", "a.png")], 1, 8 * np.dtype(dtype).itemsize)
    batch = batches(images, batch_size=1).draw()
    assert float(batch.min()) == -1
    assert float(batch.max()) == 1


def test_a_batch_depends_on_its_number_the_seed_and_the_side_alone():
    images = image_set((20, 20), (12, 30))
    first, again, other = (batches(images, seed=seed) for seed in (0, 0, 1))
    drawn = [first.draw() for _ in range(4)]
    assert torch.equal(again.draw(), drawn[0])
    again.load_state({"number": 3})
    assert torch.equal(again.draw(), drawn[3])
    assert again.state() == first.state() == {"number": 4}
    assert len({tuple(batch.flatten().tolist()) for batch in drawn}) == 4
    real = Batches(images, (8, 8), 16, Chance(0, "real"), CPU)
    assert not torch.equal(other.draw(), drawn[0])
    assert not torch.equal(real.draw(), drawn[0])
    assert batches(images, seed=-1).draw().shape == (16, 1, 8, 8)


def test_batches_made_ahead_are_the_same_and_leave_no_thread():
    images = image_set((20, 20), (12, 30))
    ahead, plain = batches(images, ahead=2), batches(images)
    wanted = plain.draw()
    assert torch.equal(ahead.draw(), wanted)
    assert torch.equal(ahead.draw_like(wanted, 5), plain.draw_like(wanted, 5))
    assert ahead.state() == plain.state() == {"number": 6}
    ahead.close()
    assert torch.equal(ahead.draw(), plain.draw())
    ahead.load_state({"number": 0})
    assert torch.equal(ahead.draw(), wanted)
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "refinery-ahead"]


def test_processes_share_out_one_batch():
    images = image_set(*[(20, 20)] * 9)
    whole = batches(images, batch_size=6).draw()
    parts = [Batches(images, (8, 8), 3, Chance(0, "synthetic", rank, 2), CPU).draw() for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)


def test_images_smaller_than_the_crop_are_not_drawn():
    drawn = batches(image_set((8, 7), (9, 9), (7, 30)), batch_size=50)
    assert drawn.too_small == 2
    assert {int(crop.flat[0]) // 100 for crop in levels(drawn.draw())} == {1}
    with pytest.raises(DatasetError, match="no image is as large as the crops of 40x8 px"):
        batches(image_set((8, 7)), crop_hw=(8, 40))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("synthetic", "real", "largest", "expected"),
    [
        ([(36, 60)], [(36, 60)], 64, (36, 60)),
        ([(36, 60), (40, 50)], [(100, 100)], 64, (36, 50)),
        ([(200, 300)], [(150, 20)], 64, (64, 20)),
        ([(40, 40)] + [(2000, 1500)] * 39, [(300, 300)], 224, (224, 224)),
        ([(40, 40)] * 4 + [(2000, 1500)] * 36, [(300, 300)], 224, (40, 40)),
    ],
)
def test_crop_size_is_what_nearly_every_image_can_give(synthetic, real, largest, expected):
    assert crop_size(image_set(*synthetic), image_set(*real), largest) == expected


@pytest.mark.parametrize(
    ("size_hw", "shrink", "expected"),
    [
        ((72, 120), True, (36, 60)),
        ((72, 200), True, (36, 100)),
        ((18, 60), True, (36, 120)),
        ((36, 60), True, (36, 60)),
        ((72, 200), False, (72, 200)),
        ((18, 60), False, (36, 120)),
    ],
)
def test_real_images_are_scaled_to_cover(size_hw, shrink, expected):
    assert resize_to_cover(image_set(size_hw), (36, 60), 1, shrink).images[0].shape == (*expected, 1)


def test_scaling_keeps_depth_and_range_and_makes_gray_of_colour():
    noise = np.random.default_rng(0).integers(0, 2, (40, 40, 3)).astype(np.uint16) * 65535
    fitted = resize_to_cover(ImageSet([noise], [Sample("a", "a.png")], 3, 16), (16, 16), 1)
    assert fitted.images[0].dtype == np.uint16
    assert fitted.images[0].shape == (16, 16, 1)
    assert (fitted.channels, fitted.bits) == (1, 16)


def test_load_keeps_sizes_and_names_what_it_leaves_out(tmp_path):
    write_images(tmp_path, 5, (12, 16))
    write_images(tmp_path / "more", 2, (30, 20))
    write_images(tmp_path / "colour", 1, channels=3)
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = load(open_dataset(tmp_path), 100, "synthetic dataset")
    assert sorted({image.shape for image in images.images}) == [(12, 16, 1), (30, 20, 1)]
    assert (len(images.images), images.channels, images.bits) == (7, 1, 8)
    assert images.smallest_hw == (12, 16)
    assert sorted(line.split(":")[0] for line in images.skipped) == ["broken.png", "colour/000.png"]


def test_load_takes_an_even_part_of_what_does_not_fit(tmp_path):
    write_images(tmp_path, 40, (256, 256))
    images = load(open_dataset(tmp_path), 1, "synthetic dataset")
    numbers = [int(sample.key) for sample in images.samples]
    assert len(numbers) == 16
    assert max(np.diff(numbers)) <= 3


def test_load_of_nothing_usable_says_why(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"^real dataset .*: no usable image; a\.png: not a readable image"):
        load(open_dataset(tmp_path), 100, "real dataset")


def test_mixed_sizes_from_40_to_2000_px_train_and_what_is_too_small_is_said(tmp_path):
    rng = np.random.default_rng(0)
    for folder, count in (("synthetic", 40), ("real", 12)):
        for i in range(count):
            size_hw = (40, 40) if i == 0 else (2000, 90) if i == 1 else tuple(rng.integers(90, 300, 2))
            write_images(tmp_path / folder / f"{i:02d}", 1, size_hw, seed=i)
    observer = Recorder(stop_at=2)
    train(train_config(tmp_path, crop=64), SIMGAN, observer=observer)
    assert next(iter(observer.tables.values()))["crops"] == "64x64 px"
    assert "1 of 40 synthetic images are smaller than the crops of 64x64 px: not trained on" in observer.said
