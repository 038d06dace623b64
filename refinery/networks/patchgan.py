"""pix2pix's discriminator: a PatchGAN, one logit for each patch, of a pair or of an image alone.

Source: Isola et al. 2017 (arXiv:1611.07004), appendix 6.1.2. Leaky ReLU 0.2, no norm in the first layer, 4x4
convolutions with stride 2 but for the last two layers. 1x1: C64-C128, all 1x1; 16x16: C64-C128; 70x70:
C64-C128-C256-C512; 286x286: C64-C128-C256-C512-C512-C512; then one convolution to the logit.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from refinery.errors import TrainingError

Patch = Literal[1, 16, 70, 286]
Norm = Literal["batch", "instance", "none"]
PATCHES: dict[int, tuple[int, int]] = {1: (1, 2), 16: (4, 2), 70: (4, 4), 286: (4, 6)}
"""Side of the convolutions and number of layers before the logit, by the side of a patch in px."""
WIDEST = 8


class PatchGAN(nn.Module):
    """(B, C, H, W) in [-1, 1] to logits (B, 1, h, w) of being real.

    channels: of what it sees; conditional, the synthetic and the other image's together: torch.cat([x, y], 1).
    patch_px: side of the square that one logit depends on.
    """

    def __init__(self, channels: int, patch_px: Patch = 70, width: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        self.patch_px = patch_px
        kernel, count = PATCHES[patch_px]
        padding, halvings = kernel // 4, count - 1 if kernel > 1 else 0
        self.smallest_side_px = smallest_side_px(patch_px)
        layers: list[nn.Module] = []
        into = channels
        for i, features in enumerate(layer_widths(patch_px, width)):
            normed = norm != "none" and i > 0
            stride = 2 if i < halvings else 1
            layers.append(nn.Conv2d(into, features, kernel, stride, padding, bias=not normed))
            layers += [_norm(features, norm)] if normed else []
            layers.append(nn.LeakyReLU(0.2))
            into = features
        self.layers = nn.Sequential(*layers, nn.Conv2d(into, 1, kernel, 1, padding))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """The logit of every patch. Raises TrainingError for images that leave none."""
        height, width = images.shape[2:]
        if min(height, width) < self.smallest_side_px:
            raise TrainingError(
                f"the discriminator of patches of {self.patch_px} px needs images of {self.smallest_side_px} px, but "
                f"the training crops are {width}x{height} px; set a smaller patch_px, or 0 for one that fits"
            )
        logits: Tensor = self.layers(images)
        return logits


def build(channels: int, **settings: object) -> PatchGAN:
    """The discriminator for images, or joined images, of `channels` channels; settings are the constructor's."""
    return PatchGAN(channels, **settings)  # type: ignore[arg-type]


def smallest_side_px(patch_px: int) -> int:
    """Shorter side of the smallest images that leave a patch of this side: the frames of zeros fill the rest of it."""
    kernel, count = PATCHES[patch_px]
    return 3 * 2 ** (count - 1) if kernel > 1 else 1


def layer_widths(patch_px: int, width: int = 64) -> list[int]:
    """Features of each layer before the logit."""
    return [width * min(2**i, WIDEST) for i in range(PATCHES[patch_px][1])]


class _InstanceNorm(nn.InstanceNorm2d):
    """Instance norm that leaves alone what has a single value."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        if features.shape[2] * features.shape[3] == 1:
            return features
        return functional.instance_norm(features, weight=self.weight, bias=self.bias, eps=self.eps)


def _norm(width: int, norm: Norm) -> nn.Module:
    return nn.BatchNorm2d(width) if norm == "batch" else _InstanceNorm(width, affine=True)


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for the scale of norms, no bias."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if weight is not None:
        nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.02)
    if bias is not None:
        nn.init.zeros_(bias)
