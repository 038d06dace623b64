"""Edits of images that move what is in them by a known distance: what a probe must notice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FLOW_WINDOW_PX = 7
"""Windows in which a local move is taken for constant."""


def shift_all(images: Tensor, move_xy: Tensor) -> Tensor:
    """Each image moved by its own (dx, dy) px, right and down, borders repeated: (B, C, H, W), (B, 2)."""
    field = move_xy[:, None, None].expand(-1, images.shape[2], images.shape[3], 2)
    return _warped(images, field)


def shift_disc(images: Tensor, move_xy: Tensor, centre_xy: Tensor, radius_px: Tensor) -> Tensor:
    """What lies within `radius_px` (B,) of `centre_xy` (B, 2) moved by (dx, dy) px, fading out smoothly around it.

    The move falls to nothing over three times its own length and at least 4 px, so that nothing folds over.
    """
    height, width = images.shape[2:]
    x, y = torch.arange(float(width)), torch.arange(float(height))[:, None]
    away = torch.hypot(x - centre_xy[:, 0, None, None], y - centre_xy[:, 1, None, None])
    fade_px = (3 * move_xy.norm(dim=1)).clamp(min=4.0)[:, None, None]
    part = ((radius_px[:, None, None] + fade_px - away) / fade_px).clamp(0, 1)
    smooth = part * part * (3 - 2 * part)
    return _warped(images, smooth[..., None] * move_xy[:, None, None])


def transplant(images: Tensor, donors: Tensor, refined_donors: Tensor, generator: torch.Generator) -> Tensor:
    """What a refiner did to other images, done to these: its tone, and what it adds beyond tone; nothing moves.

    The tone is the cubic in the pixel's value that fits each donor's refined image best. Of the rest, what local moves
    of the donor explain is left out, since that is what must be noticed; and of what remains only the spectrum is laid
    over the image, with random phases: as it is, it holds the donor's own edges.
    images, donors, refined_donors: (B, C, H, W) in [-1, 1].
    """
    flat, target = donors.flatten(1), refined_donors.flatten(1)
    powers = _powers(flat)
    normal = powers.transpose(1, 2) @ powers + 1e-3 * flat.shape[1] * torch.eye(4)
    curve = torch.linalg.solve(normal, powers.transpose(1, 2) @ target[:, :, None])
    toned_donors = (powers @ curve).reshape(donors.shape)
    residual = _unmoved(toned_donors, refined_donors - toned_donors)
    toned = (_powers(images.flatten(1)) @ curve).reshape(images.shape)
    done: Tensor = toned + _scrambled(residual, generator)
    return done.clamp(-1, 1)


def _unmoved(images: Tensor, residual: Tensor) -> Tensor:
    """The residual (B, C, H, W) without its part along the image's gradient: u . grad I, u constant in a window.

    Source: Lucas and Kanade 1981, an iterative image registration technique.
    """
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    gx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    gy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2

    def mean(product: Tensor) -> Tensor:
        return functional.avg_pool2d(product.sum(1, keepdim=True), FLOW_WINDOW_PX, 1, FLOW_WINDOW_PX // 2)

    xx, yy, xy = mean(gx * gx) + 1e-4, mean(gy * gy) + 1e-4, mean(gx * gy)
    bx, by = mean(gx * residual), mean(gy * residual)
    determinant = xx * yy - xy * xy
    rest: Tensor = residual - gx * (yy * bx - xy * by) / determinant - gy * (xx * by - xy * bx) / determinant
    return rest


def _scrambled(residual: Tensor, generator: torch.Generator) -> Tensor:
    """Noise with the spectrum of each image (B, C, H, W) and its mean; the channels keep their phase differences."""
    count, _, height, width = residual.shape
    noise = torch.fft.rfft2(torch.randn(count, 1, height, width, generator=generator))
    phases = noise / noise.abs().clamp(min=1e-6)
    phases[..., 0, 0] = 1.0
    scrambled: Tensor = torch.fft.irfft2(torch.fft.rfft2(residual) * phases, s=(height, width))
    return scrambled


def _powers(values: Tensor) -> Tensor:
    """(B, K) to (B, K, 4): 1, v, v^2, v^3."""
    return torch.stack([torch.ones_like(values), values, values**2, values**3], 2)


def _warped(images: Tensor, field_xy: Tensor) -> Tensor:
    """Images sampled where their content was before it moved by `field_xy` (B, H, W, 2) px; bicubic."""
    height, width = images.shape[2:]
    x, y = torch.arange(float(width)).expand(height, width), torch.arange(float(height))[:, None].expand(height, width)
    places = torch.stack([x, y], 2) - field_xy
    scaled = (places + 0.5) * 2 / torch.tensor([width, height]) - 1
    return functional.grid_sample(images, scaled, mode="bicubic", padding_mode="border", align_corners=False).clamp(
        -1, 1
    )
