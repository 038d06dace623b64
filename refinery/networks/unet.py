"""pix2pix's refiner: a U-Net, or the same encoder and decoder without skips.

Source: Isola et al. 2017 (arXiv:1611.07004), appendix 6.1. Convolutions are 4x4 with stride 2; Ck is convolution, norm,
activation with k features, CDk has dropout 0.5 too. Encoder C64-C128-C256-C512-C512-C512-C512-C512, decoder
CD512-CD512-CD512-C512-C256-C128-C64 and a last one to the image's channels. Leaky ReLU 0.2 on the way down, ReLU on the
way up, tanh at the end; no norm in the first layer, nor in the innermost one, where it would leave nothing of a single
value (the paper's erratum). Smaller images take fewer levels, down to one whose features are a few pixels wide.
Images of any size are padded by reflection to whole cells of 2^levels px, and the result is cropped to their size.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["batch", "instance", "none"]
Statistics = Literal["running", "image"]
WIDEST, DROPOUT_LAYERS = 8, 3
"""Features grow to 8 times the first layer's; the first three layers of the decoder drop some."""
ROW_STEP, COLUMN_STEP = 0.618034, 0.754878
"""Irrational steps of the lattice that the noise of refining lies on."""


class UNet(nn.Module):
    """(B, C, H, W) in [-1, 1] to (B, out_channels, H, W) in the same range, for every H and W of at least 2 px.

    levels: times the size is halved; at least 2. statistics: what batch norm uses outside training, the running ones,
    or each image's own (the paper's test batch of one); never those of a batch, since an image's result must not depend
    on its neighbours. noise: dropout outside training too, from a latent (B, latent) that is N(0, 1).
    """

    size_multiple = 1
    min_side_px = 2

    def __init__(
        self,
        channels: int,
        out_channels: int = 0,
        width: int = 64,
        levels: int = 5,
        skips: bool = True,
        norm: Norm = "batch",
        statistics: Statistics = "running",
        dropout: float = 0.5,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.levels, self.skips = levels, skips
        self.sees_whole_image = norm == "instance" or (norm == "batch" and statistics == "image")
        down, up = encoder_widths(width, levels), decoder_widths(width, levels)
        inner = [
            _Down(a, b, "none" if i == levels - 2 else norm, statistics) for i, (a, b) in enumerate(pairwise(down))
        ]
        self.down = nn.ModuleList([nn.Conv2d(channels, down[0], 4, 2, 1), *inner])
        into = decoder_inputs(width, levels, skips)
        drops = dropout_layers(width, levels) if dropout else 0
        self.up = nn.ModuleList(
            _Up(a, b, norm, statistics, dropout if i < drops else 0.0)
            for i, (a, b) in enumerate(zip(into, up, strict=False))
        )
        self.last = nn.ConvTranspose2d(into[-1], out_channels or channels, 4, 2, 1)
        self.latent_widths = up[:drops] if noise else []
        self.latent = sum(self.latent_widths)
        self.apply(_initialise)

    def forward(self, synthetic: Tensor, latent: Tensor | None = None) -> Tensor:
        """The refined images."""
        cell = 2**self.levels
        features = [self.down[0](_reflect(_reflect(synthetic, 2, cell), 3, cell))]
        for layer in self.down[1:]:
            features.append(layer(features[-1]))
        noise = iter(torch.split(latent, self.latent_widths, 1)) if latent is not None and self.latent else iter(())
        result = features.pop()
        for layer in self.up:
            result = layer(result, next(noise, None))
            if self.skips:
                result = torch.cat([result, features.pop()], 1)
        refined = torch.tanh(self.last(functional.relu(result)))
        return _crop(_crop(refined, 2, synthetic.shape[2]), 3, synthetic.shape[3])

    @property
    def cell_px(self) -> int:
        """Moving an image by so many pixels moves what is made of it, but for dropout noise and norms by its own."""
        return int(2**self.levels)

    @property
    def receptive_field_px(self) -> int:
        """Side of the square of input pixels that one output pixel depends on, but for norms by each image's own."""
        side = 1
        for _ in range(self.levels):
            side = side // 2 + 2
        for _ in range(self.levels):
            side = 2 * side + 2
        return side


class LatticeDropout(nn.Module):
    """Dropout; outside training none, or from a latent z (B, C), the same on every machine:

    keep(c, y, x) = frac(Phi(z_c) + 0.618034 y + 0.754878 x) >= p, with Phi the normal distribution: a fixed lattice,
    turned at random for every channel, so that each feature is kept with probability 1 - p exactly.
    Source: Cranley & Patterson 1976 for the rotation.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, features: Tensor, latent: Tensor | None) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.training:
            return functional.dropout(features, self.p)
        if latent is None:
            return features
        y = torch.arange(features.shape[2], device=latent.device, dtype=torch.float32) * ROW_STEP
        x = torch.arange(features.shape[3], device=latent.device, dtype=torch.float32) * COLUMN_STEP
        share = 0.5 * (1 + torch.erf(latent.float() * 0.5**0.5))
        place = share[:, :, None, None] + y[:, None] + x
        return features * ((place - place.floor()) >= self.p).to(features.dtype) / (1 - self.p)


class ImageBatchNorm(nn.BatchNorm2d):
    """Batch norm that outside training takes each image's own statistics, with the weights it learned."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.training:
            return super().forward(features)
        return functional.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)


class _Down(nn.Module):
    """Leaky ReLU, convolution to half the size, norm."""

    def __init__(self, width_in: int, width: int, norm: Norm, statistics: Statistics) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width_in, width, 4, 2, 1, bias=norm == "none")
        self.norm = _norm(width, norm, statistics)

    def forward(self, features: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(functional.leaky_relu(features, 0.2)))
        return normed


class _Up(nn.Module):
    """ReLU, convolution to twice the size, norm, dropout."""

    def __init__(self, width_in: int, width: int, norm: Norm, statistics: Statistics, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(width_in, width, 4, 2, 1, bias=norm == "none")
        self.norm = _norm(width, norm, statistics)
        self.dropout = LatticeDropout(dropout) if dropout else None

    def forward(self, features: Tensor, latent: Tensor | None) -> Tensor:
        normed: Tensor = self.norm(self.convolution(functional.relu(features)))
        return normed if self.dropout is None else self.dropout(normed, latent)


def build(channels: int, **settings: object) -> UNet:
    """The refiner for images of `channels` channels; settings are the constructor's."""
    return UNet(channels, **settings)  # type: ignore[arg-type]


def encoder_widths(width: int, levels: int) -> list[int]:
    """Features of each layer of the encoder: 64, 128, 256, 512, 512, ... for a width of 64."""
    return [width * min(2**i, WIDEST) for i in range(levels)]


def decoder_widths(width: int, levels: int) -> list[int]:
    """Features of each layer of the decoder but the last, which gives the image."""
    return encoder_widths(width, levels)[-2::-1]


def decoder_inputs(width: int, levels: int, skips: bool) -> list[int]:
    """Features that each layer of the decoder is given, the last layer included: with skips, the encoder's as well."""
    return [encoder_widths(width, levels)[-1], *(w * (2 if skips else 1) for w in decoder_widths(width, levels))]


def dropout_layers(width: int, levels: int) -> int:
    """Layers of the decoder that drop features: the first three, of those as wide as any, and at least the first."""
    widest = decoder_widths(width, levels)[:DROPOUT_LAYERS].count(width * WIDEST)
    return max(1, widest)


def levels_for(side_px: int) -> int:
    """Levels for images whose shorter side is this: as many as leave a pixel of it, 2 to 8."""
    return max(2, min(8, side_px.bit_length() - 1))


def _norm(width: int, norm: Norm, statistics: Statistics) -> nn.Module:
    if norm == "instance":
        return nn.InstanceNorm2d(width, affine=True)
    if norm == "batch":
        return ImageBatchNorm(width) if statistics == "image" else nn.BatchNorm2d(width)
    return nn.Identity()


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for the scale of norms, no bias."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if weight is not None:
        nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.02)
    if bias is not None:
        nn.init.zeros_(bias)


def _reflect(images: Tensor, dim: int, cell: int) -> Tensor:
    """Images padded on both sides of `dim` to a multiple of `cell` px, by reflection as often as it takes.

    By indices: `pad` cannot reflect further than the image is wide.
    """
    size = images.shape[dim]
    whole = (size + cell - 1) // cell * cell
    place = torch.arange(whole, device=images.device) - (whole - size) // 2
    period = 2 * torch.arange(size, device=images.device)[-1:]  # a tensor, since ONNX takes no remainder of sizes
    turned = place.remainder(period)
    return images.index_select(dim, torch.minimum(turned, period - turned))


def _crop(images: Tensor, dim: int, size: int) -> Tensor:
    """What `_reflect` padded, cut away."""
    first = (images.shape[dim] - size) // 2
    return images.index_select(dim, torch.arange(size, device=images.device) + first)
