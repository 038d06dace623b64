"""The words in names that say which sensor an image is of: the camera's picture, or a map such as depth. Pure text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Sense = Literal["picture", "map", "both", ""]
"""What words say: of a picture, of a map, of both (`GT/COLOR`), or nothing."""

PICTURES = frozenset(
    (
        *("rgb", "rgba", "bgr", "color", "colors", "colour", "colours", "image", "images", "img", "imgs", "camera"),
        *("cam", "frame", "frames", "photo", "photos", "picture", "pictures", "render", "renders", "rendered"),
        *("beauty", "jpegimages", "leftimg8bit", "rightimg8bit", "input", "inputs", "scene", "camerargb"),
    )
)
STRONG_PICTURES = frozenset(
    ("rgb", "rgba", "images", "image", "imgs", "jpegimages", "leftimg8bit", "rightimg8bit", "photos", "renders")
)
"""A folder that is called one of these alone is meant for pictures, whatever it lies in."""
CLASS_WORDS = frozenset(("mask", "masked", "normal", "motion", "id", "index", "gt"))
"""Words for maps that are also names of classes in collections of photos (`normal` and `pneumonia`)."""
MAPS = CLASS_WORDS | frozenset(
    (
        *("normals", "position", "positions", "distance", "ids", "matte", "diffuse", "specular", "label", "labels"),
        *("coordinates", "uv", "masks"),
        *("seg", "segs", "segm", "segmap", "segmaps", "semseg", "instseg", "sem", "inst", "pano", "panoptic", "visib"),
        *("depth", "depths", "zdepth", "disparity", "disp", "flow", "flows", "opticalflow", "nocs", "classgt"),
        *("labelid", "labelids", "labeltrainids", "instanceid", "instanceids", "objectid", "indexob", "groundtruth"),
        *("annot", "annots", "annotation", "annotations", "annotated", "heatmap", "heatmaps", "trimap", "silhouette"),
        *("cryptomatte", "albedo", "roughness", "metallic", "emission", "shading", "reflectance", "occlusion"),
        *("cls", "lbl", "lbls", "ann", "anns", "truth", "xyz", "pointcloud", "category", "trainannot"),
        *("cameradepth", "cameraseg", "gtfine", "gtcoarse"),
    )
)
VIEWS = frozenset(
    (
        *("left", "right", "front", "rear", "back", "top", "bottom", "side", "center", "centre", "middle", "wide"),
        *("narrow", "tele", "view", "main", "train", "val", "valid", "test", "day", "night", "up", "down", "out"),
    )
)
"""Words for where a camera looks and what images are for: they name pictures as well as maps."""
_MAP_BEGINNINGS = (
    *("depth", "segment", "semantic", "instance", "disparit", "normalmap", "surfacenormal", "opticalflow"),
    *("panoptic", "groundtruth", "forwardflow", "backwardflow", "sceneflow"),
)
_MAP_ENDINGS = ("annot", "annotations", "labels", "masks", "segmentation", "segmaps", "depthmap", "depthmaps")
_WHOLE = frozenset(("leftimg8bit", "rightimg8bit", "jpegimages"))
_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{24,}", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+")
_AIRSIM = re.compile(r"^(img_.*_)(\d+)(_\d{6,})$")
_AIRSIM_TYPES = {"0": "rgb", "5": "segmentation", "6": "normals", "8": "flow", "9": "flow"}
"""AirSim, ImageCaptureBase: recordings number their image types; 1 to 4 are kinds of depth, 7 is infrared."""


@lru_cache(4096)
def sensor_words(name: str) -> tuple[str, ...]:
    """The words of one name (without its suffix) that say what it is of: `SemanticSegmentation3f..` -> both of them."""
    recorded = _AIRSIM.match(name)
    if recorded:
        return (_AIRSIM_TYPES.get(recorded[2], "depth"),)
    return tuple(word for word in _words(name) if word in PICTURES or is_map_word(word))


def is_map_word(word: str) -> bool:
    """True if a lower-case word names a map."""
    return word in MAPS or word.startswith(_MAP_BEGINNINGS) or word.endswith(_MAP_ENDINGS)


def sense_of(words: tuple[str, ...]) -> Sense:
    """What words say together."""
    maps = any(map(is_map_word, words))
    if any(word in PICTURES for word in words):
        return "both" if maps else "picture"
    return "map" if maps else ""


def is_view(name: str) -> bool:
    """True if a name says only where a camera looks, what for, or its number."""
    return all(word in VIEWS or word in PICTURES for word in _words(name))


def is_of_any_view(name: str) -> bool:
    """True if what a name says beside its sensor is about that: `classSegmentation`, but not `seg_left`, `depth_2`."""
    rest = without_sensor(name)
    return not any(word in VIEWS for word in _words(rest)) and not re.search("[0-9]", rest)


def may_be_classes(words: tuple[str, ...]) -> bool:
    """True if all words for maps may be names of classes of photos."""
    return all(word in CLASS_WORDS for word in words if is_map_word(word))


@lru_cache(4096)
def without_sensor(name: str) -> str:
    """A name without its words for sensors, identifiers, and what joins them: `depth_front` -> `front`, `RGB` -> ``."""
    bare = _GUID.sub(" ", name)
    for whole in _WHOLE:
        bare = re.sub(whole, " ", bare, flags=re.IGNORECASE)

    def drop(found: re.Match[str]) -> str:
        word = found[0].lower()
        return " " if word in PICTURES or is_map_word(word) else found[0]

    return re.sub(r"[\W_]+", "_", _WORD.sub(drop, bare)).strip("_").lower()


def pattern_of(name: str) -> str:
    """A name with what counts as `*`: `Scene01` -> `Scene*`, identifiers too; not in a suffix such as `.h5`."""
    stem, dot, suffix = name.rpartition(".") if name[-5:].count(".") and name[-1:].isalnum() else (name, "", "")
    return re.sub(r"\d+", "*", _GUID.sub("*", stem)) + (dot + suffix if not suffix.isdigit() else f"{dot}*")


def is_recorded(stem: str) -> str:
    """The number of the image type in the name of an AirSim recording; empty for other names."""
    recorded = _AIRSIM.match(stem)
    return recorded[2] if recorded else ""


def span_of_words(name: str) -> tuple[int, int]:
    """Where the first word for a sensor begins and the last one ends in a name that has some."""
    spans = [found.span() for whole in _WHOLE for found in re.finditer(whole, name, re.IGNORECASE)]
    for found in _WORD.finditer(name):
        word = found[0].lower()
        if word in PICTURES or is_map_word(word):
            spans.append(found.span())
    return min(start for start, _ in spans), max(end for _, end in spans)


def _words(name: str) -> list[str]:
    bare = _GUID.sub(" ", name)
    lower = bare.lower()
    found = [word for word in _WHOLE if word in lower]
    for word in found:
        bare = re.sub(word, " ", bare, flags=re.IGNORECASE)
    return found + [word.lower() for word in _WORD.findall(bare)]
