"""Annotation formats of other tools: what is read, what is left out and named, and hostile bytes."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zlib
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stream import refine, write_refiner

from refinery import registry
from refinery.annotations import cvat, dota, kitti, label_studio, ndds, read_labels, supervisely
from refinery.dataset import open_dataset
from refinery.errors import LabelError
from refinery.labels import open_labels
from refinery.sample import Label, Sample

SIZE_HW = (64, 80)
READERS = [registry.find("annotation", name) for name in registry.names("annotation")]


def told(labels: Any) -> list[tuple[str, int, Any]]:
    """(name, item, text or rounded values) of each label."""
    return [(x.name, x.item, x.text if x.type == "class" else x.value.round(2).ravel().tolist()) for x in labels]


def boxes(labels: tuple[Label, ...]) -> list[list[float]]:
    return [label.value.tolist() for label in labels if label.type == "box"]


def read_all(root, size_hw: tuple[int, int] = (32, 32)) -> tuple[dict[str, tuple[Label, ...]], list[str]]:
    """Labels by image of a folder, and all lines about what could not be read."""
    source = open_dataset(root)
    reader, problems = open_labels(source), list[str]()
    problems += reader.problems
    labels = {}
    for entry in source.entries():
        if isinstance(entry, Sample):
            labels[entry.image], lines = reader.read(entry, size_hw)
            problems += lines
    return labels, problems


def write(root, files: dict[str, Any]):
    """A folder of files: images where the name says so, JSON of objects, text as it stands."""
    for k, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            noise = np.random.default_rng(k).integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return root


KITTI_ROW = "Car 0.00 0 -1.58 10.5 12.0 40.25 30.0 1.6 1.7 4.3 -3.0 1.7 20.0 -1.6"


def test_kitti_has_the_class_and_box_of_each_object_but_of_no_region_to_ignore() -> None:
    rows = f"{KITTI_ROW}\nDontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n{KITTI_ROW} 0.93\n"
    assert kitti.claims(rows.encode(), "a.txt")
    labels = kitti.read(rows.encode(), "a.txt", SIZE_HW)
    assert told(labels) == [
        ("objects.class", 0, "Car"), ("objects.box", 0, [10.5, 12, 40.25, 30]),
        ("objects.class", 1, "Car"), ("objects.box", 1, [10.5, 12, 40.25, 30]),
    ]  # fmt: skip


def test_dota_has_oriented_boxes_below_its_header() -> None:
    rows = "imagesource:GoogleEarth\ngsd:0.15\n10.5 10.5 20.5 10.5 20.5 15.5 10.5 15.5 plane 0\n"
    assert dota.claims(rows.encode(), "a.txt")
    assert told(dota.read(rows.encode(), "a.txt", SIZE_HW)) == [
        ("objects.class", 0, "plane"), ("objects.polygon", 0, [10, 10, 20, 10, 20, 15, 10, 15]),
    ]  # fmt: skip


CVAT = b"""<?xml version="1.0"?><annotations><version>1.1</version><image id="0" name="a.png" width="80" height="64">
<box label="car" xtl="10.5" ytl="20.5" xbr="30.5" ybr="40.5"/><polygon label="roof" points="1.5,2.5;9.5,2.5;9.5,8.5"/>
<points label="lamp" points="5.5,6.5"/><ellipse label="wheel" cx="20.5" cy="30.5" rx="4" ry="4"/>
<mask label="hood" left="2" top="3" width="3" height="2" rle="1, 2, 1, 2"/><tag label="day"/></image></annotations>"""


def test_cvat_has_shapes_of_every_kind() -> None:
    shared = cvat.open_shared(CVAT, "annotations.xml")
    assert list(shared.names) == ["a.png"]
    labels = shared.read("a.png", SIZE_HW)
    found = {(label.name, label.item): label for label in labels}
    assert found["objects.box", 0].value.tolist() == [10, 20, 30, 40]
    assert found["objects.polygon", 1].value.tolist() == [[1, 2], [9, 2], [9, 8]]
    assert found["objects.point", 2].value.tolist() == [5, 6]
    assert (found["objects.center", 3].value.tolist(), found["objects.center", 3].extent_px) == ([20, 30], 4)
    assert np.argwhere(found["objects.mask", 4].value).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]
    assert found["class", 0].text == "day"
    with pytest.raises(LabelError, match="80x64 px but its image is 64x80"):
        shared.read("a.png", (80, 64))


def rectangle(**changes: Any) -> dict[str, Any]:
    value = {"x": 25, "y": 50, "width": 50, "height": 25, "rectanglelabels": ["car"]}
    return value | {"original_width": 80, "original_height": 64} | changes


def test_label_studio_counts_in_per_cents_in_both_of_its_formats() -> None:
    value = rectangle()
    sizes = {key: value.pop(key) for key in ("original_width", "original_height")}
    full = [
        {"data": {"image": "/data/upload/1/0123abcd-a.png"}, "annotations": [{"result": [{"value": value} | sizes]}]}
    ]
    short = [{"image": "/data/upload/1/0123abcd-a.png", "label": [rectangle()]}]
    for tasks in (full, short):
        data = json.dumps(tasks).encode()
        assert label_studio.claims(data, "project.json")
        labels = label_studio.open_shared(data, "project.json").read("a.png", SIZE_HW)
        assert told(labels) == [("objects.class", 0, "car"), ("objects.box", 0, [19.5, 31.5, 59.5, 47.5])]
    turned = json.dumps([{"image": "a.png", "label": [rectangle(rotation=90)]}]).encode()
    corners = label_studio.open_shared(turned, "p.json").read("a.png", SIZE_HW)[1]
    assert corners.value.round(2).tolist() == [[19.5, 31.5], [19.5, 71.5], [3.5, 71.5], [3.5, 31.5]]


def test_supervisely_has_rectangles_polygons_points_and_bitmaps() -> None:
    packed = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).save(packed, "PNG")
    bitmap = {"origin": [5, 7], "data": base64.b64encode(zlib.compress(packed.getvalue())).decode()}
    shapes = [
        {"geometryType": "rectangle", "points": {"exterior": [[2, 3], [10, 12]], "interior": []}},
        {"geometryType": "polygon", "points": {"exterior": [[1, 1], [9, 1], [9, 8]], "interior": []}},
        {"geometryType": "point", "points": {"exterior": [[4, 5]], "interior": []}},
        {"geometryType": "bitmap", "bitmap": bitmap},
    ]
    tree = {"size": {"height": 64, "width": 80}, "objects": [{"classTitle": "x"} | shape for shape in shapes]}
    data = json.dumps(tree).encode()
    assert supervisely.claims(data, "a.png.json")
    found = {(label.name, label.item): label.value for label in supervisely.read(data, "a.png.json", SIZE_HW)}
    assert found["objects.box", 0].tolist() == [1.5, 2.5, 10.5, 12.5]
    assert found["objects.polygon", 1].shape == (3, 2)
    assert found["objects.point", 2].tolist() == [4, 5]
    assert np.argwhere(found["objects.mask", 3]).tolist() == [[7, 6], [8, 5], [8, 6]]


def test_ndds_boxes_are_rows_and_columns_and_its_points_x_and_y() -> None:
    thing = {"class": "can", "bounding_box": {"top_left": [24, 20], "bottom_right": [40, 44]},
             "projected_cuboid": [[20, 24], [44, 24]], "projected_cuboid_centroid": [32, 31]}  # fmt: skip
    data = json.dumps({"objects": [thing]}).encode()
    assert ndds.claims(data, "000000.left.json")
    assert told(ndds.read(data, "a.json", SIZE_HW)) == [
        ("objects.class", 0, "can"), ("objects.box", 0, [20, 24, 44, 40]), ("objects.cuboid_0", 0, [20, 24]),
        ("objects.cuboid_1", 0, [44, 24]), ("objects.cuboid_centroid", 0, [32, 31]),
    ]  # fmt: skip


BAD = {
    "kitti": ("a.txt", f"{KITTI_ROW}\nCar 0 0\n{KITTI_ROW}"),
    "dota": ("a.txt", "1 1 9 1 9 9 1 9 ship 0\n1 1 9 1 nan 9 1 9 ship 0\n2 2 9 2 9 9 2 9 ship 0"),
    "labelme": ("a.json", {"imagePath": "a.png", "shapes": [
        {"label": "x", "shape_type": "point", "points": [[3, 3]]}, {"label": "x", "points": [["a", 3]]},
        {"label": "x", "shape_type": "point", "points": [[4, 4]]}]}),
    "coco": ("a.json", {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"image_id": 1.0, "category_id": 1.0, "bbox": [1, 1, 4, 4]},
            {"image_id": 1, "category_id": 1, "bbox": [1, 1, 4]},
            {"image_id": 1, "category_id": 1, "bbox": [2, 2, 4, 4]}]}),
    "voc": ("a.xml", "<annotation><size><width>0</width><height>0</height></size>" + "".join(
        f"<object><name>x</name><bndbox><xmin>{x}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
        for x in (1, "oops", 2)) + "</annotation>"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_left_out_and_named_and_its_neighbours_stand(name: str) -> None:
    file, content = BAD[name]
    data = (content if isinstance(content, str) else json.dumps(content)).encode()
    labels, problems = read_labels({file: data}, SIZE_HW)
    assert len([label for label in labels if label.type not in ("class",)]) == 2
    (problem,) = problems
    assert problem.startswith(f"left out: {file}")


def test_a_job_that_left_an_object_out_ends_with_3_and_counts_it(tmp_path) -> None:
    rows = "0 0.5 0.5 0.4 0.4\n1 0.5 7 0.4 0.4\n"
    synth = write(
        tmp_path / "synth", {"images/a.png": "", "labels/a.txt": rows, "images/b.png": "", "labels/b.txt": ""}
    )
    done = refine(synth, tmp_path / "out", write_refiner(tmp_path, channels=3), "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["left_out"] == 1


@pytest.mark.parametrize("module", READERS, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe\x00\x01" * 50, b"[" * 5000, b'{"a": ' * 5000, b"1 " * 100_000, b"nan " * 20,
     b"9" * 400 + b" 1" * 8,
     b'{"images": 3, "annotations": {"file_name": 4}, "shapes": 5, "objects": [7, {"points": 3}], "size": []}',
     b'[{"image": 3, "label": [{"x": "a", "rectanglelabels": [1], "original_width": 1e999}]}]',
     b"<annotations><image name='a'><box xtl='nan'/><mask rle='x'/><polygon points='1'/></image></annotations>",
     b"a.png,1,2\n\x00,\n", b'{"objects": [{"geometryType": "bitmap", "bitmap": {"data": "x", "origin": [1]}}]}'],
    ids=["empty", "binary", "deep list", "deep object", "many numbers", "nan", "huge number", "other types",
         "odd tasks", "odd shapes", "odd table", "odd bitmap"],
)  # fmt: skip
def test_hostile_bytes_raise_the_promised_error_and_nothing_else(module: ModuleType, data: bytes) -> None:
    path = f"a{module.SUFFIXES[0]}"
    if hasattr(module, "claims"):
        assert module.claims(data, path) in (True, False)
    with contextlib.suppress(LabelError):
        assert all(isinstance(label, Label) for label in module.read(data, path, SIZE_HW))


def test_entries_are_counted_that_have_no_image_or_two(tmp_path) -> None:
    images = [{"id": k, "file_name": name} for k, name in enumerate(("a.png", "b.png", "lost.png"))]
    things = [{"id": k, "image_id": float(k), "category_id": 1, "bbox": [1, 1, 8, 8]} for k in range(3)]
    coco = {"images": images, "annotations": things, "categories": [{"id": 1, "name": "x"}]}
    root = write(tmp_path, {"one/a.png": "", "two/a.png": "", "one/b.png": "", "one/c.png": "", "all.json": coco})
    labels, problems = read_all(root)
    assert {image for image, found in labels.items() if boxes(found)} == {"one/b.png"}
    assert any("'a.png' may be about one/a.png or two/a.png" in line for line in problems)
    assert any("1 of its 3 images are not there, such as lost.png" in line for line in problems)


def test_names_are_equal_in_either_form_of_unicode(tmp_path) -> None:
    coco = {"images": [{"id": 1, "file_name": "pr\u00fcfling.png"}], "categories": [],
            "annotations": [{"image_id": 1, "bbox": [1, 1, 8, 8]}]}  # fmt: skip
    labels, problems = read_all(write(tmp_path, {"pru\u0308fling.png": "", "all.json": coco}))
    assert [len(boxes(found)) for found in labels.values()] == [1]
    assert not problems


def test_an_object_that_two_files_have_is_one(tmp_path) -> None:
    one = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8]}
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
    }
    files = {
        "train/a.png": "",
        "annotations/instances_train.json": coco | {"annotations": [one, one | {"bbox": [5, 5, 9, 9]}]},
        "annotations/person_keypoints_train.json": coco | {"annotations": [one | {"keypoints": [4.5, 5.5, 2]}]},
    }
    labels, problems = read_all(write(tmp_path, files))
    (found,) = labels.values()
    assert len(boxes(found)) == 2
    assert [(label.item, label.value.tolist()) for label in found if label.name == "objects.nose"] == [(0, [4, 5])]
    assert not problems


def test_a_table_without_a_header_is_read_or_refused_in_one_line(tmp_path) -> None:
    labels, problems = read_all(write(tmp_path / "a", {"a.png": "", "t.csv": "a.png,1,2,9,8,cat\n"}))
    assert boxes(labels["a.png"]) == [[1, 2, 9, 8]]
    assert not problems
    _, (line,) = read_all(write(tmp_path / "b", {"a.png": "", "t.csv": "a.png,1,2\n"}))
    assert "t.csv: a table without a header" in line


def test_an_entry_of_another_image_size_has_no_labels_and_a_line(tmp_path) -> None:
    rows = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,{0},{0},x,1,2,9,8\n"
    labels, (line,) = read_all(write(tmp_path / "a", {"a.png": "", "t.csv": rows.format(640)}))
    assert labels["a.png"] == ()
    assert "says 640x640 px but its image is 32x32" in line
    labels, problems = read_all(write(tmp_path / "b", {"a.png": "", "t.csv": rows.format(32)}))
    assert [label.name for label in labels["a.png"]] == ["box", "class"] or len(labels["a.png"]) == 2
    assert not problems


def test_objects_of_hugging_face_and_lists_of_boxes_are_items(tmp_path) -> None:
    row = {"file_name": "a.png", "objects": {"bbox": [[2, 3, 10, 12], [20, 4, 5, 6]], "categories": [0, 1]}}
    labels, _ = read_all(write(tmp_path / "a", {"train/a.png": "", "train/metadata.jsonl": json.dumps(row)}))
    assert told(labels["train/a.png"]) == [
        ("objects.bbox", 0, [2, 3, 12, 15]), ("objects.bbox", 1, [20, 4, 25, 10]),
        ("objects.categories", 0, "0"), ("objects.categories", 1, "1"),
    ]  # fmt: skip
    tree = {"boxes": [[2, 3, 12, 15], [20, 4, 25, 10]], "labels": [1, 2]}
    labels, _ = read_all(write(tmp_path / "b", {"a.png": "", "a.json": tree}))
    assert told(labels["a.png"]) == [
        ("boxes", 0, [2, 3, 12, 15]), ("boxes", 1, [20, 4, 25, 10]), ("labels", 0, "1"), ("labels", 1, "2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["cameraAperture", "renderProductResolution", "principal_point", "class_ids", "image_size"]
)
def test_two_numbers_that_are_no_place_are_no_keypoint(name: str) -> None:
    labels, _ = read_labels({"a.json": json.dumps({name: [20, 15]}).encode()}, SIZE_HW)
    assert "keypoint" not in {label.type for label in labels}


def test_files_that_no_reader_understands_are_named(tmp_path) -> None:
    files = {"a.png": "", "notes.xml": "<root><image>a.png</image></root>", "camera.json": {"focal": 3}}
    labels, (line,) = read_all(write(tmp_path, files))
    assert labels == {"a.png": ()}
    assert line.startswith("notes.xml: no reader finds images")
    _, (line,) = read_labels({"a.txt": b"12 13 14 15\n16 17 18 19\n"}, SIZE_HW)
    assert line.startswith("a.txt: rows of numbers that no reader knows")
