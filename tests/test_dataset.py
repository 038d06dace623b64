"""Opening by guess or by name, what is said about what is no dataset, surveying and choosing samples."""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np
import pytest
from conftest import mask, photo, png

from refinery.dataset import iter_decoded, open_dataset, split, spread, survey
from refinery.errors import ConfigError, DatasetError, SampleError

PNG = png(photo())


def test_layout_is_found_out(tree, tmp_path):
    assert open_dataset(tree({"a/b.PNG": PNG})).layout == "folder"
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["image/0"] = photo(0, 16, 16)
    assert open_dataset(tmp_path / "g.h5").layout == "hdf5"
    (tmp_path / "without_suffix").write_bytes((tmp_path / "g.h5").read_bytes())
    assert open_dataset(tmp_path / "without_suffix").layout == "hdf5"


def test_images_win_over_hdf5_beside_them(tree):
    assert open_dataset(tree({"a.png": PNG, "extra.h5": b"x"})).layout == "folder"


@pytest.mark.parametrize(("files", "part"), [
    ({}, "the folder is empty"),
    ({"a.json": b"", "b.json": b"", "c": b""}, "no images in it (found 2 .json, 1 without a suffix)"),
    ({"masks/a.png": png(mask())}, "look like masks"),
])  # fmt: skip
def test_folder_without_samples_is_one_clear_line(files, part, tree):
    root = tree(files)
    with pytest.raises(DatasetError) as caught:
        open_dataset(root)
    assert str(caught.value).startswith(f"{root}: ")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_dataset_is_one_clear_line(tree):
    root = tree({"a.png": PNG, "b.txt": b"text"})
    for path, part in (
        (root / "missing", "no such file or folder"),
        (root / "a.png", "a single image; give the folder"),
        (root / "b.txt", "not a dataset"),
    ):
        with pytest.raises(DatasetError, match=part):
            open_dataset(path)


def test_unknown_layout_names_the_nearest(tree):
    with pytest.raises(ConfigError, match=r"no format named 'foldr'; did you mean 'folder'\?"):
        open_dataset(tree({"a.png": PNG}), "foldr")


def test_named_layout_must_fit(tree):
    with pytest.raises(DatasetError, match="not a folder"):
        open_dataset(tree({"a.png": PNG}) / "a.png", "folder")


def test_forbidden_folder_is_one_clear_line(tree, monkeypatch):
    root = tree({"a.png": PNG})

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\); check its permissions"):
        open_dataset(root)


def test_survey(tree):
    root = tree(
        {f"{i:02d}.png": png(photo(i)) for i in range(20)}
        | {"20.png": png(photo(0, 32, 8, 1)), "21.png": b"broken"}
        | {f"{i:02d}.json": b"" for i in range(20)}
        | {"00_mask.png": png(mask()), "notes.txt": b""}
    )
    found = survey(open_dataset(root))
    assert (found.layout, found.samples, found.loose) == ("folder", 22, 1)
    assert found.sidecars == {".json": 20, ".png": 1}
    assert (found.images.looked_at, found.images.unreadable) == (22, 1)
    assert found.images.size_common_hw == (16, 20)
    assert (found.images.size_min_hw, found.images.size_max_hw) == ((16, 8), (32, 20))
    assert found.images.modes == {"L": 1, "RGB": 20}
    assert (found.images.channels, found.images.bits, found.images.formats) == ((1, 3), (8,), {"PNG": 21})
    assert len(found.problems) == 1
    assert found.problems[0].startswith("21.png: ")


def test_survey_looks_at_no_more_than_its_limit(tree):
    found = survey(open_dataset(tree({f"{i}.png": PNG for i in range(30)})), limit=7)
    assert (found.samples, found.images.looked_at) == (30, 7)


def test_spread_is_even_ordered_and_the_same_for_the_same_seed(tree):
    source = open_dataset(tree({f"{i:02d}.png": PNG for i in range(40)}))
    keys = [int(sample.key) for sample in spread(source, 10, seed=1)]
    assert keys == [int(sample.key) for sample in spread(source, 10, seed=1)]
    assert [key // 4 for key in keys] == list(range(10))
    assert len(list(spread(source, 100))) == len(list(spread(source))) == 40


def test_broken_samples_come_as_their_errors(tree):
    source = open_dataset(tree({"a.png": PNG, "b.png": b"broken", "c.png": PNG}))
    results = [result for _, result in iter_decoded(source)]
    assert [isinstance(result, SampleError) for result in results] == [False, True, False]


def test_split_has_about_its_fraction_and_depends_on_the_seed():
    held_out = np.array([[split(f"image {i}", 0.2, seed) for i in range(3000)] for seed in (0, 1)])
    assert held_out.mean(axis=1) == pytest.approx([0.2, 0.2], abs=0.03)
    assert (held_out[0] != held_out[1]).any()
