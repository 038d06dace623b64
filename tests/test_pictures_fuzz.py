"""Random folder trees of a generator that knows the truth: no map is overwritten without a question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sensors

from refinery.dataset import open_dataset
from refinery.errors import DatasetError, PicturesInDoubt
from refinery.sample import Sample

PICTURE_WORDS = ("rgb", "RGB", "image", "images", "color", "camera", "render", "frames", "imgs", "Color", "beauty")
UNNAMED = ("cam0", "view", "left", "front", "train", "out", "a")
MAPS = {
    "seg": (sensors.label_map, sensors.colour_map, sensors.palette_map, sensors.smoothed_map),
    "depth": (sensors.depth16, sensors.depth24, sensors.depth8),
    "normals": (sensors.normal_map,),
    "flow": (sensors.flow_map, sensors.flow_wheel),
}
MAP_WORDS = {
    "seg": ("seg", "segmentation", "semantic", "instance", "mask", "mask_visib", "masks", "SemanticSegmentation",
            "classSegmentation", "labels", "classgt", "GT", "semantic_segmentation", "instanceIds"),
    "depth": ("depth", "Depth", "depth_map", "distance_to_camera", "disparity", "depthmap"),
    "normals": ("normals", "normal", "surface_normals", "SurfaceNormals"),
    "flow": ("flow", "optical_flow", "forwardFlow", "backward_flow"),
}  # fmt: skip
ODD_WORDS = ("aov", "buffer1", "extra", "layer2", "b", "aux", "pass", "matid", "zz")
"""Names of maps that say nothing."""
VIEWS = ("front", "left", "rear_wide")
STYLES = ("folders", "prefixed folders", "nested", "files before", "files after", "numbered scenes", "identifiers")


@dataclass
class Tree:
    """A tree and its truth. clear: whether names or pixels tell a person at a glance."""

    pictures: set[str]
    maps: set[str]
    clear: bool


def write(root: Path, rng: np.random.Generator) -> Tree:
    """Write one random tree."""
    style = STYLES[rng.integers(len(STYLES))]
    named = rng.random() < 0.8
    word = str(rng.choice(PICTURE_WORDS if named else UNNAMED))
    kinds = [str(kind) for kind in rng.choice(list(MAPS), rng.integers(0, 4), replace=False)]
    odd = rng.random() < 0.15
    jpeg, noisy = rng.random() < 0.3, named and rng.random() < 0.2
    smooth = rng.random() < 0.2
    noise_map = bool(kinds) and rng.random() < 0.1 and (named or not odd)  # else nobody could tell
    tree = Tree(set(), set(), True)
    writers = {kind: MAPS[kind][rng.integers(len(MAPS[kind]))] for kind in kinds}
    words = {kind: str(rng.choice(ODD_WORDS if odd else MAP_WORDS[kind])) for kind in kinds}
    if len(set(words.values())) < len(words):
        words = {kind: f"{name}_{kind}" for kind, name in words.items()}
    view = str(rng.choice(VIEWS))
    identifier = "".join(rng.choice(list("0123456789abcdef"), 32))
    identifier = "-".join([identifier[:8], identifier[8:12], identifier[12:16], identifier[16:20], identifier[20:]])
    for frame in range(3):
        things = sensors.scene(rng)
        picture = sensors.photo_like_noise(rng) if noisy else sensors.render(things, rng, 0 if smooth else 9)
        data = sensors.encoded(picture, "JPEG", quality=92) if jpeg else sensors.encoded(picture)
        tree.pictures.add(_put(root, style, word, view, identifier, frame, "jpg" if jpeg else "png", data))
        for kind in kinds:
            if noise_map and kind == kinds[0]:
                data = sensors.encoded(sensors.photo_like_noise(rng))
            else:
                data = writers[kind](
                    *(things,) if kind == "seg" and writers[kind] is sensors.label_map else (things, rng)
                )
            tree.maps.add(_put(root, style, words[kind], view, identifier, frame, "png", data))
    faint = any(writer in (sensors.depth8, sensors.flow_wheel) for writer in writers.values())
    tree.clear = not (odd and (noise_map or faint)) and not (noise_map and not named)
    return tree


def _put(root: Path, style: str, word: str, view: str, identifier: str, frame: int, suffix: str, data: bytes) -> str:
    path = {
        "folders": f"{word}/{frame:04d}.{suffix}",
        "prefixed folders": f"run/0/{word}_{view}/{frame:04d}.{suffix}",
        "nested": f"Scene01/clone/frames/{word}/Camera_0/{frame:05d}.{suffix}",
        "files before": f"{word}_{frame:04d}.{suffix}",
        "files after": f"data/{frame:04d}_{word}.{suffix}",
        "numbered scenes": f"scenes/{frame // 2:06d}/{word}/{frame:06d}.{suffix}",
        "identifiers": f"{word}{identifier}/{word.lower()}_{frame}.{suffix}",
    }[style]
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return path


def outcome(root: Path, rng: np.random.Generator) -> tuple[Tree, str]:
    """What became of a tree: `right`, `asked`, `left out` (pictures that are not refined), or `overwritten`."""
    tree = write(root, rng)
    try:
        source = open_dataset(root, asks=True)
    except PicturesInDoubt:
        return tree, "asked"
    except DatasetError:
        return tree, "left out"
    samples = {entry.image for entry in source.entries() if isinstance(entry, Sample)}
    if samples & tree.maps:
        return tree, f"overwritten: {sorted(samples & tree.maps)}"
    return tree, "right" if samples == tree.pictures else "left out"


def tally(folder: Path, count: int, seed: int) -> dict[str, int]:
    """How many trees of each outcome, those apart whose truth is clear. Fails for a map that was overwritten."""
    counts: dict[str, int] = {}
    for number in range(count):
        root = folder / str(number)
        tree, became = outcome(root, np.random.default_rng([seed, number]))
        assert not became.startswith("overwritten"), (number, became, sorted(tree.pictures | tree.maps))
        name = f"{'clear' if tree.clear else 'open'}, {became}"
        counts[name] = counts.get(name, 0) + 1
    return counts


def require_few_questions(counts: dict[str, int]) -> None:
    """In clear trees a question is rare, and pictures are not left out."""
    clear = sum(count for name, count in counts.items() if name.startswith("clear"))
    assert counts.get("clear, asked", 0) < 0.05 * clear, counts
    assert counts.get("clear, left out", 0) < 0.02 * clear, counts


def test_no_map_of_a_hundred_trees_is_overwritten(tmp_path):
    require_few_questions(tally(tmp_path, 100, seed=1))


@pytest.mark.slow
def test_no_map_of_two_thousand_trees_is_overwritten(tmp_path):
    counts = tally(tmp_path, 2000, seed=2)
    print(counts)
    require_few_questions(counts)
