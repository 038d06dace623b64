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
from stream import refine, refinery, write_refiner

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


CREATEML = [
    {"image": "a.png", "annotations": [{"label": "car", "coordinates": {"x": 20, "y": 15, "width": 10, "height": 6}}]}
]


def test_createml_boxes_are_given_by_their_centre(tmp_path) -> None:
    labels, problems = read_all(write(tmp_path, {"a.png": "", "_annotations.createml.json": CREATEML}))
    assert not problems
    assert told(labels["a.png"]) == [("objects.class", 0, "car"), ("objects.box", 0, [14.5, 11.5, 24.5, 17.5])]


VIA = {
    "a.png123": {
        "filename": "a.png", "size": 123, "file_attributes": {},
        "regions": [
            {"shape_attributes": {"name": "rect", "x": 2, "y": 3, "width": 10, "height": 6},
             "region_attributes": {"class": "car"}},
            {"shape_attributes": {"name": "circle", "cx": 8.5, "cy": 9.5, "r": 4},
             "region_attributes": {"kind": "wheel"}},
            {"shape_attributes": {"name": "polygon", "all_points_x": [1, 5, 5], "all_points_y": [2, 2, 7]},
             "region_attributes": {"type": {"roof": True}}},
        ],
    }
}  # fmt: skip


@pytest.mark.parametrize("tree", [VIA, {"_via_settings": {}, "_via_img_metadata": VIA}], ids=["export", "project"])
def test_via_has_shapes_and_their_classes(tmp_path, tree) -> None:
    labels, problems = read_all(write(tmp_path, {"a.png": "", "via.json": tree}))
    assert not problems
    assert told(labels["a.png"]) == [
        ("objects.class", 0, "car"), ("objects.box", 0, [1.5, 2.5, 11.5, 8.5]),
        ("objects.class", 1, "wheel"), ("objects.center", 1, [8, 9]),
        ("objects.class", 2, "roof"), ("objects.polygon", 2, [0.5, 1.5, 4.5, 1.5, 4.5, 6.5]),
    ]  # fmt: skip
    assert labels["a.png"][3].extent_px == 4


def test_unity_captures_have_boxes_and_keypoints_by_instance(tmp_path) -> None:
    box = {"label_id": 1, "label_name": "crate", "instance_id": 7, "x": 2.0, "y": 3.0, "width": 10.0, "height": 6.0}
    pose = {"label_id": 1, "instance_id": 7, "keypoints": [{"index": 4, "x": 5.5, "y": 6.5, "state": 2},
                                                           {"index": 5, "x": 0, "y": 0, "state": 0}]}  # fmt: skip
    solid = {"label_name": "crate", "instance_id": 7, "translation": {"x": 1, "y": 2, "z": 3}}
    annotations = [{"annotation_definition": "d", "values": values} for values in ([box], [pose], [solid])]
    captures = {"version": "0.0.1", "captures": [{"filename": "RGB1/rgb_2.png", "annotations": annotations}]}
    folder = "Dataset0f0f0f0f-1a2b-3c4d-5e6f-0123456789ab"
    labels, problems = read_all(write(tmp_path, {"RGB1/rgb_2.png": "", f"{folder}/captures_000.json": captures}))
    assert told(labels["RGB1/rgb_2.png"]) == [
        ("objects.class", 0, "crate"), ("objects.box", 0, [1.5, 2.5, 11.5, 8.5]), ("objects.keypoint_4", 0, [5, 6]),
    ], problems  # fmt: skip


def test_bop_scenes_have_the_boxes_of_what_is_visible(tmp_path) -> None:
    info = {"3": [{"bbox_obj": [1, 2, 9, 9], "bbox_visib": [2, 3, 8, 6], "visib_fract": 0.8},
                  {"bbox_obj": [1, 2, 9, 9], "bbox_visib": [-1, -1, -1, -1], "visib_fract": 0.0}]}  # fmt: skip
    truth = {"3": [{"cam_R_m2c": [1] * 9, "cam_t_m2c": [0, 0, 9], "obj_id": 5}, {"obj_id": 6}]}
    files = {"000000/rgb/000003.png": "", "000000/scene_gt_info.json": info, "000000/scene_gt.json": truth}
    labels, problems = read_all(write(tmp_path, {**files, "000000/scene_camera.json": {"3": {"cam_K": [1] * 9}}}))
    assert not problems
    assert sorted(told(labels["000000/rgb/000003.png"])) == [
        ("objects.box", 0, [2, 3, 10, 9]), ("objects.class", 0, "5"), ("objects.class", 1, "6"),
    ]  # fmt: skip


def test_virtual_kitti_has_the_boxes_of_each_frame_of_a_scene(tmp_path) -> None:
    header = "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving"
    text = f"{header}\n3 0 7 2 10 3 12 90 0 1 True\n3 1 7 1 9 3 12 90 0 1 True\n"
    write(tmp_path, {"Scene01/clone/bbox.txt": text, "Scene01/clone/frames/rgb/Camera_0/rgb_00003.png": ""})
    picture = tmp_path / "Scene01/clone/frames/rgb/Camera_0/rgb_00003.png"
    Image.open(picture).save(picture.with_suffix(".jpg"))
    picture.unlink()
    labels, _ = read_all(tmp_path)
    assert told(labels["Scene01/clone/frames/rgb/Camera_0/rgb_00003.jpg"]) == [("objects.box", 0, [2, 3, 10, 12])]


def replicator_boxes(**changes: Any) -> bytes:
    names = ("semanticId", "x_min", "y_min", "x_max", "y_max", "occlusionRatio")
    rows = np.zeros(1, [(changes.get(name, name), "<f4" if name == "occlusionRatio" else "<i4") for name in names])
    rows[0] = (4, 2, 3, 10, 12, 0.5)
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def test_replicator_has_tight_boxes_and_no_labels_of_its_list_of_names(tmp_path) -> None:
    write(tmp_path, {"rgb_0003.png": "", "bounding_box_2d_tight_labels_0003.json": {"4": {"class": "cube"}}})
    (tmp_path / "bounding_box_2d_tight_0003.npy").write_bytes(replicator_boxes())
    (tmp_path / "bounding_box_2d_loose_0003.npy").write_bytes(replicator_boxes())
    labels, problems = read_all(tmp_path)
    assert not problems
    assert told(labels["rgb_0003.png"]) == [("objects.class", 0, "4"), ("objects.box", 0, [2, 3, 10, 12])]
    other = {"bounding_box_2d_tight_0003.npy": replicator_boxes(x_min="left")}
    assert read_labels(other, SIZE_HW)[1][0].endswith("expected rows of x_min, y_min, x_max, y_max")


PANOPTIC = {
    "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 32}],
    "categories": [{"id": 3, "name": "sky"}],
    "annotations": [{"image_id": 1, "file_name": "a_panoptic.png",
                     "segments_info": [{"id": 9, "category_id": 3, "bbox": [2, 3, 10, 6], "area": 60}]}],
}  # fmt: skip


def test_segments_of_panoptic_coco_are_objects(tmp_path) -> None:
    labels, _ = read_all(write(tmp_path, {"a.png": "", "panoptic_train.json": PANOPTIC}))
    assert told(labels["a.png"]) == [("objects.class", 0, "sky"), ("objects.box", 0, [1.5, 2.5, 11.5, 8.5])]


def test_a_coco_name_of_two_images_is_read_for_none_and_a_box_of_negative_size_left_out(tmp_path) -> None:
    twice = {**PANOPTIC, "images": [*PANOPTIC["images"], {"id": 2, "file_name": "a.png"}]}
    labels, (line,) = read_all(write(tmp_path / "a", {"a.png": "", "panoptic_train.json": twice}))
    assert labels == {"a.png": ()}
    assert "two images of this name" in line
    negative = {**PANOPTIC, "annotations": [{"image_id": 1, "category_id": 3, "bbox": [12, 3, -10, 6]}]}
    labels, (line,) = read_all(write(tmp_path / "b", {"a.png": "", "train.json": negative}))
    assert told(labels["a.png"]) == [("objects.class", 0, "sky")]
    assert "has a size of -10 x 6" in line


POSE = "0 0.5 0.5 0.5 0.5 0.25 0.25 0.75 0.75\n"


@pytest.mark.parametrize("names", ["names: [crane]\n", "names:\n  0: crane\n"], ids=["list", "numbers"])
def test_yolo_poses_without_visibility_and_class_names_are_as_data_yaml_says(tmp_path, names: str) -> None:
    files = {"images/train/a.png": "", "labels/train/a.txt": POSE, "data.yaml": f"{names}kpt_shape: [2, 2]\n"}
    labels, problems = read_all(write(tmp_path, files))
    assert not problems
    assert told(labels["images/train/a.png"]) == [
        ("objects.class", 0, "crane"), ("objects.box", 0, [7.5, 7.5, 23.5, 23.5]),
        ("objects.keypoint_0", 0, [7.5, 7.5]), ("objects.keypoint_1", 0, [23.5, 23.5]),
    ]  # fmt: skip


def test_a_yolo_row_that_contradicts_data_yaml_is_left_out(tmp_path) -> None:
    files = {"images/a.png": "", "labels/a.txt": POSE, "data.yaml": "names: [crane]\nkpt_shape: [3, 3]\n"}
    labels, (line,) = read_all(write(tmp_path, files))
    assert labels == {"images/a.png": ()}
    assert "9 numbers; data.yaml's kpt_shape expects 14" in line


def test_the_nearer_of_two_yolo_settings_counts_and_two_in_one_folder_do_not(tmp_path) -> None:
    files = {"images/a.png": "", "labels/a.txt": "0 0.5 0.5 0.5 0.5\n", "data.yaml": "names: [far]\n"}
    nearer = {f"inner/{name}": text.replace("far", "near") for name, text in files.items()}
    labels, _ = read_all(write(tmp_path / "a", {**files, **nearer}))
    assert [labels[name][0].text for name in ("images/a.png", "inner/images/a.png")] == ["far", "near"]
    labels, (line,) = read_all(write(tmp_path / "b", {**files, "other.yaml": "names: [else]\n"}))
    assert labels["images/a.png"][0].text == "0"
    assert "says something else than data.yaml" in line


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [*{chr(97 + k)}, *{chr(97 + k)}]\n" for k in range(24)
)


@pytest.mark.parametrize(
    "text",
    [
        "names: !!python/object/apply:os.system ['touch hacked']\n",
        f"{BOMB}names: *y\n",
        "names: &a [*a, crane]\n",
        "names: [" + "[" * 4000,
        "names: [a]\nkpt_shape: [nan, 3]\n",
        "names: {[a]: b}\n",
        "names: " + "x" * (300 << 10),
        "names: [\x00]\n",
    ],
    ids=["tag", "bomb", "loop", "deep", "nan", "list as key", "long", "zero"],
)
def test_hostile_yaml_builds_nothing_and_ends_nothing(tmp_path, monkeypatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    labels, _ = read_all(write(tmp_path / "set", {"a.png": "", "a.txt": "0 0.5 0.5 0.5 0.5\n", "data.yaml": text}))
    assert told(labels["a.png"])[1] == ("objects.box", 0, [7.5, 7.5, 23.5, 23.5])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bbox", [10, 12, 78, 60]),  # corners: as a corner and a size it would leave the image, which is 80x64
        ("bboxes", [[10, 12, 20, 20], [10, 12, 78, 60]]),
        ("boxes", [[40, 30, 12, 10]]),  # a corner and a size: as corners it would end before it begins
        ("box", [40, 30, 12, 10]),
    ],
)
def test_boxes_whose_numbers_contradict_their_name_are_left_out_with_a_line(name: str, value: Any) -> None:
    labels, (line,) = read_labels({"a.json": json.dumps({name: value, "id_text": "x"}).encode()}, SIZE_HW)
    assert boxes(labels) == []
    assert line.startswith(f"left out: a.json: {name} is read as ")
    assert line.endswith("call it xyxy or xywh")


@pytest.mark.parametrize(
    "tree",
    [
        {"center": [0.5, 0.25]},
        {"bbox": [0.1, 0.2, 0.3, 0.4]},
        {"boxes": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.75, 1.0]]},
        {"polygon": [[0.1, 0.2], [0.5, 0.2], [0.5, 0.9]]},
    ],
    ids=lambda tree: next(iter(tree)),
)
def test_shares_of_the_image_are_no_px(tree: dict[str, Any]) -> None:
    labels, (line,) = read_labels({"a.json": json.dumps(tree).encode()}, SIZE_HW)
    assert labels == ()
    assert "looks like shares of the image" in line


def test_boxes_that_say_their_order_are_believed_beyond_the_image() -> None:
    labels, problems = read_labels({"a.json": json.dumps({"box_xywh": [10, 12, 78, 60]}).encode()}, SIZE_HW)
    assert not problems
    assert boxes(labels) == [[10, 12, 88, 72]]


@pytest.mark.parametrize(
    "tree",
    [
        {"pair_ids": [[1, 2], [3, 4], [5, 6]]},
        {"skeleton": [[1, 2], [2, 3], [3, 1]]},
        {"camera": {"center": [40.0, 32.0]}},
        {"camera_x": 3.5, "camera_y": 2.5},
        {"world_position": [3.5, 2.5]},
        {"center_mm": [31.5, 20.5]},
        {"tip_norm": [0.5, 0.25]},
        {"class_ids": [[1, 2], [3, 4], [5, 6]]},
        {"shape_of_things": [[1, 2], [3, 4], [5, 6]]},
        {"vertices": [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5], [7.5, 8.5, 9.5]]},
    ],
    ids=lambda tree: next(iter(tree)),
)
def test_numbers_that_nobody_calls_places_are_no_places(tree: dict[str, Any]) -> None:
    labels, _ = read_labels({"a.json": json.dumps(tree).encode()}, SIZE_HW)
    assert not {label.type for label in labels} & {"keypoint", "polygon", "box"}


@pytest.mark.parametrize(
    ("tree", "types"),
    [
        ({"lane_lines": [[1, 2], [3, 4], [5, 7]]}, ["polygon"]),
        ({"polygons": [[[1, 2], [3, 4], [5, 7]], [[2, 2], [3, 9], [5, 7]]]}, ["polygon", "polygon"]),
        ({"keypoints": [[1, 2, 2], [3, 4, 0], [5, 7, 1]]}, ["keypoint", "keypoint"]),
        ({"tip": {"x": 3, "y": 4}}, ["keypoint"]),
    ],
    ids=lambda one: next(iter(one)),
)
def test_places_are_read_under_names_that_say_so(tree: dict[str, Any], types: list[str]) -> None:
    labels, problems = read_labels({"a.json": json.dumps(tree).encode()}, SIZE_HW)
    assert ([label.type for label in labels], problems) == (types, ())


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


def test_no_labels_because_of_no_files_is_said_otherwise_than_of_files_that_nobody_reads(tmp_path) -> None:
    write(tmp_path / "bare", {"a.png": "", "b.png": ""})
    write(tmp_path / "broken", {"a.png": "", "b.png": "", "a.json": "{", "b.blob": "x"})
    bare, broken = (refinery("inspect", tmp_path / name).stdout for name in ("bare", "broken"))
    assert "labels     none: no annotation lies beside any of 2 images looked at" in bare
    assert "labels     none: of 2 files beside 2 images nobody could read a label" in broken
    assert "b.blob: no reader knows .blob" in broken
