"""Sidecars and the labels they must give; broken ones and the one line they must give."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refinery.annotations import coco, json_tree, labelme, mask_image, read_labels, text, voc, yolo
from refinery.annotations._fill import filled
from refinery.annotations._objects import MASK_BYTES, most_masks
from refinery.annotations.mask_image import looks_like_mask
from refinery.errors import LabelError
from refinery.sample import Label

SIZE_HW = (36, 60)


def read(tree: Any) -> tuple[Label, ...]:
    return json_tree.read(json.dumps(tree).encode(), "a.json", SIZE_HW)


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("tree", "name", "kind", "value"),
    [
        ({"iris_center": [30.5, 17]}, "iris_center", "keypoint", [30.5, 17]),
        ({"a": {"b": [{"pupil": [1, 2]}]}}, "a.b.pupil", "keypoint", [1, 2]),
        ({"box": [1, 2, 5, 9]}, "box", "box", [1, 2, 5, 9]),
        ({"boxXyxy": [1, 2, 5, 9]}, "boxXyxy", "box", [1, 2, 5, 9]),
        ({"bbox": [1, 2, 4, 7]}, "bbox", "box", [1, 2, 5, 9]),
        ({"eyelid": [[0, 0], [4, 0], [4, 3]]}, "eyelid", "polygon", [0, 0, 4, 0, 4, 3]),
        ({"gaze": [0.1, -0.2]}, "gaze", "vector", [0.1, -0.2]),
        ({"center": {"x": 3, "y": 4}}, "center", "keypoint", [3, 4]),
        ({"a": {"left": 1, "top": 2, "right": 5, "bottom": 9}}, "a", "box", [1, 2, 5, 9]),
        ({"a": {"x": 1, "y": 2, "w": 4, "h": 7}}, "a", "box", [1, 2, 5, 9]),
        ({"iris_x": 3, "iris_y": "4"}, "iris", "keypoint", [3, 4]),
        ({"gaze": {"x": 0, "y": 0, "z": -1}}, "gaze", "vector", [0, 0, -1]),
        ({"obb": [0, 0, 4, 0, 4, 3, 0, 3]}, "obb", "polygon", [0, 0, 4, 0, 4, 3, 0, 3]),
        ({"caption": "a cat"}, "caption", "text", []),
        ({"look_vec": "(0.3, 0.4, -0.8, 0.0)"}, "look_vec", "vector", [0.3, 0.4, -0.8]),
        ({"size": "0.25"}, "size", "number", [0.25]),
        ({"pupil_2d": ["(10.0, 30.0, 8.0)", "(12.0, 30.0, 8.0)", "(12.0, 28.0, 8.0)"]}, "pupil_2d", "polygon",
         [10, 6, 12, 6, 12, 8]),
    ],
)  # fmt: skip
def test_a_value_becomes_the_label_its_name_and_shape_say(tree: Any, name: str, kind: str, value: list[float]) -> None:
    (label,) = read(tree)
    assert (label.name, label.type) == (name, kind)
    assert label.value.reshape(-1).tolist() == pytest.approx(value)


def test_coins_give_a_column_each_and_their_radius_as_extent() -> None:
    labels = read({"coins": [{"center": [9, 8], "radius": 4}, {"center": [30, 8], "radius": 5}]})
    centres = [label for label in labels if label.name == "coins.center"]
    assert [(label.item, label.extent_px) for label in centres] == [(0, 4.0), (1, 5.0)]
    assert read({"iris_center": [1, 2], "iris_radius": 7})[0].extent_px == 7.0
    assert read({"iris_center": [1, 2], "pupil_radius": 3})[0].extent_px == 0.0


def test_corners_are_keypoints_and_a_class_keeps_its_text() -> None:
    labels = read({"corners": [[0, 0], [9, 0], [9, 9], [0, 9]], "class_id": 20, "label": "stop", "flag": True})
    assert [(label.type, label.item) for label in labels[:4]] == [("keypoint", i) for i in range(4)]
    assert [(label.type, label.text) for label in labels[4:]] == [("class", "20"), ("class", "stop")]


def test_odd_numbers_are_kept() -> None:
    labels, problems = read_labels(
        {"a.json": b'{"point": [NaN, 1e999], "tip": [-7, 4000000000], "n": null, "s": "text"}'}, SIZE_HW
    )
    assert [label.type for label in labels] == ["keypoint", "keypoint"]
    assert not problems
    assert not np.isfinite(labels[0].value).any()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60, b'{"a":' + b"9" * 9000 + b"}",
     b"[" + b'{"a":1},' * 5000 + b"1]"],
    ids=["empty", "cut", "binary", "deep", "nested", "long number", "many"],
)  # fmt: skip
def test_a_broken_sidecar_is_one_line_and_costs_no_other(data: bytes) -> None:
    labels, problems = read_labels({"bad.json": data, "good.json": b'{"point": [1, 2]}', "notes.md": b"x"}, SIZE_HW)
    assert [label.name for label in labels] == ["point"]
    (problem,) = problems
    assert problem.startswith("bad.json: ")
    assert "\n" not in problem


def test_files_that_share_a_name_continue_its_items() -> None:
    labels, _ = read_labels({"a.json": b'{"p": [1, 2]}', "b.json": b'{"p": [3, 4]}'}, SIZE_HW)
    assert [label.item for label in labels] == [0, 1]


def test_an_instance_mask_gives_a_region_per_value() -> None:
    pixels = np.zeros(SIZE_HW, np.uint8)
    pixels[5:15, 5:15], pixels[20:30, 30:50] = 3, 7
    labels = mask_image.read(png(pixels), "m.png", SIZE_HW)
    assert [(label.item, label.text, label.type) for label in labels] == [
        (0, "7", "instance_mask"),
        (1, "3", "instance_mask"),
    ]
    assert np.array_equal(labels[1].value, pixels == 3)
    assert labels[0].value.dtype == bool


def test_a_mask_of_another_size_is_an_error_with_both_sizes() -> None:
    with pytest.raises(LabelError, match="8x4 px but its image is 60x36"):
        mask_image.read(png(np.zeros((4, 8), np.uint8)), "m.png", SIZE_HW)
    with pytest.raises(LabelError, match="not a readable mask"):
        mask_image.read(b"nonsense", "m.png", SIZE_HW)


def test_masks_are_known_by_name_or_by_flat_regions() -> None:
    noise = np.random.default_rng(0).integers(0, 255, SIZE_HW, dtype=np.uint8)
    regions = np.zeros((*SIZE_HW, 3), np.uint8)
    regions[5:20, 5:30] = (255, 0, 7)
    assert looks_like_mask(png(noise), "eye_mask.png")
    assert looks_like_mask(png(noise), "000_depth_0001.png")
    assert looks_like_mask(png(regions), "x.png")
    assert looks_like_mask(png(regions, "P"), "x.png")
    assert not looks_like_mask(png(noise), "x.png")
    assert not looks_like_mask(png(np.zeros(SIZE_HW, np.uint8)), "x.png")
    assert not looks_like_mask(b"nonsense", "x.png")
    assert not looks_like_mask(png(noise), "normal_eye.png")


def values(labels: tuple[Label, ...]) -> list[tuple[Any, ...]]:
    return [(one.name, one.item, one.text or np.round(one.value, 3).reshape(-1).tolist()) for one in labels]


def test_directions_drift_in_degrees_and_other_vectors_in_their_own_unit() -> None:
    units = {one.name: one.unit for one in read({"gaze": [0, 0, 1], "color": [9, 9, 9], "translation": [1, 2, 3]})}
    assert units == {"gaze": "deg", "color": "", "translation": ""}


def test_unityeyes_points_have_their_y_axis_turned_round(data_folder) -> None:
    sidecar = (data_folder / "fixtures" / "unityeyes" / "1.json").read_bytes()
    labels = {one.name: one for one in json_tree.read(sidecar, "1.json", (600, 800))}
    assert labels["iris_2d"].value[0].tolist() == pytest.approx([389.0269, 600 - 332.5428])
    assert labels["iris_2d"].value.shape == (32, 2)
    assert labels["eye_details.look_vec"].value.tolist() == pytest.approx([0.3404, 0.3879, -0.8566])


def xml(inner: str, size: str = "") -> bytes:
    return f"<annotation>{size}<object><name>cat</name>{inner}</object></annotation>".encode()


def test_voc_counts_pixels_from_one_and_includes_the_last() -> None:
    one_pixel = xml("<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>1</xmax><ymax>2</ymax></bndbox>")
    expected = [("objects.class", 0, "cat"), ("objects.box", 0, [-0.5, 0.5, 0.5, 1.5])]
    assert values(voc.read(one_pixel, "a.xml", SIZE_HW)) == expected
    turned = "<robndbox><cx>9.5</cx><cy>5.5</cy><w>4</w><h>2</h><angle>1.5707963</angle></robndbox>"
    (_, label) = voc.read(xml(turned), "a.xml", SIZE_HW)
    assert sorted(label.value.round(3).tolist()) == [[8, 3], [8, 7], [10, 3], [10, 7]]
    assert voc.read(b"<svg><object/></svg>", "a.xml", SIZE_HW) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "has a DOCTYPE"),
        (b'<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', "has a DOCTYPE"),
        (b"<annotation>&x;</annotation>", "not XML"),
        (b"", "not XML"),
        (b"<a>" * 1000, "nested deeper"),
        (b"<a>" + b"<b/>" * 200_001 + b"</a>", "more than 200,000 elements"),
        (xml("<bndbox><xmin>nan</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"), "NaN"),
        (xml("<bndbox><xmin>1</xmin></bndbox>"), "no numbers"),
        (xml("", "<size><width>9</width><height>9</height></size>"), "says 9x9 px but its image is 60x36"),
    ],
)
def test_hostile_xml_is_one_line(data: bytes, message: str) -> None:
    labels, (problem,) = read_labels({"a.xml": data}, SIZE_HW)
    assert labels == ()
    assert problem.removeprefix("left out: ").startswith("a.xml: ")
    assert message in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2 0.5 0.5 0.1 0.5", [("objects.box", 0, [26.5, 8.5, 32.5, 26.5])]),
        ("2 0.5 0.5 0.1 0.5 0.93", [("objects.box", 0, [26.5, 8.5, 32.5, 26.5])]),
        ("2 0 0 0.5 0 0.5 0.5", [("objects.polygon", 0, [-0.5, -0.5, 29.5, -0.5, 29.5, 17.5])]),
        ("2 0 0 0.5 0 0.5 0.5 0 0.5", [("objects.polygon", 0, [-0.5, -0.5, 29.5, -0.5, 29.5, 17.5, -0.5, 17.5])]),
        ("2 0.5 0.5 0.1 0.5 0.5 0.25 2 0 0 0 0.1 0.5 1",
         [("objects.box", 0, [26.5, 8.5, 32.5, 26.5]), ("objects.keypoint_0", 0, [29.5, 8.5]),
          ("objects.keypoint_2", 0, "hidden")]),
    ],
    ids=["box", "confidence", "outline", "oriented", "pose"],
)  # fmt: skip
def test_yolo_shares_become_pixels(line: str, expected: list[Any]) -> None:
    assert yolo.claims(line.encode(), "a.txt")
    assert values(yolo.read(line.encode(), "a.txt", SIZE_HW)) == [("objects.class", 0, "2"), *expected]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 nan 0.5 0.1 0.1", "NaN"),
        ("0 0.5 0.5 1e999 0.1", "infinite"),
        ("0 30 12 8 8", "must lie in [0, 1]"),
        ("0 0.5 0.5 0.1 0.1\n" * 2000, "2000 objects"),
    ],
)
def test_broken_yolo_is_one_line(line: str, message: str) -> None:
    labels, (problem,) = read_labels({"a.txt": line.encode()}, SIZE_HW)
    assert labels == ()
    assert message in problem


@pytest.mark.parametrize(
    ("line", "message"), [("1 cat", "not numbers"), ("1 0.5 0.5", "3 numbers"), ("1 3 3 1 1", "[0, 1]")]
)
def test_a_bad_line_of_yolo_is_named_and_its_neighbours_stand(line: str, message: str) -> None:
    data = f"0 0.5 0.5 0.1 0.1\n{line}\n2 0.5 0.5 0.2 0.2".encode()
    labels, (problem,) = read_labels({"a.txt": data}, SIZE_HW)
    assert [label.text for label in labels if label.type == "class"] == ["0", "2"]
    assert problem.startswith("left out: a.txt line 2: ")
    assert message in problem


def test_text_is_a_label_and_a_cls_file_a_class() -> None:
    labels, _ = read_labels({"a.cls": b"7\n", "a.txt": b"A red cat, 3 years old.\n", "b.txt": b" "}, SIZE_HW)
    assert [(one.name, one.type, one.text) for one in labels] == [
        ("class", "class", "7"),
        ("text", "text", "A red cat, 3 years old."),
    ]
    with pytest.raises(LabelError, match="not text in UTF-8"):
        text.read(b"\xff\xfe", "a.txt", SIZE_HW)


def test_a_table_beside_an_image_is_about_that_image() -> None:
    labels, problems = read_labels({"a.csv": b"class,x,y\ncat,1,2\ndog,3,4\n", "b.csv": b"\xff"}, SIZE_HW)
    assert ("xy", 1, [3, 4]) in values(labels)
    assert len(problems) == 1


def encoded(pixels: np.ndarray) -> str:
    return base64.b64encode(png(pixels)).decode()


def labelme_file(*shapes: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"imagePath": "a.png", "shapes": shapes, "imageData": "x" * 99, **more}).encode()


def test_labelme_shapes() -> None:
    patch = encoded(np.ones((3, 4), np.uint8) * 255)
    shapes = [
        {"label": "a", "shape_type": "rectangle", "points": [[9, 8], [1, 2]]},
        {"label": "b", "shape_type": "circle", "points": [[5, 5], [8, 9]]},
        {"label": "c", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 4]]},
        {"label": "d", "shape_type": "point", "points": [[7, 7]]},
        {"label": "e", "shape_type": "mask", "points": [[10, 20], [13, 22]], "mask": patch},
        {"label": "f", "shape_type": "line", "points": [[0, 0], [4, 0]]},
    ]
    data = labelme_file(*shapes, imageWidth=60, imageHeight=36)
    assert labelme.claims(data, "a.json")
    labels, problems = read_labels({"a.json": data}, SIZE_HW)
    assert not problems
    by_item = {(one.name, one.item): one for one in labels}
    assert [one.text for one in labels if one.type == "class"] == list("abcdef")
    assert by_item["objects.box", 0].value.tolist() == [0.5, 1.5, 8.5, 7.5]
    assert (by_item["objects.center", 1].value.tolist(), by_item["objects.center", 1].extent_px) == ([4.5, 4.5], 5.0)
    assert by_item["objects.polygon", 2].value.tolist() == [[-0.5, -0.5], [3.5, -0.5], [3.5, 3.5]]
    assert by_item["objects.point", 3].value.tolist() == [6.5, 6.5]
    rows, columns = by_item["objects.mask", 4].value.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 22, 10, 13)
    assert len(labels) == 11


@pytest.mark.parametrize(
    "shape",
    [
        {"points": [[1, float("nan")]], "shape_type": "point"},
        {"points": [["a", "b"]]},
        {"points": [[1, 2, 3]]},
        {"points": [[1, 2], [3]]},
        {"points": [[58, 30], [70, 40]], "shape_type": "mask", "mask": encoded(np.ones((9, 9), bool))},
        {"points": [[1, 2], [3, 4]], "shape_type": "mask", "mask": "!!"},
    ],
)  # fmt: skip
def test_broken_labelme_shapes_are_one_line(shape: dict[str, Any]) -> None:
    labels, problems = read_labels({"a.json": labelme_file(shape)}, SIZE_HW)
    assert (labels, len(problems)) == ((), 1)


def coco_masks(*segmentations: Any) -> bytes:
    annotations = [{"image_id": 1, "segmentation": one} for one in segmentations]
    return json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": annotations}).encode()


def test_coco_run_lengths_go_down_the_columns() -> None:
    plain_rle = {"size": [36, 60], "counts": [36, 2, 36 * 60 - 38]}
    packed = {"size": [36, 60], "counts": "T12ZR2"}
    first, second = coco.read(coco_masks(plain_rle, packed), "a.json", SIZE_HW)
    assert np.argwhere(first.value).tolist() == [[0, 1], [1, 1]]
    assert np.array_equal(first.value, second.value)


DISCS = ((20.3, 15.2, 9.6), (33.1, 18.4, 7.7), (58.2, 33.3, 6.1))
"""x, y, radius in px: two that overlap, one that is cut off by the frame."""


def test_coco_outlines_of_several_parts_are_one_mask() -> None:
    parts = [[0, 0, 4, 0, 4, 3, 0, 3], [10, 10, 12, 10, 12, 12, 10, 12]]
    (label,) = coco.read(coco_masks(parts), "a.json", SIZE_HW)
    assert (label.name, label.type) == ("objects.mask", "instance_mask")
    expected = np.zeros(SIZE_HW, bool)
    expected[:3, :4] = expected[10:12, 10:12] = True
    assert np.array_equal(label.value, expected)


def test_a_pixel_is_in_an_outline_when_its_centre_is() -> None:
    y, x = np.mgrid[:36, :60]
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circles = [np.stack((cx + r * np.cos(turn), cy + r * np.sin(turn)), axis=1) for cx, cy, r in DISCS]
    within = [np.hypot(x - cx, y - cy) <= r for cx, cy, r in DISCS]
    assert np.array_equal(filled(circles, SIZE_HW, "a.json"), np.any(within, axis=0))
    assert not filled([np.array([[-9.0, -9], [-5, -9], [-5, -5]])], SIZE_HW, "a.json").any()


def test_an_outline_that_fills_the_memory_is_refused() -> None:
    zigzag = np.stack((np.zeros(80_000), np.tile([-1e6, 1e6], 40_000)), axis=1)
    with pytest.raises(LabelError, match=r"a\.json: an outline of 80,000 points that crosses 2,880,000 rows"):
        filled([zigzag], SIZE_HW, "a.json")


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [36, 60], "counts": [10**12]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [36, 60], "counts": [-5, 36 * 60 + 5]},
        {"size": [36, 60], "counts": [1, 2]},
        {"size": [36, 60], "counts": [True, 2159]},
        {"size": [36, 60], "counts": "o" * 5000},
        {"size": [36, 60], "counts": "\u2028"},
        {"size": [36, 60], "counts": None},
        {"size": None},
    ],
)
def test_run_lengths_never_make_more_than_their_image(rle: dict[str, Any]) -> None:
    labels, (problem,) = read_labels({"a.json": coco_masks(rle)}, SIZE_HW)
    assert labels == ()
    assert problem.startswith("left out: a.json: a.png: object 0: ")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("a_mask.png", "mask", "instance_mask"),
        ("x.semantic segmentation.png", "semantic_mask", "semantic_mask"),
        ("SegmentationClass/x.png", "semantic_mask", "semantic_mask"),
        ("trainannot/x.png", "semantic_mask", "semantic_mask"),
        ("semantic/x_instanceIds.png", "instance_mask", "instance_mask"),
        ("depth/x.png", "depth", "depth"),
        ("x_depth_0001.png", "depth", "depth"),
    ],
)
def test_the_name_of_a_mask_says_its_type(path: str, name: str, kind: str) -> None:
    pixels = np.zeros(SIZE_HW, np.uint8)
    pixels[5:15, 5:15] = 3
    (label,) = mask_image.read(png(pixels), path, SIZE_HW)
    assert (label.name, label.type) == (name, kind)
    assert label.value.shape == SIZE_HW


def test_sixteen_bits_that_are_not_flat_are_depth_and_flat_ones_are_ids() -> None:
    ramp = np.arange(36 * 60, dtype=np.uint16).reshape(SIZE_HW) * 7
    (label,) = mask_image.read(png(ramp), "x.png", SIZE_HW)
    assert (label.type, label.unit, label.value.dtype) == ("depth", "px", np.float32)
    assert label.value[35, 59] == 7 * (36 * 60 - 1)
    ids = np.zeros(SIZE_HW, np.uint16)
    ids[5:15, 5:15] = 26001
    (label,) = mask_image.read(png(ids), "x.png", SIZE_HW)
    assert (label.type, label.text) == ("instance_mask", "26001")
    assert mask_image.read(png(ramp.astype(np.uint8)), "x_normals.png", SIZE_HW) == ()


def test_colours_are_told_as_colours_and_the_void_of_a_palette_is_none() -> None:
    pixels = np.zeros((*SIZE_HW, 3), np.uint8)
    pixels[5:15, 5:15] = (255, 0, 7)
    (label,) = mask_image.read(png(pixels), "a_mask.png", SIZE_HW)
    assert label.text == "#ff0007"
    ids = np.zeros(SIZE_HW, np.uint8)
    ids[4:16, 4:16] = 255
    ids[5:15, 5:15] = 3
    palette = Image.fromarray(ids)
    palette.putpalette(list(range(256)) * 3)
    out = io.BytesIO()
    palette.save(out, "PNG")
    assert [one.text for one in mask_image.read(out.getvalue(), "SegmentationObject/a.png", SIZE_HW)] == ["3"]


def test_no_name_makes_a_terminal_do_things_and_no_item_comes_twice() -> None:
    labels, _ = read_labels({"a.json": b'{"\\u001b[31mred": 1, "?[31mred": 2, "class": "a\\u0007b"}'}, SIZE_HW)
    assert [(one.name, one.item, one.text) for one in labels] == [
        ("?[31mred", 0, ""),
        ("?[31mred", 1, ""),
        ("class", 0, "a?b"),
    ]
    twice = coco_points(["k", "k"], [1, 2, 2, 3, 4, 2])
    labels, _ = read_labels({"a.json": twice}, SIZE_HW)
    assert [one.item for one in labels if one.name == "objects.k"] == [0, 1]


def coco_points(names: list[str], triples: list[int], count: int = 1) -> bytes:
    images = [{"id": 1, "file_name": "a.png"}]
    one = {"image_id": 1, "category_id": 1, "keypoints": triples}
    categories = [{"id": 1, "name": "c", "keypoints": names}]
    return json.dumps({"images": images, "categories": categories, "annotations": [one] * count}).encode()


def test_more_labels_than_an_image_can_have_are_one_line() -> None:
    labels, (problem,) = read_labels({"a.json": coco_points([], [1, 2, 2] * 1000, 20)}, SIZE_HW)
    assert labels == ()
    assert "more than 16,384 labels for one image" in problem


def test_masks_of_a_large_image_are_few_enough_for_the_memory() -> None:
    assert most_masks(SIZE_HW) == 128
    assert most_masks((4000, 6000)) * 4000 * 6000 <= MASK_BYTES
    assert most_masks((100_000, 100_000)) == 1
