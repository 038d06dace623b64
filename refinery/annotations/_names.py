"""What the name of a value says about its kind: the words that simulators use."""

from __future__ import annotations

import re
from functools import lru_cache

BOX_XYXY = frozenset({"box", "xyxy", "boxes", "bounds", "rect"})
BOX_XYWH = frozenset({"bbox", "xywh", "bboxes"})
SURE_XYWH = frozenset({"xywh"})
"""Who says so is believed, wherever such a box lies."""
OUTLINES = frozenset(
    {
        *("polygon", "contour", "outline", "obb", "segmentation", "quad", "hull", "boundary", "border", "silhouette"),
        *("polyline", "lane", "line", "curve", "path", "margin", "limbus", "lid", "eyelid", "iris", "caruncle"),
    }
)
VECTORS = frozenset(
    {"gaze", "look", "direction", "vector", "vec", "pose", "rotation", "quaternion", "normal", "translation"}
)
DIRECTIONS = VECTORS - {"translation"}
CLASSES = frozenset({"class", "label", "category", "classid", "labelid", "categoryid"})
CLASS_LISTS = frozenset({"classes", "labels", "categories", "classids", "labelids", "categoryids", "classnames"})
TEXTS = frozenset({"text", "caption", "transcription", "ocr"})
POINT_LISTS = frozenset({"corners", "landmarks", "keypoints", "joints", "vertices"})
POINT_WORDS = frozenset(
    {
        *("center", "centre", "point", "points", "pt", "keypoint", "pupil", "position", "xy", "corner", "landmark"),
        *("tip", "joint", "vertex", "pivot", "centroid", "middle", "uv", "eye", "nose", "mouth", "ear", "hand", "head"),
        *("foot", "ankle", "knee", "hip", "wrist", "elbow", "shoulder", "finger", "thumb", "start", "end"),
    }
)
NO_PLACES = frozenset(
    {
        *("size", "resolution", "shape", "dimensions", "dimension", "dims", "aperture", "focal", "principal", "fov"),
        *("camera", "lens", "scale", "range", "clipping", "offset", "id", "ids", "index", "indices", "count", "time"),
        *("timestamp", "version", "seed", "width", "height", "sensor", "pixel", "viewport", "spacing", "intrinsics"),
        *("world", "geo", "gps", "utm", "lat", "lon", "latitude", "longitude", "mm", "cm", "meter", "metre", "deg"),
        *("degree", "rad", "radian", "norm", "normalized", "normalised", "relative", "ratio", "percent", "pct"),
    }
)
"""Two numbers under one of these words are no place in the image, whatever else the name says."""

NO_IMAGES = frozenset({"camera", "lens", "sensor", "intrinsics", "extrinsics", "viewport", "world", "calibration"})
"""What stands right under one of these words is about the camera or the scene: its `center` is no place."""

LINKS = frozenset({"skeleton", "edges", "links", "connections", "pairs", "limbs", "triangles", "faces"})
"""Lists of indices: which points belong together."""

REFERENCES = (
    *("file_name", "filename", "file", "image", "image_path", "imagepath", "file_path", "filepath", "img"),
    *("image_name", "imagename", "image_file", "img_path", "image_id", "path", "name"),
)
"""Columns that say which image a row is about, the surest first."""


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """Lower-case words of a key: "irisCenter_px" -> ("iris", "center", "px")."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:128])
    return tuple(word for word in re.split(r"[^A-Za-z0-9]+", parted.lower()) if word)


@lru_cache(maxsize=4096)
def says(name: str, vocabulary: frozenset[str]) -> bool:
    """True when a word of the name, in the singular or the plural, or the name as one word, is in the vocabulary."""
    parts = words(name)
    return (
        any(part in vocabulary or part.removesuffix("s") in vocabulary for part in parts)
        or "".join(parts) in vocabulary
    )
