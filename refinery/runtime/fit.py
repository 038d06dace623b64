"""What sizes a refiner takes, and how far it sees."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """What sizes a refiner takes: height and width are padded to a multiple of `multiple` and at least `least_px`.

    receptive_px: side of the square of input pixels that an output pixel sees, 0: not known. cell_px: moving an image
    by whole multiples of this moves what is made of it, borders apart; 1 only of networks in which nothing else than
    those pixels matters, no norm by the image's own statistics and no noise by place; 0: not known. fixed_hw: the only
    height and width that a model from elsewhere takes; 0: any.
    """

    multiple: int = 1
    least_px: int = 1
    receptive_px: int = 0
    cell_px: int = 0
    fixed_hw: tuple[int, int] = (0, 0)

    def takes(self, size_hw: tuple[int, int]) -> bool:
        """True if images of this size have the height and width that are fixed."""
        return all(not fixed or fixed == side for fixed, side in zip(self.fixed_hw, size_hw, strict=True))

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The size that images of a size are brought to, by adding pixels below and on the right."""
        height, width = (-(-max(side, self.least_px) // self.multiple) * self.multiple for side in size_hw)
        return height, width
