"""Images that are stored turned: seen upright, checked with the labels of the upright image, stored as they were."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from refinery import image
from refinery.annotations import read_labels
from refinery.dataset import open_dataset
from refinery.formats._content import is_mask_beside
from refinery.labels import open_labels
from refinery.sample import Sample
from refinery.training.load_pairs import load_pairs
from refinery.training.loading import load

ORIENTATIONS = range(1, 9)
FILES = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
}
SCENE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
"""Upright."""


def stored(scene: np.ndarray, orientation: int, file_format: str = "PNG") -> bytes:
    """The scene as a file whose pixels are stored turned."""
    exif = Image.Exif()
    exif[274] = orientation
    out = io.BytesIO()
    turned = Image.fromarray(image.as_stored(scene, orientation))
    turned.save(out, file_format, exif=exif, **FILES[file_format])
    return out.getvalue()


def displayed(file: bytes) -> np.ndarray:
    """What a viewer shows, by Pillow."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))


def pixels_stored(file: bytes) -> tuple[int, int]:
    """Width and height as stored."""
    opened = Image.open(io.BytesIO(file))
    return (opened.tag_v2[256], opened.tag_v2[257]) if opened.format == "TIFF" else opened.size


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("file_format", FILES)
def test_an_image_is_seen_as_a_viewer_shows_it(file_format, orientation):
    file = stored(SCENE, orientation, file_format)
    decoded = image.decode(file, "a")
    np.testing.assert_array_equal(decoded.pixels, displayed(file))
    assert decoded.orientation == orientation == image.stored_orientation(file)
    assert image.size_of(file, "a") == decoded.size_hw == (24, 40)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("file_format", FILES)
def test_a_changed_image_is_displayed_the_same_way_up_and_stored_the_same_way(file_format, orientation):
    file = stored(SCENE, orientation, file_format)
    decoded = image.decode(file, "a")
    changed = 255 - decoded.pixels
    again = image.encode(changed, decoded)
    if file_format == "JPEG":
        assert np.abs(displayed(again).astype(int) - changed).mean() < 4
    else:
        np.testing.assert_array_equal(displayed(again), changed)
    assert pixels_stored(again) == pixels_stored(file)
    assert image.decode(again, "a").orientation == orientation


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_every_mode_is_turned_with_its_alpha(mode, orientation):
    shape = {"L": (24, 40), "LA": (24, 40, 2), "RGBA": (24, 40, 4), "I;16": (24, 40)}[mode]
    kind = np.uint16 if mode == "I;16" else np.uint8
    scene = np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, kind)
    file = stored(scene, orientation)
    decoded = image.decode(file, "a")
    assert decoded.size_hw == (24, 40)
    np.testing.assert_array_equal(displayed(image.encode(decoded.pixels, decoded)), scene)


def test_orientation_that_only_xmp_gives_counts_as_it_does_for_pillow():
    out = io.BytesIO()
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(SCENE).save(out, "JPEG", xmp=packet)
    assert image.decode(out.getvalue(), "a").orientation == 6
    if Image.open(out).getexif().get(ExifTags.Base.Orientation) != 6:
        pytest.skip("this Pillow does not read it")
    np.testing.assert_array_equal(image.decode(out.getvalue(), "a").pixels, displayed(out.getvalue()))


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*" + bytes(4), b"II*\0\x08\0\0\0\xff\xff"]
)
def test_broken_exif_turns_nothing(exif):
    out = io.BytesIO()
    Image.fromarray(SCENE).save(out, "WEBP", lossless=True, exif=exif)
    assert image.decode(out.getvalue(), "a").orientation == 1


def written(folder, files: dict[str, bytes]):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return open_dataset(folder)


def labels_of(source) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Values by name of the only sample, and what could not be read."""
    sample = next(entry for entry in source.entries() if isinstance(entry, Sample))
    decoded = source.decode(source.read(sample), sample)
    labels, problems = open_labels(source).read(sample, decoded.size_hw)
    return {label.name: label.value for label in labels}, problems


def coco(width: int, height: int, box: list[float]) -> bytes:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
            "categories": [{"id": 1, "name": "thing"}],
        }
    ).encode()


def voc(width: int, height: int, corners: tuple[int, ...]) -> bytes:
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    box = "".join(
        f"<{name}>{value}</{name}>" for name, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<annotation>{size}<object><name>thing</name><bndbox>{box}</bndbox></object></annotation>".encode()


def labelme(width: int, height: int, corners: list[list[float]]) -> bytes:
    shape = {"label": "thing", "points": corners, "shape_type": "rectangle"}
    return json.dumps({"imagePath": "a.png", "imageWidth": width, "imageHeight": height, "shapes": [shape]}).encode()


def place(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row of what is set, as x0, y0, x1, y1 of its outer corners from 0."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def annotation(kind: str, mask: np.ndarray) -> tuple[str, bytes]:
    """Name and content of an annotation of what is set in a mask, which says how large the mask is."""
    (height, width), (x0, y0, x1, y1) = mask.shape, place(mask)
    if kind == "coco":
        return "annotations.json", coco(width, height, [x0, y0, x1 - x0, y1 - y0])
    if kind == "voc":
        return "a.xml", voc(width, height, (x0 + 1, y0 + 1, x1, y1))
    return "a.json", labelme(width, height, [[x0, y0], [x1, y1]])


@pytest.mark.parametrize("frame", ["displayed", "stored"])
@pytest.mark.parametrize("kind", ["coco", "voc", "labelme"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_either_frame_lie_on_the_thing_where_their_file_gives_the_size(tmp_path, orientation, kind, frame):
    thing = np.zeros((24, 40), bool)
    thing[3:9, 5:17] = True
    seen = thing if frame == "displayed" else image.as_stored(thing, orientation)
    name, data = annotation(kind, seen)
    values, problems = labels_of(written(tmp_path, {"a.png": stored(SCENE, orientation), name: data}))
    assert problems == ()
    np.testing.assert_allclose(values["objects.box"], [4.5, 2.5, 16.5, 8.5])


@pytest.mark.parametrize("frame", ["displayed", "stored", "stored with EXIF of its own"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_of_either_frame_lie_on_the_thing(tmp_path, orientation, frame):
    thing = np.zeros((24, 40), np.uint8)
    thing[3:9, 5:17] = 255
    files = {
        "displayed": stored(thing, 1),
        "stored": stored(image.as_stored(thing, orientation), 1),
        "stored with EXIF of its own": stored(thing, orientation),
    }
    source = written(tmp_path, {"a.png": stored(SCENE, orientation), "a_mask.png": files[frame]})
    values, problems = labels_of(source)
    assert problems == ()
    np.testing.assert_array_equal(values["mask"], thing > 0)


def test_a_size_that_fits_neither_frame_is_refused_as_before(tmp_path):
    source = written(tmp_path, {"a.png": stored(SCENE, 3), "a.xml": voc(24, 40, (1, 1, 5, 5))})
    _, (problem,) = labels_of(source)
    assert "says 24x40 px but its image is 40x24 px" in problem


def test_directions_of_the_stored_image_are_left_out_and_those_of_the_displayed_stay():
    sidecar = {"a.json": labelme(24, 40, [[1, 1], [5, 9]])}
    labels, problems = read_labels(sidecar, (24, 40), lambda: 6)
    assert problems == ()
    assert [label.name for label in labels] == ["objects.class", "objects.box"]


def test_the_mask_beside_a_picture_that_lies_on_its_side_is_a_mask(tmp_path):
    flat = np.zeros((24, 40), np.uint8)
    flat[3:9] = 255
    (tmp_path / "picture.jpg").write_bytes(stored(SCENE, 6, "JPEG"))
    (tmp_path / "flat.png").write_bytes(stored(flat, 1))
    assert is_mask_beside(tmp_path / "flat.png", tmp_path / "picture.jpg")
    assert not is_mask_beside(tmp_path / "picture.jpg", tmp_path / "flat.png")


def test_a_dataset_says_that_its_images_are_stored_turned(tmp_path):
    source = written(tmp_path, {"a.png": stored(SCENE, 6), "b.png": stored(SCENE, 3), "c.png": stored(SCENE, 1)})
    for entry in source.entries():
        source.decode(source.read(entry), entry)
    (line,) = source.problems()
    assert line.startswith("EXIF orientation: 2 images looked at (a.png, ...) stored turned")


def test_training_takes_photos_upright_and_says_so(tmp_path):
    source = written(tmp_path, {f"{i}.jpg": stored(SCENE, 6, "JPEG") for i in range(17)})
    images = load(source, 64, "real dataset")
    assert images.size_hw == (24, 40)
    assert "real dataset: 17 of 17 images are stored turned (EXIF orientation): used upright" in images.notes


def test_partners_are_paired_as_displayed(tmp_path):
    source = written(tmp_path / "synthetic", {f"{i}.png": stored(SCENE, 1) for i in range(4)})
    real = written(tmp_path / "real", {f"{i}.png": stored(SCENE, 8) for i in range(4)})
    pairs = load_pairs(source, real, 64)
    np.testing.assert_array_equal(pairs.real.images[0], pairs.synthetic.images[0])
    assert pairs.notes == ("real dataset: 4 of 4 images are stored turned (EXIF orientation): used upright",)
