"""Histogram matching: each channel of an image gets the values that this channel has in a random photo."""

from __future__ import annotations

import torch
from torch import Tensor


def transfer(images: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, C, h, w) with the histograms of photos (M, C, h', w'), whose sizes may differ.

    A value that r of n px lie below and e px have becomes the quantile (r + (e - 1) / 2) / (n - 1) of the photo, so
    that equal px stay equal and an image matched to itself is itself.
    """
    chosen = torch.randint(len(real), (len(images),), generator=generator)
    own = images.float().flatten(2)
    values, wanted = own.sort(dim=2).values, real[chosen].float().flatten(2).sort(dim=2).values
    below = torch.searchsorted(values, own.contiguous())
    to = torch.searchsorted(values, own.contiguous(), right=True)
    place = (below + to - 1) / 2 * ((wanted.shape[2] - 1) / max(own.shape[2] - 1, 1))
    lower = place.floor().long().clamp(max=wanted.shape[2] - 1)
    first, second = wanted.gather(2, lower), wanted.gather(2, (lower + 1).clamp(max=wanted.shape[2] - 1))
    return torch.lerp(first, second, place - lower).reshape(images.shape).to(images.dtype)
