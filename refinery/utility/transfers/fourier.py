"""Fourier domain adaptation (FDA): an image gets the low frequencies' amplitudes of a random photo.

Source: Yang and Soatto 2020 (arXiv:2004.05498), equations 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETA = 0.05
"""Share of the sides up to which frequencies count as low: at 32 px those up to 1 wave, at 64 px up to 3."""


def transfer(images: Tensor, real: Tensor, generator: torch.Generator, beta: float = BETA) -> Tensor:
    """Images (N, C, h, w) with amplitudes of photos (M, C, h, w) at frequencies |y| <= beta h and |x| <= beta w.

    x' = F^-1(M A(real) + (1 - M) A(x), P(x)) with amplitude A and phase P of the light in [0, 1], where the mean is
    never negative and its phase always 0; what leaves [0, 1] is clamped.
    """
    height, width = images.shape[2:]
    chosen = torch.randint(len(real), (len(images),), generator=generator)
    spectrum, photo = (torch.fft.fft2((x.float() + 1) / 2) for x in (images, real[chosen]))
    low_y, low_x = (torch.fft.fftfreq(side).abs() <= beta for side in (height, width))
    amplitude = torch.where(low_y[:, None] & low_x, photo.abs(), spectrum.abs())
    light = torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real
    made: Tensor = (light.clamp(0, 1) * 2 - 1).to(images.dtype)
    return made
