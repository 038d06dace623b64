"""How far the shading of an image changed: its colours as seen from afar, and its contrast.

A discriminator of patches knows no whole image, so that a refiner drifts brighter and darker while both learn. How
light and contrasty images are is learnt apart (`training/tone`); this keeps it so, and leaves texture free.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CELL_PX = 16


def shading(refined: Tensor, synthetic: Tensor) -> Tensor:
    """Mean squared change of the means of cells of some 16x16 px, and of the deviations of whole images: a scalar.

    refined, synthetic: (B, C, H, W) in [-1, 1]; synthetic: or what its tone made of it, with which the refiner began.
    """
    height, width = (max(1, round(side / CELL_PX)) for side in refined.shape[2:])
    cells = [functional.adaptive_avg_pool2d(images.float(), (height, width)) for images in (refined, synthetic)]
    deviations = [images.float().std((2, 3)) for images in (refined, synthetic)]
    return (cells[0] - cells[1]).square().mean() + torch.square(deviations[0] - deviations[1]).mean()
