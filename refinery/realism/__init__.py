"""Realism: how far two sets of images are apart, measured without a pretrained network.

A measure is one file with `features(images, rng) -> array`, one row per image, and `distance(first, second) -> float`
on two arrays of features; the same generator state must describe every set in the same way.
"""

from refinery.realism._compare import compare, paired_l1
from refinery.realism._pixels import Images, equalise

__all__ = ["Images", "compare", "equalise", "paired_l1"]
