"""Whatever a sidecar holds: labels or one line a file, never an exception of another kind, never an item twice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinery.annotations import LEFT_OUT, _rle, merged, one_line, open_shared, read_labels
from refinery.errors import LabelError
from refinery.regions import regions
from refinery.sample import Label

SIZE_HW = (12, 16)
NAMES = st.sampled_from(
    [
        "box",
        "bbox",
        "center",
        "radius",
        "class",
        "x",
        "y",
        "w",
        "h",
        "z",
        "iris_x",
        "iris_y",
        "gaze",
        "contour",
        "corners",
        "images",
        "annotations",
        "categories",
        "file_name",
        "id",
        "image_id",
        "category_id",
        "segmentation",
        "keypoints",
        "counts",
        "size",
        "shapes",
        "imagePath",
        "points",
        "shape_type",
        "label",
        "mask",
        "captures",
        "values",
        "@type",
        "xmin",
        "ymin",
        "xmax",
        "ymax",
        "left",
        "top",
        "text",
        "instanceId",
        "origin",
        "dimension",
        "location",
        "name",
    ]
)
TAGS = st.sampled_from(
    [
        "object",
        "bndbox",
        "name",
        "xmin",
        "ymin",
        "xmax",
        "ymax",
        "part",
        "polygon",
        "x1",
        "y1",
        "x2",
        "size",
        "width",
        "height",
        "robndbox",
        "cx",
        "cy",
        "w",
        "h",
        "angle",
    ]
)
WORDS = st.sampled_from(["", "a.png", "mask", "circle", "(1, 2, 3)", "(nan, 1)", "unity.solo", "7", "\n"])
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | WORDS
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=30
)


CELLS = st.floats() | st.integers(0, 2) | st.floats(0, 1) | st.text(max_size=3)


def assert_sound(data: bytes, path: str) -> None:
    labels, problems = read_labels({path: data}, SIZE_HW)
    assert len({(one.name, one.item) for one in labels}) == len(labels)
    assert all(
        problem.removeprefix(LEFT_OUT).startswith(path) and "\n" not in problem and len(problem) < 600
        for problem in problems
    )
    for label in labels:
        assert (label.value.size == 0) == (label.type in ("class", "text"))
        if label.type.endswith("mask"):
            assert label.value.shape == SIZE_HW
    for box in regions(labels).values():
        assert box.shape == (4,)
        assert np.isfinite(box).all()


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
def test_any_json_is_labels_or_a_line(tree: Any) -> None:
    assert_sound(json.dumps(tree).encode(), "a.json")


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(tree=st.dictionaries(st.sampled_from(["a.png", "b.png"]), TREES) | st.lists(TREES), name=st.just("a.png"))
def test_any_json_about_many_images_is_labels_or_a_line(tree: Any, name: str) -> None:
    rows = [{**row, "file_name": name} if isinstance(row, dict) else row for row in tree]
    for one in (tree, rows, {"frames": rows}):
        assert_one_line(json.dumps(one).encode(), "all.json")


def assert_one_line(data: bytes, path: str) -> None:
    """Either labels for each image of the file, or a LabelError that names the file, in one line when it is told."""
    lines: list[str] = []
    try:
        shared = open_shared(data, path)
        for name in list(shared.names)[:3] if shared else ():
            shared.read(name, SIZE_HW)
    except LabelError as error:
        lines.append(one_line(error))
    assert all(line.startswith(path) and "\n" not in line for line in lines)


@st.composite
def coco_files(draw: st.DrawFn) -> bytes:
    things = st.fixed_dictionaries(
        {"image_id": st.just(1)},
        optional={"bbox": TREES, "segmentation": TREES, "keypoints": TREES, "category_id": SCALARS},
    )
    tree = {
        "images": [{"id": 1, "file_name": "a.png", "width": draw(SCALARS), "height": draw(SCALARS)}],
        "categories": draw(TREES),
        "annotations": draw(st.lists(things, max_size=4)),
    }
    return json.dumps(tree).encode()


@st.composite
def labelme_files(draw: st.DrawFn) -> bytes:
    kinds = st.sampled_from(["polygon", "rectangle", "circle", "point", "mask", "rotation", "line"])
    shape = st.fixed_dictionaries({"points": TREES, "shape_type": kinds}, optional={"label": SCALARS, "mask": SCALARS})
    return json.dumps({"imagePath": "a.png", "shapes": draw(st.lists(shape, max_size=4)), "points": 0}).encode()


@st.composite
def solo_files(draw: st.DrawFn) -> bytes:
    value = st.fixed_dictionaries(
        {"instanceId": SCALARS},
        optional={"origin": TREES, "dimension": TREES, "labelName": SCALARS, "keypoints": TREES},
    )
    kinds = st.sampled_from(["unity.solo.BoundingBox2DAnnotation", "unity.solo.KeypointAnnotation", "x"])
    annotation = st.fixed_dictionaries({"@type": kinds, "values": st.lists(value, max_size=3)})
    capture = {"annotations": draw(st.lists(annotation, max_size=3)), "dimension": draw(TREES), "of": "unity.solo"}
    return json.dumps({"captures": [capture]}).encode()


@settings(max_examples=100, deadline=None)
@given(data=coco_files() | labelme_files() | solo_files())
def test_files_of_a_kind_with_anything_in_them_are_labels_or_a_line(data: bytes) -> None:
    assert_sound(data, "a.json")


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.lists(CELLS, max_size=12), max_size=4),
    suffix=st.sampled_from(["txt", "csv", "tsv", "jsonl", "cls", "xml", "png"]),
)
def test_any_text_is_labels_or_a_line(lines: list[list[Any]], suffix: str) -> None:
    joint = {"csv": ",", "tsv": "\t"}.get(suffix, " ")
    text = "\n".join(joint.join(map(str, line)) for line in lines)
    assert_sound(text.encode("utf-8", "surrogatepass"), f"a.{suffix}")


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200), suffix=st.sampled_from(["json", "txt", "csv", "jsonl", "cls", "xml", "png", "tif"])
)
def test_any_bytes_are_labels_or_a_line(data: bytes, suffix: str) -> None:
    assert_sound(data, f"a.{suffix}")


@settings(max_examples=100, deadline=None)
@given(
    inner=st.recursive(
        st.sampled_from(["1", "nan", "", "&#0;", "&x;", "<![CDATA[7]]>"]),
        lambda one: st.lists(st.tuples(TAGS, one), max_size=5).map(
            lambda children: "".join(f"<{tag}>{text}</{tag}>" for tag, text in children)
        ),
        max_leaves=20,
    )
)
def test_any_voc_is_labels_or_a_line(inner: str) -> None:
    assert_sound(f"<annotation>{inner}</annotation>".encode(), "a.xml")


def packed(runs: list[int]) -> str:
    """COCO's compression of run lengths (maskApi.c, rleToString)."""
    text = ""
    for i, run in enumerate(runs):
        value = run - (runs[i - 2] if i > 2 else 0)
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != -1 if bits & 16 else value != 0
            text += chr((bits | 32 if more else bits) + 48)
    return text


@given(values=st.lists(st.booleans(), min_size=SIZE_HW[0] * SIZE_HW[1], max_size=SIZE_HW[0] * SIZE_HW[1]))
@settings(max_examples=60, deadline=None)
def test_run_lengths_come_back_as_their_mask(values: list[bool]) -> None:
    mask = np.array(values).reshape(SIZE_HW)
    columns = np.concatenate(([False], mask.T.reshape(-1)))
    changes = np.flatnonzero(columns[1:] != columns[:-1])
    runs = np.diff(np.concatenate(([0], changes, [mask.size]))).tolist()
    for counts in (runs, packed(runs)):
        assert np.array_equal(_rle.decode({"size": list(SIZE_HW), "counts": counts}, SIZE_HW, "a"), mask)


KEYS = st.tuples(st.sampled_from(["o.box", "o.class", "p.box", "p"]), st.integers(0, 4))


@given(files=st.lists(st.sets(KEYS), max_size=4))
def test_labels_of_one_object_keep_one_item_when_files_are_merged(files: list[set[tuple[str, int]]]) -> None:
    value = np.zeros(4)
    labels = [
        tuple(Label(name, "box", value, item=item, text=str(i)) for name, item in one) for i, one in enumerate(files)
    ]
    found = merged(labels)
    assert len({(one.name, one.item) for one in found}) == len(found) == sum(map(len, files))
    for i, file in enumerate(labels):
        shifts: dict[str, set[int]] = {}
        for before, after in zip(file, (one for one in found if one.text == str(i)), strict=True):
            assert before.name == after.name
            shifts.setdefault(before.name.partition(".")[0], set()).add(after.item - before.item)
        own = {prefix: moved for prefix, moved in shifts.items() if prefix == "o"}
        assert all(len(moved) == 1 for moved in own.values())


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("data", [b'{"a":' * 1000 + b"1" + b"}" * 1000, b'{"a":' + b"9" * 5000 + b"}", b"[1e999]"])
def test_depth_and_numbers_without_measure_are_at_most_a_line(data: bytes, suffix: str) -> None:
    assert_sound(data, f"a.{suffix}")
