"""Sidecars and the labels they must give; broken ones and the one line they must give."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refinery.annotations import json_tree, mask_image, read_labels
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
        {"a.json": b'{"p": [NaN, 1e999], "q": [-7, 4000000000], "n": null, "s": "text"}'}, SIZE_HW
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
    labels, problems = read_labels({"bad.json": data, "good.json": b'{"p": [1, 2]}', "notes.txt": b"x"}, SIZE_HW)
    assert [label.name for label in labels] == ["p"]
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
