"""Pairs: whose partner an image is, what is refused, and that both images of a pair are cropped and changed alike."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import write_images

from refinery.dataset import open_dataset
from refinery.errors import ConfigError, DatasetError
from refinery.sample import Sample
from refinery.training.data import ImageSet
from refinery.training.load_pairs import load_pairs, match
from refinery.training.pairs import PairedBatches, require_mirrorable
from refinery.training.sampling import Chance

CPU = torch.device("cpu")


def loaded(root, memory_mb=100):
    return load_pairs(open_dataset(root / "synthetic"), open_dataset(root / "real"), memory_mb)


def numbered(count=5, size_hw=(12, 20), channels=(1, 1), bits=16):
    """Two sets in which each pixel says which image and place it is from; the real ones lie in reverse order."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    sets = []
    for depth in channels:
        images = [np.repeat((1000 * i + 20 * y + x)[:, :, None], depth, 2).astype(np.uint16) for i in range(count)]
        sets.append(ImageSet(images, [Sample(str(i), f"{i}.png") for i in range(count)], depth, bits))
    return sets[0], sets[1].select(range(count)[::-1])


def batches(synthetic, real, seed=0, **options):
    return PairedBatches(synthetic, real, (8, 8), 16, Chance(seed, "synthetic"), CPU, **options)


def test_partners_have_one_path_but_for_the_suffix(tmp_path):
    write_images(tmp_path / "synthetic" / "a.b", 3)
    write_images(tmp_path / "real" / "a.b", 4, channels=3, seed=1)
    (tmp_path / "real" / "a.b" / "001.png").unlink()
    Image.new("RGB", (16, 8), (250, 0, 0)).save(tmp_path / "real" / "a.b" / "001.jpg")
    pairs = loaded(tmp_path)
    assert [sample.key for sample in pairs.synthetic.samples] == [sample.key for sample in pairs.real.samples]
    assert [sample.image for sample in pairs.real.samples] == ["a.b/000.png", "a.b/001.jpg", "a.b/002.png"]
    assert pairs.real.images[1].mean((0, 1)) == pytest.approx([250, 0, 0], abs=5)
    assert (pairs.synthetic.channels, pairs.real.channels) == (1, 3)
    assert pairs.notes == ("real images without a synthetic partner are left out: a.b/003.png",)


def test_partners_in_two_hdf5_files(tmp_path):
    for name, level in (("clean", 10), ("worn", 200)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for i in (3, 4):
                file[f"images/shot_0.{i}"] = np.full((12, 16), level + i, np.uint8)
    pairs = load_pairs(open_dataset(tmp_path / "clean.h5"), open_dataset(tmp_path / "worn.h5"), 10)
    assert [int(image.mean()) for image in (*pairs.synthetic.images, *pairs.real.images)] == [13, 14, 203, 204]


def test_missing_partners_are_named():
    synthetic = [Sample(str(i), f"{i}.png") for i in range(9)]
    expected = r"^./real: no partner for 0.png, 1.png, 2.png and 4 more of 9 synthetic images; [^\n]*$"
    with pytest.raises(DatasetError, match=expected):
        match(synthetic, [Sample("x", "7.jpg"), Sample("y", "8.png"), Sample("z", "9.png")], "./real")


def test_partners_of_another_size_are_refused(tmp_path):
    write_images(tmp_path / "synthetic", 2)
    write_images(tmp_path / "real", 2, size_hw=(8, 17))
    with pytest.raises(DatasetError, match=r"^partners of different size: 000.png \(16x8 and 17x8 px\), 001.png "):
        loaded(tmp_path)


def test_a_broken_or_odd_image_costs_its_pair_alone(tmp_path):
    write_images(tmp_path / "synthetic", 5)
    write_images(tmp_path / "real", 5)
    (tmp_path / "real" / "001.png").write_bytes(b"no image")
    write_images(tmp_path / "colour", 1, channels=3)
    (tmp_path / "colour" / "000.png").replace(tmp_path / "synthetic" / "003.png")
    pairs = loaded(tmp_path)
    assert [sample.key for sample in pairs.real.samples] == ["000", "002", "004"]
    assert [line.split(":")[0] for line in pairs.synthetic.skipped] == ["001.png", "003.png"]
    assert not pairs.real.skipped
    assert [sample.key for sample in pairs.select([2, 0]).real.samples] == ["004", "000"]


def test_gray_partners_of_colour_images_are_taken_as_colour(tmp_path):
    write_images(tmp_path / "synthetic", 2, channels=3)
    write_images(tmp_path / "real", 2)
    pairs = loaded(tmp_path)
    assert pairs.real.channels == pairs.real.images[0].shape[2] == 3


def test_pairs_beyond_the_memory_are_spread_evenly(tmp_path):
    write_images(tmp_path / "synthetic", 40, (256, 256), bits=16)
    write_images(tmp_path / "real", 40, (256, 256), seed=1)
    pairs = loaded(tmp_path, memory_mb=2)
    numbers = [int(sample.key) for sample in pairs.real.samples]
    assert len(numbers) == 16
    assert max(np.diff(numbers)) <= 3
    assert pairs.notes == ("16 of 40 pairs are used, as many as there is room for",)


@pytest.mark.parametrize("options", [{}, {"mirror": True}, {"jitter": 1.25, "mirror": True}, {"ahead": 2}])
def test_both_images_of_a_pair_are_cropped_and_changed_alike(options):
    drawn = batches(*numbered(channels=(1, 3)), **options)
    for _ in range(3):
        synthetic, real = drawn.draw_synthetic(), drawn.draw_real()
        assert synthetic.shape == (16, 1, 8, 8)
        assert torch.allclose(real, synthetic.expand(16, 3, 8, 8), atol=1e-6)
        assert synthetic.is_contiguous(memory_format=torch.channels_last)
    drawn.close()


def test_mirror_turns_half_of_the_pairs_over():
    crops = torch.cat([batches(*numbered(), mirror=True).draw()[0] for _ in range(1)])
    turned = (crops[:, 0, 0, 0] > crops[:, 0, 0, -1]).float().mean()
    assert 0.2 < turned < 0.8


def test_jitter_enlarges():
    """A ramp of 1 a pixel rises by 1 / 1.25 a pixel, away from the border that bicubic interpolation repeats."""
    step = 2 / 65535
    crops = batches(*numbered(), jitter=1.25).draw()[0][:, 0, 2:6, 2:6]
    assert torch.allclose(crops.diff(dim=2), torch.tensor(step / 1.25), atol=0.2 * step)


def test_a_resumed_run_draws_what_it_would_have_drawn():
    first = batches(*numbered(), mirror=True, jitter=1.25, ahead=2)
    drawn = [first.draw() for _ in range(5)]
    again = batches(*numbered(), mirror=True, jitter=1.25)
    again.load_state({"number": 3})
    assert all(torch.equal(a, b) for a, b in zip(again.draw(), drawn[3], strict=True))
    assert not torch.equal(drawn[3][0], drawn[4][0])
    assert first.state() == {"number": 5}
    first.close()


def test_two_processes_draw_different_pairs():
    sets = numbered(count=9)
    one, two = (PairedBatches(*sets, (8, 8), 8, Chance(0, "synthetic", rank, 2), CPU).draw()[0] for rank in (0, 1))
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    ("types", "named"),
    [
        ({"word": "text", "box": "box"}, r"word \(text\)"),
        ({"gaze": "vector", "turn": "number"}, r"gaze \(vector\), turn \(number\)"),
        (dict.fromkeys("abcd", "class"), r"a \(class\), b \(class\), c \(class\), \.\.\."),
    ],
)
def test_a_mirror_that_labels_forbid_is_refused(types, named):
    with pytest.raises(ConfigError, match=rf"^mirror: {named} may mean something else in a mirror, [^\n]*$"):
        require_mirrorable(types)


def test_places_may_be_mirrored():
    kinds = ("keypoint", "box", "polygon", "semantic_mask", "instance_mask", "depth")
    require_mirrorable({kind: kind for kind in kinds})
