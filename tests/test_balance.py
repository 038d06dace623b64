"""Images drawn equally often by class or sequence."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from tiny import SIMGAN, Recorder, train_config, write_images

from refinery.dataset import open_dataset
from refinery.errors import ConfigError
from refinery.jobs.train import train
from refinery.labels import open_labels
from refinery.training.balance import balanced
from refinery.training.data import Batches
from refinery.training.loading import load
from refinery.training.sampling import Chance, grouped, uniform


@pytest.fixture
def labelled(tmp_path):
    """30 images: 27 stops and 2 yields, one of them with a third class too, one without a class."""
    write_images(tmp_path / "a", 30)
    for i in range(29):
        content = {"class": "stop" if i < 27 else "yield", "weather": {"class": ["sun", "rain"][i % 2]}}
        (tmp_path / "a" / f"{i:03d}.json").write_text(json.dumps(content))
    return tmp_path / "a"


def opened(path):
    source = open_dataset(path)
    return load(source, 10, "synthetic dataset"), open_labels(source)


def drawn(groups, count=6000) -> Counter:
    return Counter(groups.pick(np.random.default_rng(0).random((count, 2))).tolist())


def test_every_class_is_drawn_as_often_as_any_other(labelled):
    counts = drawn(balanced(*swap(opened(labelled), "class:class")))
    by_class = [sum(counts[i] for i in members) for members in (range(27), (27, 28), (29,))]
    assert by_class == pytest.approx([2000] * 3, abs=150)
    assert min(counts[i] for i in range(27)) > 40


def swap(pair, how):
    return pair[0], how, pair[1]


def test_an_image_of_several_classes_is_in_the_group_of_each():
    counts = drawn(grouped([["a", "b"], ["a"], ["b", "b"], []]), 4000)
    assert [counts[i] / 4000 for i in range(4)] == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3], abs=0.03)


def test_every_sequence_is_drawn_as_often_as_any_other(tmp_path):
    for name, count in (("walk", 20), ("run", 2)):
        write_images(tmp_path / name, count)
    images, reader = opened(tmp_path)
    counts = drawn(balanced(images, "sequence", reader))
    runs = [i for i, sample in enumerate(images.samples) if sample.key.startswith("run")]
    assert sum(counts[i] for i in runs) == pytest.approx(3000, abs=150)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("class", r"it takes one class label; class labels: class, weather\.class; say which, as in class:class"),
        ("class:colour", r'"class:colour": no class label of this name; class labels: class, weather\.class'),
        ("class:", r'"class:": expected none, class, class:NAME or sequence'),
        ("squence", r'"squence": expected none, class, class:NAME or sequence'),
        ("sequence", r"all 30 images are of one sequence; a sequence is a folder, or"),
    ],
)
def test_what_there_is_not_is_said(labelled, how, message):
    with pytest.raises(ConfigError, match=message):
        balanced(*swap(opened(labelled), how))


def test_without_balance_all_images_are_alike(labelled):
    assert balanced(*swap(opened(labelled), "none")) is None
    assert max(drawn(uniform(30)).values()) < 1.4 * 200


def test_images_smaller_than_the_crop_leave_their_groups(tmp_path):
    write_images(tmp_path / "a", 3, (8, 16))
    write_images(tmp_path / "b", 3, (20, 20))
    images, reader = opened(tmp_path)
    batches = Batches(
        images, (12, 12), 8, Chance(0, "synthetic"), torch.device("cpu"), balanced(images, "sequence", reader)
    )
    assert batches.too_small == 3
    assert sorted(batches.groups.members) == [3, 4, 5]
    assert len(batches.groups.starts) == 2


def test_training_takes_the_setting(tmp_path):
    observer = Recorder(stop_at=1)
    write_images(tmp_path / "synthetic" / "b", 20, labels=True)
    write_images(tmp_path / "synthetic" / "c", 20, labels=True)
    write_images(tmp_path / "real", 16)
    train(train_config(tmp_path, balance="sequence"), SIMGAN, observer=observer)
    with pytest.raises(ConfigError, match='"class:colour": no class label of this name; class labels: folder'):
        train(train_config(tmp_path, out="other", balance="class:colour"), SIMGAN)
    with pytest.raises(ConfigError, match='balance_real = "sequence": all 16 images are of one sequence'):
        train(train_config(tmp_path, out="third", balance_real="sequence"), SIMGAN)
