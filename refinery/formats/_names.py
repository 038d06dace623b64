"""What file and folder names say: stems, and the words that tell a picture from its masks and labels. Pure text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set

from refinery.image import SUFFIXES

DELIMITERS = ". _-"

PICTURE_WORDS = frozenset(
    ("rgb", "rgba", "camera", "color", "colour", "image", "img", "frame", "photo", "render", "beauty", "leftimg8bit")
)
FRAME_PICTURE_WORDS = frozenset(("rgb", "rgba"))
"""Replicator and Kubric write rgb_0000.png beside one file per buffer with the same number."""
ROLE_WORDS = frozenset(
    (
        *("mask", "masks", "seg", "segm", "segmentation", "semantic", "semantics", "instance", "instances", "panoptic"),
        *("depth", "depths", "zdepth", "disparity", "disp", "distance", "normal", "normals", "flow", "motion", "uv"),
        *(
            "label",
            "labels",
            "labelid",
            "labelids",
            "labeltrainids",
            "instanceid",
            "instanceids",
            "objectid",
            "indexob",
        ),
        *("gt", "groundtruth", "annot", "annotation", "annotations", "id", "ids", "index", "heatmap", "coordinates"),
        *("matte", "trimap", "silhouette", "cryptomatte", "albedo", "diffuse", "specular", "roughness", "position"),
    )
)

PICTURE_FOLDERS = (
    *("images", "image", "imgs", "img", "jpegimages", "rgb", "rgba", "leftimg8bit", "color", "colour", "camera"),
    *("camerargb", "frames", "photos", "pictures", "renders", "input", "inputs"),
)
CERTAIN_ROLE_FOLDERS = frozenset(
    (
        *("labels", "annotations", "annotation", "annots", "masks", "segmentation", "segmentations", "labelids"),
        *("segmentationclass", "segmentationobject", "semantic_segmentation", "instance_segmentation"),
        *("panoptic_segmentation", "gtfine", "gtcoarse", "ground_truth", "groundtruth", "semantic_masks"),
        *("instance_masks", "cameraseg", "depths", "depthmaps", "depth_maps", "normal_maps"),
    )
)
"""Images in these are masks or the like even where no picture goes with them."""
ROLE_FOLDERS = CERTAIN_ROLE_FOLDERS | frozenset(
    (
        *("label", "annot", "mask", "seg", "semantic", "instance", "instances", "panoptic", "depth", "cameradepth"),
        *("normal", "normals", "albedo", "gt", "disparity", "flow", "json", "xml", "txt", "boxes", "bboxes", "bbox"),
        *("keypoints", "pose", "poses", "metadata", "meta", "camera_params", "camera_poses"),
    )
)
"""Only beside a picture folder: on their own, `normal` and `mask` are also the classes of photo collections."""
VARIANT_MARKS = ("_v", "_look", "_variant")
"""What stands with a number behind the stem of the second refined image of a sample: `00012_v1.png`."""
_VARIANT = re.compile(rf"({'|'.join(VARIANT_MARKS)})\d+")
_VARIANT_AT_END = re.compile(rf"({'|'.join(VARIANT_MARKS)})\d+$")
FOLDER_ENDINGS = tuple(
    f"{joint}{word}"
    for word in ("annotations", "annotation", "annot", "labels", "label", "masks", "mask", "depth", "seg", "gt")
    for joint in ("_", "-", "")
    if joint or word in ("annot", "annotations")
)
"""`train` goes with `trainannot`, `train_labels`, ..."""


def is_image_name(name: str) -> bool:
    """True if a file name promises an image; hidden files never do."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def normalised(text: str) -> str:
    """The text in composed Unicode: names are compared so, since disks of macOS decompose them."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_apple_double(name: str) -> bool:
    """True if a file is what macOS leaves beside another one on a foreign disk (`._a.png`): carried, not read."""
    return name.startswith("._")


def stem_of(name: str) -> str:
    """A file name without its last suffix: `img_0.5_left.png` -> `img_0.5_left`."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def with_mark(path: str, mark: str) -> str:
    """The path with a mark behind the stem of its file name: `a/b.h5` -> `a/b_v1.h5`."""
    folder, slash, name = path.rpartition("/")
    stem = stem_of(name)
    return f"{folder}{slash}{stem}{mark}{name[len(stem) :]}"


def without_mark(path: str) -> str:
    """The path that a variant's was made of: `a/b_v1.h5` -> `a/b.h5`; others as they are."""
    folder, slash, name = path.rpartition("/")
    stem = stem_of(name)
    match = _VARIANT_AT_END.search(stem)
    return f"{folder}{slash}{stem[: match.start()]}{name[len(stem) :]}" if match else path


def heads(text: str) -> Iterator[tuple[str, str]]:
    """(head, rest) at every delimiter, longest head first; the rest starts with the delimiter."""
    for at in range(len(text) - 1, 0, -1):
        if text[at] in DELIMITERS:
            yield text[:at], text[at:]


def tails(text: str) -> Iterator[tuple[str, str]]:
    """(prefix, tail) at every delimiter, longest tail first; the delimiter is in neither."""
    for at in range(1, len(text) - 1):
        if text[at] in DELIMITERS:
            yield text[:at], text[at + 1 :]


def words_of(text: str) -> list[str]:
    """Lower-case words of a name, counters dropped: ` semantic segmentation_2` -> semantic, segmentation."""
    found = (word.strip("0123456789") if word not in PICTURE_WORDS else word for word in _split(text.lower()))
    return [word for word in found if word]


def says_role(text: str) -> bool:
    """True if what stands before or after a common stem names a mask, depth, normal or label image."""
    return any(word in ROLE_WORDS for word in words_of(text))


def picture_core(stem: str) -> str | None:
    """The stem without a closing word for the picture itself: `step0.camera` -> `step0`, `7_rgb` -> `7`; else None."""
    for head, rest in heads(stem):
        return head if rest[1:].lower() in PICTURE_WORDS else None
    return None


def picture_tail(stem: str, words: Set[str] = PICTURE_WORDS) -> str | None:
    """The stem without an opening word for the picture itself: `rgb_0000` -> `0000`; else None."""
    for at, letter in enumerate(stem[:-1]):
        if letter in DELIMITERS:
            return stem[at + 1 :] if stem[:at].lower() in words and not _VARIANT.fullmatch(stem, at) else None
    return None


def is_counter(text: str) -> bool:
    """True if a rest is only a number: a frame or a variant, not a kind of image."""
    return not words_of(_VARIANT.sub("", text))


def is_frame(tail: str) -> bool:
    """True if an ending that two names share is a frame number, or a variant of one: `0000`, `0000_v1`."""
    return _VARIANT.sub("", tail, count=1).isdigit()


def base_of_role_folder(name: str) -> str | None:
    """`trainannot` -> `train`, `seq1_masks` -> `seq1`; None for other names."""
    for ending in FOLDER_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return None


def is_label_folder(name: str) -> bool:
    """True if the name alone says that a folder holds labels of what lies in another one."""
    return is_role_folder(name) or base_of_role_folder(name) is not None


def is_certain_role_folder(name: str) -> bool:
    """True if a folder of this name holds label images whatever lies beside it."""
    return name.lower().replace(" ", "_") in CERTAIN_ROLE_FOLDERS


def is_role_folder(name: str) -> bool:
    """True if a folder of this name holds labels when a picture folder lies beside it."""
    return name.lower().replace(" ", "_") in ROLE_FOLDERS


def _split(text: str) -> list[str]:
    return re.split(r"[. _\-]+", text)
