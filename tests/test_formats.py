"""Which files become samples, sidecars or loose files, and how bad datasets and outputs are met."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import mask, photo, png

from refinery.errors import DatasetError, LabelError, OutputError, SampleError
from refinery.formats import folder, hdf5
from refinery.formats._hdf5_variants import Hdf5Sample
from refinery.formats._names import picture_core, picture_tail, stem_of
from refinery.formats._source import Loose
from refinery.formats._spool import Spool
from refinery.sample import Sample

PNG = png(photo())
MASK = png(mask())


def read(root: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """image -> sidecars, and the loose files, after checking that every file was met once."""
    entries = list(folder.open_source(root).entries())
    samples = {entry.image: entry.sidecars for entry in entries if isinstance(entry, Sample)}
    loose = [entry.path for entry in entries if isinstance(entry, Loose)]
    met = sorted([*samples, *(path for beside in samples.values() for path in beside), *loose])
    assert met == sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return samples, loose


GROUPED = {
    "same stem": (
        {"a.png": PNG, "a.json": b"{}", "b.png": PNG, "b.txt": b"", "notes.md": b""},
        {"a.png": ("a.json",), "b.png": ("b.txt",)},
    ),
    "longest stem at a delimiter": (
        {"img_0.5_left.png": PNG, "img_0.9_left.png": PNG, "img_0.5_left.json": b"", "img_0.9_left_box.json": b""},
        {"img_0.5_left.png": ("img_0.5_left.json",), "img_0.9_left.png": ("img_0.9_left_box.json",)},
    ),
    "no delimiter, no owner": ({"a1.png": PNG, "a10.json": b"", "a1-10.json": b""}, {"a1.png": ("a1-10.json",)}),
    "spaces and other letters": (
        {"mein Bild é.png": PNG, "mein Bild é.json": b"", "日本 1.PNG": PNG, "日本 1.txt": b""},
        {"mein Bild é.png": ("mein Bild é.json",), "日本 1.PNG": ("日本 1.txt",)},
    ),
    "label after the full name": ({"a.png": PNG, "a.png.json": b""}, {"a.png": ("a.png.json",)}),
    "two images of one stem": ({"a.jpg": PNG, "a.png": PNG, "a.json": b""}, {"a.jpg": ("a.json",), "a.png": ()}),
    "hidden files are loose": ({"a.png": PNG, "._a.png": b"\0", ".DS_Store": b""}, {"a.png": ()}),
    "no image suffix": ({"a.png": PNG, "b": PNG, "a": b""}, {"a.png": ("a",)}),
    "mask by name": ({"a.png": PNG, "a_mask.png": PNG, "b.png": PNG}, {"a.png": ("a_mask.png",), "b.png": ()}),
    "solo": (
        {"s/step0.camera.png": PNG, "s/step0.camera.semantic segmentation.png": MASK, "s/step0.frame_data.json": b""},
        {"s/step0.camera.png": ("s/step0.camera.semantic segmentation.png", "s/step0.frame_data.json")},
    ),
    "replicator": (
        {"rgb_0000.png": PNG, "semantic_segmentation_0000.png": MASK, "bounding_box_2d_tight_0000.npy": b""},
        {"rgb_0000.png": ("bounding_box_2d_tight_0000.npy", "semantic_segmentation_0000.png")},
    ),
    "mask before the stem": ({"1.png": PNG, "mask_1.png": MASK}, {"1.png": ("mask_1.png",)}),
    "mask by content": (
        {f"{i}{end}.png": data for i in range(3) for end, data in (("", PNG), ("_b", MASK))},
        {f"{i}.png": (f"{i}_b.png",) for i in range(3)},
    ),
    "picture named, mask bare": (
        {"1.png": MASK, "1_rgb.png": PNG, "2.png": MASK, "2_rgb.png": PNG},
        {"1_rgb.png": ("1.png",), "2_rgb.png": ("2.png",)},
    ),
    "16-bit beside 8-bit": (
        {"1.png": PNG, "1_z.png": png(photo(channels=1).astype(np.uint16) * 200)},
        {"1.png": ("1_z.png",)},
    ),
    "variants are pictures": (
        {"a.png": PNG, "a_1.png": MASK, "a_night.png": PNG},
        {"a.png": (), "a_1.png": (), "a_night.png": ()},
    ),
    "yolo": (
        {"images/train/a.jpg": PNG, "labels/train/a.txt": b"", "labels/train/b.txt": b"", "data.yaml": b""},
        {"images/train/a.jpg": ("labels/train/a.txt",)},
    ),
    "roboflow": (
        {"train/images/a.jpg": PNG, "train/labels/a.txt": b"", "valid/images/a.jpg": PNG, "valid/labels/a.txt": b""},
        {"train/images/a.jpg": ("train/labels/a.txt",), "valid/images/a.jpg": ("valid/labels/a.txt",)},
    ),
    "voc": (
        {"JPEGImages/a.jpg": PNG, "Annotations/a.xml": b"", "SegmentationClass/a.png": MASK,
         "SegmentationClass/orphan.png": MASK},
        {"JPEGImages/a.jpg": ("Annotations/a.xml", "SegmentationClass/a.png")},
    ),
    "camvid": ({"train/a.png": PNG, "trainannot/a.png": MASK}, {"train/a.png": ("trainannot/a.png",)}),
    "cityscapes": (
        {"leftImg8bit/val/x/x_0_leftImg8bit.png": PNG, "gtFine/val/x/x_0_gtFine_labelIds.png": MASK,
         "gtFine/val/x/x_0_gtFine_polygons.json": b""},
        {"leftImg8bit/val/x/x_0_leftImg8bit.png": (
            "gtFine/val/x/x_0_gtFine_labelIds.png", "gtFine/val/x/x_0_gtFine_polygons.json")},
    ),
    "masks below the pictures": (
        {"a.png": PNG, "b.png": PNG, "masks/a.png": MASK, "masks/b_mask.png": MASK},
        {"a.png": ("masks/a.png",), "b.png": ("masks/b_mask.png",)},
    ),
    "masks below a folder of labels": (
        {"images/a.png": PNG, "labels/a.txt": b"", "labels/masks/a.png": MASK},
        {"images/a.png": ("labels/a.txt", "labels/masks/a.png")},
    ),
    "mask folder by content": (
        {f"{name}/{i}.png": data for i in range(3) for name, data in (("view", PNG), ("xyz", MASK))},
        {f"view/{i}.png": (f"xyz/{i}.png",) for i in range(3)},
    ),
    "rgb and depth": ({"rgb/0.png": PNG, "depth/0.png": PNG}, {"rgb/0.png": ("depth/0.png",)}),
    "classes called normal and mask": (
        {"normal/1.png": PNG, "pneumonia/1.png": PNG, "mask/2.png": PNG, "no_mask/2.png": PNG},
        {"normal/1.png": (), "pneumonia/1.png": (), "mask/2.png": (), "no_mask/2.png": ()},
    ),
    "flat renders without partners": ({"1.png": MASK, "2.png": MASK}, {"1.png": (), "2.png": ()}),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPED)
def test_grouping(name, tree):
    files, expected = GROUPED[name]
    samples, _ = read(tree(files))
    assert samples == expected


def test_a_thousand_photos_called_normal_are_photos(tree):
    root = tree({f"normal_{i:03d}.png": png(photo(i, channels=1)) for i in range(30)})
    assert len(read(root)[0]) == 30


def test_order_is_depth_first_by_name(tree):
    root = tree({"b/1.png": PNG, "a/2.png": PNG, "a/10.png": PNG, "c.png": PNG})
    assert list(read(root)[0]) == ["c.png", "a/10.png", "a/2.png", "b/1.png"]


@pytest.mark.parametrize(("names", "keys"), [
    (["a.png", "b.jpg"], ["a", "b"]),
    (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
    (["a.jpg", "a.png", "a.png.jpg"], ["a.jpg", "a.png", "a.png.jpg"]),
    (["0.5.png", "0.6.png"], ["0.5", "0.6"]),
])  # fmt: skip
def test_keys_are_unique(names, keys, tree):
    root = tree(dict.fromkeys(names, PNG))
    assert [entry.key for entry in folder.open_source(root).entries()] == keys


@pytest.mark.parametrize(("name", "stem"), [("a.b.png", "a.b"), ("a", "a"), (".png", ".png"), ("a.", "a")])
def test_stem(name, stem):
    assert stem_of(name) == stem


def test_words_of_the_picture_itself():
    assert picture_core("step0.camera") == "step0"
    assert picture_core("step0.left") is None
    assert picture_tail("rgb_0000") == "0000"
    assert picture_tail("depth_0000") is None


def test_own_folder_is_no_part_of_the_dataset(tree):
    root = tree({"a.png": PNG, ".refinery/b.png": PNG, "below/.refinery/c.png": PNG})
    images = [entry.image for entry in folder.open_source(root).entries()]
    assert images == ["a.png", "below/.refinery/c.png"]


def problems_of(root: Path) -> str:
    """All problems of a folder as one text, after reading it twice."""
    source = folder.open_source(root)
    assert list(source.entries()) == list(source.entries())
    return "\n".join(source.problems())


def test_case_clash_is_reported(tree):
    assert "A.png, a.png" in problems_of(tree({"A.png": PNG, "a.png": PNG}))


def test_links_do_not_loop_and_are_reported(tree, tmp_path):
    root = tree({"a/1.png": PNG})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "2.png").write_bytes(PNG)
    for place, goal in (("a/up", root), ("b", root / "a"), ("c", outside), ("d", outside), ("e", tmp_path)):
        (root / place).symlink_to(goal)
    (outside / "back").symlink_to(root)
    source = folder.open_source(root)
    assert [entry.image for entry in source.entries()] == ["a/1.png", "c/2.png"]
    assert len(source.problems()) == 5
    assert all("the link is left out" in line for line in source.problems())


def test_linked_label_folder_goes_with_its_pictures(tree, tmp_path):
    root = tree({"images/a.png": PNG})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_bytes(b"0 0 0 0 0")
    (root / "labels").symlink_to(tmp_path / "elsewhere")
    entries = list(folder.open_source(root).entries())
    assert entries == [Sample("images/a", "images/a.png", ("labels/a.txt",))]


def test_broken_links_and_sockets_are_left_out(tree, tmp_path, monkeypatch):
    root = tree({"a.png": PNG})
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.png")
        text = problems_of(root)
    assert "gone.png: a broken link" in text
    assert "plug.png: not a plain file" in text


def test_unreadable_folder_is_reported_and_the_rest_goes_on(tree, monkeypatch):
    root = tree({"images/a.png": PNG, "labels/a.txt": b"", "other/b.png": PNG})
    scandir = os.scandir

    def refuse(path):
        if Path(path).name in ("images", "labels"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = folder.open_source(root)
    assert [entry.image for entry in source.entries()] == ["other/b.png"]
    assert any("images: cannot be read (Permission denied)" in line for line in source.problems())


def test_a_file_that_went_away_is_an_error_of_that_sample(tree):
    root = tree({"a.png": PNG})
    source = folder.open_source(root)
    (sample,) = source.entries()
    (root / "a.png").unlink()
    with pytest.raises(SampleError, match=r"^a\.png: cannot be read \(No such file"):
        source.read(sample)


@pytest.mark.parametrize("path", ["../evil.png", "/evil.png", "a/../../evil.png", ".refinery/x", "", "a\0b"])
def test_nothing_is_written_outside_the_output(path, tree, tmp_path):
    sink = folder.open_source(tree({"a.png": PNG})).sink(tmp_path / "out")
    with pytest.raises(OutputError, match="not a path inside"):
        sink.write_image(Sample("evil", path), PNG)


def test_a_link_out_of_the_output_is_not_followed(tree, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    sink = folder.open_source(tree({"a/b/1.png": PNG})).sink(tmp_path / "out")
    with pytest.raises(OutputError, match="leads outside"):
        sink.carry("a/b/1.png")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("code", "advice"), [
    (errno.ENOSPC, "free some space"), (errno.EACCES, "permissions"), (errno.EROFS, "can be written to"),
    (errno.EIO, "again"),
])  # fmt: skip
def test_what_the_disk_refuses_says_what_to_do(code, advice, tree, tmp_path, monkeypatch):
    sink = folder.open_source(tree({"a.png": PNG})).sink(tmp_path / "out")

    def refuse(self, _):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match=advice) as caught:
        sink.carry("a.png")
    assert str(tmp_path / "out" / "a.png") in str(caught.value)
    assert not list((tmp_path / "out" / ".refinery" / "tmp").iterdir())


def gaze(path: Path, count: int = 12) -> Path:
    """The public shape: image/0, look_vec/0, and something else."""
    with h5py.File(path, "w") as file:
        for i in range(count):
            file[f"image/{i}"] = photo(i, 35, 55, 1)
            file[f"look_vec/{i}"] = np.array([0.5, -0.25, i], np.float32)
        file["camera/matrix"] = np.eye(3)
        file.attrs["made_with"] = "a simulator"
    return path


def samples_of(source) -> list[Sample]:
    """The samples of a source."""
    return [entry for entry in source.entries() if isinstance(entry, Sample)]


def test_a_folder_of_images_with_an_hdf5_file_beside_them_stays_a_folder(tmp_path):
    gaze(tmp_path / "in.h5")
    (tmp_path / "in" / "images").mkdir(parents=True)
    (tmp_path / "in.h5").rename(tmp_path / "in" / "features.h5")
    assert hdf5.sniff(tmp_path / "in")
    (tmp_path / "in" / "images" / "1.png").write_bytes(PNG)
    assert not hdf5.sniff(tmp_path / "in")


def test_gaze_file(tmp_path):
    source = hdf5.open_source(gaze(tmp_path / "gaze.h5"))
    samples = samples_of(source)
    assert [sample.image for sample in samples] == [f"gaze.h5/image/{i}" for i in range(12)]
    assert samples[10].sidecars == ("gaze.h5/look_vec/10",)
    assert json.loads(source.read_file("gaze.h5/look_vec/10")) == {"look_vec": [0.5, -0.25, 10]}
    decoded = source.decode(source.read(samples[3]), samples[3])
    np.testing.assert_array_equal(decoded.pixels[:, :, 0], photo(3, 35, 55, 1))


def invert(source, out: Path, order=lambda samples: samples) -> bytes:
    """Write every image inverted, in some order, finish, and return the assembled file."""
    sink = source.sink(out)
    for sample in order(samples_of(source)):
        decoded = source.decode(source.read(sample), sample)
        sink.write_image(sample, source.encode(np.iinfo(decoded.pixels.dtype).max - decoded.pixels, decoded))
    sink.finish()
    return (out / sample.image.split("/")[0]).read_bytes()


def test_refined_file_keeps_everything_else(tmp_path):
    path = gaze(tmp_path / "gaze.h5")
    invert(hdf5.open_source(path), tmp_path / "out")
    with h5py.File(path) as before, h5py.File(tmp_path / "out" / "gaze.h5") as after:
        np.testing.assert_array_equal(after["image/7"][()], 255 - before["image/7"][()])
        np.testing.assert_array_equal(after["look_vec/7"][()], before["look_vec/7"][()])
        np.testing.assert_array_equal(after["camera/matrix"][()], np.eye(3))
        assert after.attrs["made_with"] == "a simulator"
    assert [p.name for p in (tmp_path / "out" / ".refinery").iterdir()] == []


@pytest.mark.parametrize("options", [{}, {"chunks": (4, 16, 16, 3), "compression": "gzip"}])
def test_stacked_images_give_the_same_bytes_in_any_order(options, tmp_path):
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        file.create_dataset("train/images", data=photo(0, 16 * 10, 16).reshape(10, 16, 16, 3), **options)
        file["train/labels"] = np.arange(10)
        file["train/masks"] = np.zeros((10, 16, 16), np.uint8)
    source = hdf5.open_source(tmp_path / "s.hdf5")
    assert samples_of(source)[2] == Hdf5Sample(
        *["s.hdf5/train/images/2"] * 2, ("s.hdf5/train/labels/2", "s.hdf5/train/masks/2")
    )
    assert json.loads(source.read_file("s.hdf5/train/labels/2")) == {"labels": 2}
    straight = invert(source, tmp_path / "one")
    assert invert(source, tmp_path / "two", lambda s: [*reversed(s), *s[:3]]) == straight


def test_killed_while_spooling_gives_the_same_bytes(tmp_path):
    source = hdf5.open_source(gaze(tmp_path / "gaze.h5"))
    straight = invert(source, tmp_path / "one")
    samples = samples_of(source)
    first = source.sink(tmp_path / "two")
    for sample in samples[:5]:
        decoded = source.decode(source.read(sample), sample)
        first.write_image(sample, source.encode(255 - decoded.pixels, decoded))
    (spool,) = (tmp_path / "two" / ".refinery" / "spool").glob("*/*")
    spool.write_bytes(spool.read_bytes()[:-100])
    assert invert(source, tmp_path / "two", lambda s: s[4:]) == straight


def test_finishing_again_changes_nothing_and_later_images_go_on_top(tmp_path):
    source = hdf5.open_source(gaze(tmp_path / "gaze.h5"))
    straight = invert(source, tmp_path / "out")
    source.sink(tmp_path / "out").finish()
    assert (tmp_path / "out" / "gaze.h5").read_bytes() == straight
    assert invert(source, tmp_path / "out", lambda s: s[2:3]) == straight


def test_values_come_when_it_is_finished(tmp_path):
    source = hdf5.open_source(gaze(tmp_path / "gaze.h5"))
    sink = source.sink(tmp_path / "out")
    sink.carry("gaze.h5/look_vec/1")
    assert not (tmp_path / "out" / "gaze.h5").exists()
    sink.finish()
    delivered = source.delivered(tmp_path / "out")
    assert delivered.read_file("gaze.h5/look_vec/1") == source.read_file("gaze.h5/look_vec/1")


@pytest.mark.parametrize(("top", "dtype"), [(1, np.float32), (255, np.float64), (1, np.float16)])
def test_float_images_keep_type_and_range(top, dtype, tmp_path):
    values = np.random.default_rng(0).uniform(0, top, (3, 16, 16)).astype(dtype)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for i, value in enumerate(values):
            file[f"image/{i}"] = value
    source = hdf5.open_source(tmp_path / "f.h5")
    sample = samples_of(source)[1]
    decoded = source.decode(source.read(sample), sample)
    assert decoded.bits == 16
    again = np.load(io.BytesIO(source.encode(decoded.pixels, decoded)))
    assert again.dtype == dtype
    np.testing.assert_allclose(again, values[1], atol=top / 65535 + (1e-3 * top if dtype == np.float16 else 0))


def test_nan_is_an_error_of_that_sample(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for i in range(3):
            file[f"image/{i}"] = np.full((16, 16), np.nan if i == 1 else 0.5, np.float32)
            file[f"gaze/{i}"] = np.array([np.nan if i == 2 else 0.5])
    source = hdf5.open_source(tmp_path / "f.h5")
    samples = samples_of(source)
    with pytest.raises(SampleError, match=r"^f\.h5/image/1: has NaN"):
        source.decode(source.read(samples[1]), samples[1])
    with pytest.raises(LabelError, match=r"^f\.h5/gaze/2: has NaN"):
        source.read_file(samples[2].sidecars[0])


def test_bad_images_in_a_group_are_errors_of_their_samples(tmp_path):
    gaze(tmp_path / "gaze.h5")
    with h5py.File(tmp_path / "gaze.h5", "a") as file:
        file["image/20"] = np.zeros((3, 3), np.uint8)
        file["image/21"] = h5py.ExternalLink("other.h5", "/image/0")
        file["image/22"] = h5py.SoftLink("/image/0")
        file["image/23"] = "text"
        file["image/24"] = np.zeros((16, 16), np.int64)
        file.create_group("image/25")
        layout = h5py.VirtualLayout((16, 16), np.uint8)
        layout[:] = h5py.VirtualSource("other.h5", "x", (16, 16))
        file.create_virtual_dataset("image/26", layout)
    source = hdf5.open_source(tmp_path / "gaze.h5")
    lines = []
    for sample in samples_of(source)[12:]:
        with pytest.raises(SampleError) as caught:
            source.decode(source.read(sample), sample)
        lines.append(str(caught.value))
    parts = ["too small", "a link to another file", "a soft link", "", "int64", "a group", "stored in other files"]
    assert all(part in line and line.startswith("gaze.h5/image/2") for part, line in zip(parts, lines, strict=True))


def test_groups_behind_links_are_not_entered(tmp_path):
    gaze(tmp_path / "gaze.h5")
    gaze(tmp_path / "other.h5")
    with h5py.File(tmp_path / "gaze.h5", "a") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "/image")
        file["again"] = file["image"]
        file["image_loop"] = file["/"]
    assert {sample.image.split("/")[1] for sample in samples_of(hdf5.open_source(tmp_path / "gaze.h5"))} == {"again"}


@pytest.mark.parametrize(("make", "part"), [
    (lambda path: path.write_bytes(b""), "the file is empty"),
    (lambda path: path.write_bytes(b"no HDF5 at all"), "not HDF5"),
    (lambda path: gaze(path) and path.write_bytes(path.read_bytes()[:3000]), "not HDF5, or cut off"),
    (lambda path: h5py.File(path, "w").close(), "no images in it (found nothing)"),
    (lambda path: h5py.File(path, "w").create_dataset("gaze", data=np.zeros((5, 3))).file.close(), "gaze (5, 3)"),
])  # fmt: skip
def test_bad_hdf5_file_is_one_clear_line(make, part, tmp_path):
    make(tmp_path / "bad.h5")
    with pytest.raises(DatasetError) as caught:
        hdf5.open_source(tmp_path / "bad.h5")
    assert str(caught.value).startswith(str(tmp_path / "bad.h5"))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_of_hdf5_files(tmp_path):
    root = tmp_path / "files"
    (root / "below").mkdir(parents=True)
    gaze(root / "a.h5", 3)
    gaze(root / "below" / "b.h5", 2)
    (root / "broken.h5").write_bytes(b"broken")
    (root / "notes.txt").write_bytes(b"notes")
    source = hdf5.open_source(root)
    assert [sample.image for sample in samples_of(source)][3:] == ["below/b.h5/image/0", "below/b.h5/image/1"]
    assert [e.path for e in source.entries() if isinstance(e, Loose)] == ["broken.h5", "notes.txt"]
    assert len(source.problems()) == 1


def test_spool_takes_the_last_whole_record(tmp_path):
    for data in (b"one", b"two"):
        spool = Spool(tmp_path)
        spool.append("a", data)
        spool.append("b", data * 2)
    places = Spool(tmp_path).places()
    assert (places["a"].read(), places["b"].read()) == (b"two", b"twotwo")
    last = max(tmp_path.iterdir())
    last.write_bytes(last.read_bytes()[:-1] + b"x")
    assert Spool(tmp_path).places()["b"].read() == b"oneone"


FIXTURES = {
    "bccd_voc": (24, 24), "camvid_masks": (4, 4), "coco_instances": (2, 0), "coco_keypoints": (2, 0), "solo": (2, 6),
    "voc": (2, 3), "yolo": (1, 1), "unityeyes": (0, 0), "webdataset": (0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXTURES)
def test_datasets_of_other_tools(name, data_folder):
    samples, _ = read(data_folder / "fixtures" / name)
    assert (len(samples), sum(map(len, samples.values()))) == FIXTURES[name]


@pytest.mark.parametrize(("name", "count"), [
    ("eyes/real", 2640), ("eyes/syntheseyes", 52), ("signs/real", 3800), ("signs/real_val", 1080),
    ("signs/pictograms", 26),
])  # fmt: skip
def test_every_photo_is_a_sample(name, count, data_folder):
    assert len(read(data_folder / name)[0]) == count
