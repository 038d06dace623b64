"""The tags of a TIFF file: those that describe the picture are carried, the others are named."""

from __future__ import annotations

from typing import Any

from PIL import Image, TiffImagePlugin

from refinery.images import stale

_KEPT = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 700, 33432, 33550, 33922, 34735, 34736, 34737)
"""Description, maker, orientation, density, software, dates, authors, XMP, and where on Earth (GeoTIFF)."""
_WRITTEN = frozenset((*range(254, 260), 262, 263, 266, 273, *range(277, 282), 284, 297, 317)) | frozenset(
    (*range(322, 326), *range(338, 342), 347, 512, 513, 514, *range(529, 533), 34675)
)
"""How the pixels are stored, and the colour profile: written anew."""
_XMP, _SUB_IFDS, _PHOTOSHOP = 700, 330, (34377, 37724)
_NAMES = {_SUB_IFDS: "TIFF previews", **dict.fromkeys(_PHOTOSHOP, "Photoshop resources"), 34665: "TIFF's EXIF part"}


def tags_of(opened: Image.Image) -> tuple[TiffImagePlugin.ImageFileDirectory_v2, tuple[str, ...]]:
    """The tags to carry, taken before loading (which drops the orientation), and what is left out."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    present: Any = opened.tag_v2  # type: ignore[attr-defined]
    left_out: tuple[str, ...] = ()
    for tag in _KEPT:
        if tag in present:
            value = present[tag]
            if tag == _XMP and isinstance(value, bytes):
                value, left_out = stale.xmp_without_pictures(value)
                if not value:
                    continue
            tags.tagtype[tag] = present.tagtype[tag]
            tags[tag] = value
    others = sorted(tag for tag in present if tag not in _KEPT and tag not in _WRITTEN)
    return tags, (*left_out, *dict.fromkeys(_NAMES.get(tag, f"TIFF tag {tag}") for tag in others))
