"""Labels of whole datasets: files about many images, folders as classes, and what the TOML says about types."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import mask, photo, png

from refinery.config import LabelOverride, parse_label_overrides
from refinery.dataset import open_dataset
from refinery.errors import ConfigError, LabelError
from refinery.label_files import ClassFolders
from refinery.labels import apply_override, open_labels
from refinery.regions import box_of, regions
from refinery.sample import Label, Sample

SIZE_HW = (16, 20)
PICTURE = png(photo())
NONE = np.zeros(0)


def read_all(root: Path, overrides=None, size_hw=SIZE_HW) -> tuple[dict[str, tuple[Label, ...]], list[str]]:
    """Labels by image path, and all problems."""
    source = open_dataset(root)
    reader = open_labels(source, overrides)
    found, problems = {}, list(reader.problems)
    for entry in source.entries():
        if isinstance(entry, Sample):
            found[entry.image], lines = reader.read(entry, size_hw)
            problems += lines
    return found, problems


def plain(labels: tuple[Label, ...]) -> list[tuple]:
    """(name, item, text or numbers)."""
    return [(one.name, one.item, one.text or np.round(one.value, 3).reshape(-1).tolist()) for one in labels]


def coco(**changes) -> bytes:
    tree = {
        "images": [{"id": 7, "file_name": "a.png", "width": 20, "height": 16}],
        "categories": [{"id": 3, "name": "hand", "keypoints": ["wrist", "thumb"]}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [2, 3, 4, 5], "keypoints": [4, 5, 2, 6, 7, 1],
             "segmentation": [[2, 3, 6, 3, 6, 8]]},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 0, 0]},
            {"image_id": 8, "category_id": 3, "bbox": [1, 1, 1, 1]},
        ],
    }  # fmt: skip
    return json.dumps({**tree, **changes}).encode()


def test_coco_is_found_for_each_image_by_its_file_name(tree):
    root = tree({"images/a.png": PICTURE, "images/b.png": PICTURE, "annotations/all.json": coco()})
    found, problems = read_all(root)
    assert not problems
    assert found["images/b.png"] == ()
    assert plain(found["images/a.png"]) == [
        ("objects.class", 0, "hand"),
        ("objects.box", 0, [1.5, 2.5, 5.5, 7.5]),
        ("objects.polygon", 0, [1.5, 2.5, 5.5, 2.5, 5.5, 7.5]),
        ("objects.wrist", 0, [4, 5]),
        ("objects.thumb", 0, "hidden"),
        ("objects.class", 1, "hand"),
        ("objects.box", 1, [-0.5, -0.5, -0.5, -0.5]),
    ]


def test_coco_of_another_size_is_a_line_and_no_label(tree):
    images = [{"id": 7, "file_name": "a.png", "width": 40, "height": 32}]
    found, (problem,) = read_all(tree({"a.png": PICTURE, "all.json": coco(images=images)}))
    assert found["a.png"] == ()
    assert problem.startswith("all.json: a.png: says 40x32 px but its image is 20x16 px")


def test_train_and_val_have_a_file_each_though_their_images_share_names(tree):
    other = json.loads(coco())
    other["categories"][0]["name"] = "foot"
    files = {"images/train/a.png": PICTURE, "images/val/a.png": PICTURE}
    annotations = {"annotations/x_train2017.json": coco(), "annotations/x_val2017.json": json.dumps(other).encode()}
    found, _ = read_all(tree({**files, **annotations}))
    assert {path: labels[0].text for path, labels in found.items()} == {
        "images/train/a.png": "hand",
        "images/val/a.png": "foot",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", b"file,class_id,track,x_deg\na.png,11,11_00024,1.5\nb.png,4,,2\n"),
        ("labels.csv", b"class_id;x_deg;filename\n11;1.5;a\n4;2;b\n"),
        ("metadata.jsonl", b'{"file_name": "a.png", "class_id": 11, "x_deg": 1.5}\n{"file_name": "b.png"}'),
        ("all.json", b'{"a.png": {"class_id": 11, "x_deg": "1.5"}, "b.png": {"class_id": 4}}'),
        ("transforms.json", b'{"frames": [{"file_path": "./a", "class_id": 11, "x_deg": 1.5}]}'),
    ],
    ids=["csv", "semicolons", "jsonl", "by name", "frames"],
)  # fmt: skip
def test_tables_say_which_image_a_row_is_about(tree, name, content):
    found, problems = read_all(tree({"a.png": PICTURE, "b.png": PICTURE, name: content}))
    assert not problems
    assert sorted(plain(found["a.png"])) == [("class_id", 0, "11"), ("x_deg", 0, [1.5])]


def test_several_rows_are_items_and_columns_belong_together(tree):
    table = b"image,label,xmin,ymin,xmax,ymax,iris_x,iris_y\na.png,cat,1,2,8,9,3,4\na.png,dog,5,5,9,12,6,7\n"
    found, _ = read_all(tree({"a.png": PICTURE, "boxes.csv": table}))
    labels = found["a.png"]
    assert {(name, item): value for name, item, value in plain(labels)} == {
        ("box", 0): [1, 2, 8, 9], ("label", 0): "cat", ("iris", 0): [3, 4],
        ("box", 1): [5, 5, 9, 12], ("label", 1): "dog", ("iris", 1): [6, 7],
    }  # fmt: skip
    assert {key: box.tolist() for key, box in regions(labels).items()} == {
        ("label", 0): [1, 2, 8, 9],
        ("label", 1): [5, 5, 9, 12],
    }


def test_a_table_speaks_for_its_own_folder_only(tree):
    files = {f"{folder}/{name}.png": PICTURE for folder in ("one", "two") for name in "ab"}
    found, _ = read_all(tree({**files, "one/labels.csv": b"file,class\na.png,x\n"}))
    assert [path for path, labels in found.items() if labels] == ["one/a.png"]


@pytest.mark.parametrize(
    "content",
    [b'{"images": [], "annotations": [], "file_name', b"\xff\xfe\x00", b"[" * 50_000],
    ids=["cut", "binary", "deep"],
)  # fmt: skip
def test_a_broken_file_about_many_images_is_one_line(tree, content):
    found, (problem,) = read_all(tree({"a.png": PICTURE, "a.json": b'{"tip": [1, 2]}', "all.json": content}))
    assert [label.name for label in found["a.png"]] == ["tip"]
    assert problem.startswith("all.json: ")
    assert "\n" not in problem


@pytest.mark.parametrize("content", [b"5", b'"text"', b"null", b"[]", b"[1, 2]", b"{}"])
def test_json_of_no_object_beside_the_images_is_about_none_of_them(tree, content):
    found, problems = read_all(tree({"a.png": PICTURE, "a.json": b'{"tip": [1, 2]}', "notes.json": content}))
    assert [label.name for label in found["a.png"]] == ["tip"]
    assert problems == []


def test_annotation_files_beyond_the_bound_are_refused_before_they_are_read(tree, monkeypatch):
    root = tree({"a.png": PICTURE, "all.json": coco()})
    monkeypatch.setattr("refinery.label_files.MAX_BYTES", 64)
    with pytest.raises(LabelError, match=r"all\.json: the annotation files of this dataset are more than"):
        open_labels(open_dataset(root))


def test_own_sidecars_and_shared_files_continue_each_others_items(tree):
    voc = (
        b"<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>"
    )
    files = {"a.png": PICTURE, "a.xml": voc + b"</object></annotation>", "all.json": coco()}
    labels = read_all(tree(files))[0]["a.png"]
    assert [(one.item, one.text) for one in labels if one.type == "class"] == [(0, "cat"), (1, "hand"), (2, "hand")]
    boxes = {key: box.tolist() for key, box in regions(labels).items()}
    assert boxes["objects.class", 0] == [-0.5, -0.5, 3.5, 3.5]
    assert boxes["objects.class", 1] == [1.5, 2.5, 5.5, 7.5]


def test_folders_of_many_images_are_classes_unless_something_says_the_class(tree):
    files = {f"{name}/{i}.png": PICTURE for name in ("cat", "dog") for i in range(8)}
    found, _ = read_all(tree({**files, "dog/3.json": b'{"class": "wolf"}'}))
    assert plain(found["cat/0.png"]) == [("folder", 0, "cat")]
    assert plain(found["dog/3.png"]) == [("class", 0, "wolf")]


@pytest.mark.parametrize(
    "folders", [["cat"], ["000", "001"], ["train", "val"], ["seq_1", "seq_2"], ["images", "dog"], ["a", "b/c"]]
)
def test_parts_of_a_dataset_are_no_classes(folders):
    count = ClassFolders()
    for folder in folders:
        for i in range(20):
            count.add(f"{folder}/{i}.png")
    assert count.names() == frozenset()


def test_values_of_an_hdf5_file_are_labels(tmp_path):
    with h5py.File(tmp_path / "gaze.h5", "w") as file:
        for i in range(3):
            file[f"image/{i}"] = photo(i, channels=1)
            file[f"look_vec/{i}"] = np.array([0.1 * i, 0.2, -0.9])
            file[f"class_id/{i}"] = np.int64(i)
            file[f"landmarks/{i}"] = np.array([[1.0, 2.0], [3.0, 4.0]])
    found, problems = read_all(tmp_path / "gaze.h5")
    assert not problems
    assert sorted(plain(found["gaze.h5/image/2"])) == [
        ("class_id", 0, "2"),
        ("landmarks", 0, [1, 2]),
        ("landmarks", 1, [3, 4]),
        ("look_vec", 0, [0.2, 0.2, -0.9]),
    ]
    look = [label for labels in found.values() for label in labels if label.name == "look_vec"]
    assert [(label.type, label.unit) for label in look] == [("vector", "deg")] * 3


def test_overrides_change_types_units_and_leave_labels_out(tree):
    sidecar = b'{"a": [1, 2], "b": [1, 2, 9, 8], "n": 3, "speed": [1, 2], "x": {"y": 1}, "bad": 4}'
    overrides = parse_label_overrides(
        {
            "a": {"type": "vector", "unit": "deg"},
            "b": {"type": "box"},
            "n": {"type": "class"},
            "speed": {"ignore": True},
            "x": {"y": {"unit": "m"}},
            "bad": {"type": "box"},
        }
    )
    found, (problem,) = read_all(tree({"a.png": PICTURE, "a.json": sidecar}), overrides)
    assert [(one.name, one.type, one.unit, one.text) for one in found["a.png"]] == [
        ("a", "vector", "deg", ""),
        ("b", "box", "px", ""),
        ("n", "class", "flip", "3"),
        ("x.y", "number", "m", ""),
    ]
    assert "label 'bad' is a number (1 values) and cannot be read as box" in problem


def test_an_override_of_an_unknown_label_names_the_nearest(tree):
    source = open_dataset(tree({"a.png": PICTURE, "a.json": b'{"iris_center": [1, 2]}'}))
    reader = open_labels(source, {"iris_centre": LabelOverride(type="keypoint"), "iris_center": LabelOverride()})
    reader.read(Sample("a", "a.png", ("a.json",)), SIZE_HW)
    (line,) = reader.unknown_overrides()
    assert line == "[labels.iris_centre]: no label of this name was found; did you mean 'iris_center'?"


@pytest.mark.parametrize("table", [{"a": 3}, {"a": {"type": "keypiont"}}, {"a": {"kind": "box"}}, {"a": {"ignore": 1}}])
def test_overrides_that_mean_nothing_are_refused(table):
    with pytest.raises(ConfigError, match=r"\[labels"):
        parse_label_overrides(table)


def test_masks_and_classes_change_into_each_other_only_where_they_can():
    region = Label("m", "instance_mask", mask() > 0, text="7")
    assert apply_override(region, LabelOverride(type="semantic_mask")).type == "semantic_mask"
    number = apply_override(Label("c", "class", NONE, "flip", text="2.5"), LabelOverride(type="number"))
    assert (number.value.tolist(), number.unit) == ([2.5], "")
    with pytest.raises(LabelError, match="cannot be read as keypoint"):
        apply_override(region, LabelOverride(type="keypoint"))


def test_reading_from_many_threads_gives_the_same(tree):
    files = {f"{i}.png": PICTURE for i in range(20)}
    rows = "".join(f"{i}.png,{i}\n" for i in range(20))
    source = open_dataset(tree({**files, "labels.csv": f"file,class\n{rows}".encode()}))
    reader = open_labels(source, {"class": LabelOverride(unit="flip")})
    samples = [entry for entry in source.entries() if isinstance(entry, Sample)]
    answers: dict[str, str] = {}

    def work(part: list[Sample]) -> None:
        for sample in part:
            answers[sample.key] = reader.read(sample, SIZE_HW)[0][0].text

    threads = [threading.Thread(target=work, args=(samples[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {str(i): str(i) for i in range(20)}


def test_regions_come_from_the_sibling_of_the_same_object():
    def text(name: str, item: int = 0) -> Label:
        return Label(name, "class", NONE, "flip", item, "x")

    labels = [
        text("coins.value", 3), Label("coins.center", "keypoint", np.array([9.0, 8.0]), item=3, extent_px=4.0),
        text("coins.value", 4), Label("coins.center", "keypoint", np.array([9.0, 8.0]), item=5, extent_px=4.0),
        Label("gaze", "vector", np.ones(3), "deg"), Label("light", "number", np.ones(1), ""), text("kind"),
        Label("iris_radius", "number", np.ones(1), ""),
        Label("iris_center", "keypoint", np.array([5.0, 5]), extent_px=2),
        Label("lid", "polygon", np.array([[1.0, 1], [9, 1], [9, 7]])),
    ]  # fmt: skip
    assert {key: box.tolist() for key, box in regions(labels).items()} == {
        ("coins.value", 3): [5, 4, 13, 12],
        ("iris_radius", 0): [3, 3, 7, 7],
        ("kind", 0): [1, 1, 9, 7],
    }
    many = [text("class"), *(Label("mask", "instance_mask", mask() > 0, item=i) for i in range(2))]
    assert regions(many) == {}
    assert regions(many[:2])["class", 0].tolist() == [4.5, 3.5, 11.5, 9.5]


def test_what_is_not_finite_or_empty_has_no_box():
    assert box_of(Label("b", "box", np.array([0, np.nan, 1, 1]))) is None
    assert box_of(Label("m", "instance_mask", np.zeros((4, 4), bool))) is None
    assert box_of(Label("p", "keypoint", np.array([1.0, 2.0]))) is None


def test_a_coin_that_lacks_a_key_shifts_no_other(tree):
    coins = [{"value": 1, "center": [5, 5], "radius": 2}, {"value": 2}, {"center": [9, 9], "radius": 3, "value": 5}]
    found, _ = read_all(tree({"a.png": PICTURE, "a.json": json.dumps({"coins": coins}).encode()}))
    items = {(one.name, one.item) for one in found["a.png"]}
    assert items == {(f"coins.{key}", i) for key in ("value", "center", "radius") for i in (0, 2)} | {
        ("coins.value", 1)
    }
    assert {key: box.tolist() for key, box in regions(found["a.png"]).items() if key[0] == "coins.value"} == {
        ("coins.value", 0): [3, 3, 7, 7],
        ("coins.value", 2): [6, 6, 12, 12],
    }


def test_other_tools_coco_files(data_folder):
    found, problems = read_all(data_folder / "fixtures" / "coco_keypoints", size_hw=(5, 10))
    assert plain(found["images/train/a.jpg"]) == [
        ("objects.class", 0, "b"),
        ("objects.box", 0, [1.5, 1.5, 4.5, 2.5]),
        ("objects.keypoint_1", 0, "hidden"),
        ("objects.keypoint_2", 0, [4, 1]),
    ]
    assert all("says 5x10 px" in line for line in problems)
    masks, _ = read_all(data_folder / "fixtures" / "coco_instances", size_hw=(10, 5))
    labels = masks["images/val/b.jpg"]
    assert plain(labels[:3]) == [
        ("objects.class", 0, "a"),
        ("objects.box", 0, [-0.5, -0.5, 0.5, 1.5]),
        ("objects.polygon", 0, [-0.5, -0.5, 0.5, -0.5, 0.5, 1.5, -0.5, 1.5]),
    ]
    assert (labels[-1].name, labels[-1].item) == ("objects.mask", 1)
    assert labels[-1].value.nonzero()[1].tolist() == [0, 1] * 10


def test_other_tools_solo_boxes_are_around_their_masks(data_folder):
    found, problems = read_all(data_folder / "fixtures" / "solo", size_hw=(768, 1024))
    assert not problems
    labels = found["sequence.0/step0.camera.png"]
    boxes = sorted(one.value.tolist() for one in labels if one.type == "box")
    assert boxes == [[166.5, 307.5, 394.5, 499.5], [417.5, 242.5, 545.5, 578.5], [668.5, 399.5, 902.5, 665.5]]
    around = [box_of(one) for one in labels if one.type == "instance_mask"]
    assert sorted(box.tolist() for box in around if box is not None) == boxes
    assert [one.text for one in labels if one.type == "semantic_mask"] == ["#00ff2b"]


def test_other_tools_voc_and_yolo(data_folder):
    cells, problems = read_all(data_folder / "fixtures" / "bccd_voc", size_hw=(480, 640))
    assert (len(cells), problems) == (24, [])
    seventh = cells["JPEGImages/BloodImage_00007.jpg"]
    assert plain(seventh)[:2] == [("objects.class", 0, "WBC"), ("objects.box", 0, [191.5, 90.5, 386.5, 284.5])]
    yolo, _ = read_all(data_folder / "fixtures" / "yolo", size_hw=(10, 15))
    assert plain(yolo["obj_train_data/1.jpg"]) == [
        ("objects.class", 0, "2"), ("objects.box", 0, [-0.5, 1.5, 3.5, 3.5]),
        ("objects.class", 1, "4"), ("objects.box", 1, [2.5, 2.5, 4.5, 5.5]),
    ]  # fmt: skip
    cars, _ = read_all(data_folder / "fixtures" / "voc", size_hw=(10, 20))
    assert ("objects.parts.box", 0, [4, 4.5, 7, 7.5]) in plain(cars["JPEGImages/2007_000001.jpg"])


def test_other_tools_table_of_classes(data_folder):
    found, problems = read_all(data_folder / "signs" / "real_val")
    assert (len(found), problems) == (1080, [])
    assert plain(found["005ffe256030.png"]) == [("class_id", 0, "11")]
