"""R1: how steeply a discriminator's answer about real images changes with their pixels.

A discriminator that is held flat on the real images cannot run away from a refiner that is near them, and both settle
(Mescheder et al. 2018, arXiv:1801.04406, eq. 9).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(real: Tensor, discriminator: Callable[[Tensor], Tensor]) -> Tensor:
    """Squared gradient of "real" minus "refined", summed over the image, a patch: a scalar that reaches back twice.

    real: images (B, C, H, W); discriminator: gives their logits (B, 2, h, w). The sum over patches, by their number, is
    the same for images of any size.
    """
    images = real if real.requires_grad else real.detach().requires_grad_()
    patches = discriminator(images)
    told = (patches[:, 0] - patches[:, 1]).sum()
    (gradient,) = torch.autograd.grad(told, images, create_graph=True)
    return gradient.float().square().sum() / patches[:, 0].numel()
