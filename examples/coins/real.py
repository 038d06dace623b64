"""Cut unlabelled crops from scikit-image's photograph of coins: the real side of the coins example.

Crops are turned by a random multiple of 90 degrees and mirrored at random; they carry no labels, so nothing else has to
follow. Image i depends on the seed and on i alone, never on --count.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def load_photograph() -> NDArray[np.uint8]:
    """Return the photograph, (303, 384) uint8."""
    try:
        from skimage import data
    except ImportError:
        sys.exit("the photograph of coins comes with scikit-image, which is missing: pip install 'refinery[examples]'")
    return data.coins()


def cut(photograph: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut one (size, size) crop, turned and mirrored at random."""
    height, width = photograph.shape
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    crop = np.rot90(photograph[top : top + size, left : left + size], k=int(rng.integers(4)))
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def cut_all(out: Path, count: int, size: int, seed: int) -> None:
    """Write `count` crops into `out`."""
    photograph = load_photograph()
    if not 1 <= size <= min(photograph.shape):
        sys.exit(f"--size {size}: crops must be 1 to {min(photograph.shape)} px wide, the photograph has no more")
    out.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        crop = cut(photograph, size, np.random.default_rng([seed, index]))
        Image.fromarray(crop).save(out / f"{index:05d}.png")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and cut."""
    parser = argparse.ArgumentParser(description="Cut unlabelled gray crops from scikit-image's photograph of coins.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write 00000.png, 00001.png, ... into")
    parser.add_argument("--count", type=int, default=1000, help="how many crops (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="side of a crop in px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same crops (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        cut_all(options.out, options.count, options.size, options.seed)
    except OSError as error:
        sys.exit(f"cannot write to {options.out}: {error.strerror or error}")


if __name__ == "__main__":
    main()
