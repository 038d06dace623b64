"""Which images of an HDF5 file are pictures: its groups and datasets as families, a few images of each looked at."""

from __future__ import annotations

from dataclasses import replace

import h5py

from refinery.formats._hdf5_layout import Images, ImageSet, all_images, names_of, with_partners
from refinery.pictures.appearance import appearance_of_pixels
from refinery.pictures.choice import Choice
from refinery.pictures.family import Family, Place
from refinery.pictures.rules import Looked, Verdict, judge
from refinery.pictures.sensor_words import pattern_of, sensor_words

PATHS = 8


def sets_and_verdicts(file: h5py.File, path: str, choice: Choice) -> tuple[tuple[ImageSet, ...], tuple[Verdict, ...]]:
    """The sets of pictures of a file, and what each family of its images was taken for. path: of the file."""
    found = all_images(file)
    whole = any(each.pixels[0].dtype.kind != "f" for each in found)
    looked = [_look(file, path, each, whole) for each in found]
    verdicts = tuple(judge(looked, choice))
    kept = [each.one for each, verdict in zip(found, verdicts, strict=True) if verdict.likely == "picture"]
    paths = [one.path for one in kept]
    return tuple(with_partners(file, one, paths) for one in kept), verdicts


def together(verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts of many files as those of one dataset: a doubt in any of them is a doubt."""
    by_place: dict[Place, Verdict] = {}
    order = ("picture", "map", "doubt")
    for one in verdicts:
        place = one.family.place
        before = by_place.get(place)
        if before is None:
            by_place[place] = one
            continue
        family = replace(before.family, count=before.family.count + one.family.count)
        worst = max(before, one, key=lambda each: order.index(each.kind))
        by_place[place] = replace(worst, family=family)
    return list(by_place.values())


def _look(file: h5py.File, path: str, images: Images, beside_whole: bool) -> Looked:
    one = images.one
    inside = f"{pattern_of(path)}/{one.path}".rstrip("/")
    words = tuple(sorted(set(sensor_words(one.members[0])))) if one.members else ()
    names = one.members or tuple(names_of(file, one.path or "/")[:PATHS])
    family = Family(Place(inside, words, "", ""))
    for name in names:
        family.add("/".join(filter(None, (path, one.path, name))), name)
    family.count = images.count
    looks = tuple(look for pixels in images.pixels if (look := appearance_of_pixels(pixels)) is not None)
    if images.pixels[0].dtype.kind == "f" and beside_whole and not family.sense:
        looks = ("numbers with a point beside whole ones",) * len(images.pixels)
    sizes_hw = frozenset((pixels.shape[0], pixels.shape[1]) for pixels in images.pixels)
    return Looked(family, looks, sizes_hw=sizes_hw)
