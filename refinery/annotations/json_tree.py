"""JSON sidecars of any nesting: labels are found by the name of a key and the shape of its value.

"iris_center": [x, y] is a keypoint (a sibling "radius" or "iris_radius" is its extent). Four numbers named box or xyxy
are a box, named bbox or xywh a box by its corner and size; where they contradict that, all of that name are left out
with a line. Three [x, y] or more are a polygon where the name says outline or points, or a keypoint each when named
corners, landmarks or keypoints (a third number is a visibility of 0, 1 or 2); under other names they are a vector.
Numbers named gaze, look_vec, direction, pose, ... are a vector; a string or an integer named class, label or category
is a class; a string named text or caption is a text; other numbers are numbers. {"x": 1, "y": 2} is [1, 2]. UnityEyes'
"(x, y, z)" points have their y axis turned round. Coordinates are taken as they stand, with pixel centres at integers.
"""

from __future__ import annotations

from refinery.annotations._json import load
from refinery.annotations._walk import labels_in
from refinery.sample import Label

SUFFIXES: tuple[str, ...] = (".json",)


def read(data: bytes, path: str, size_hw: tuple[int, int]) -> tuple[Label, ...]:
    """Labels of one image in the order of the file.

    Raises LabelError when the file is not JSON, is nested deeper than 32 levels or holds more than 4096 labels.
    """
    return labels_in(load(data, path), path, size_hw)
