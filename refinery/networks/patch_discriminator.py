"""SimGAN's discriminator: fully convolutional, one pair of logits (real, refined) for each patch of the image.

Source: Shrivastava et al. 2017, appendix. Eyes: convolution 3x3/2 96, 3x3/2 64, max-pool 3x3/1, convolution 3x3 32,
1x1 32, 1x1 2 (a patch sees 23x23 px). Hands: 7x7/4 96, 5x5/2 64, max-pool 3x3/2, 3x3/2 32, 1x1 32, 1x1 2.
Ours, for labels that must not move: `medium` is the eyes' network without the pooling (a patch sees 15x15 px), and
`small` has its last 3x3 convolution made 1x1 as well (7x7 px): it judges texture alone.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from refinery.errors import TrainingError
from refinery.networks._discriminator import Discriminator

Variant = Literal["eyes", "hands", "medium", "small"]
_LAYERS: dict[str, tuple[tuple[int, int, int], ...]] = {
    # (kernel, stride, width); width 0 is a max-pool
    "eyes": ((3, 2, 96), (3, 2, 64), (3, 1, 0), (3, 1, 32), (1, 1, 32)),
    "hands": ((7, 4, 96), (5, 2, 64), (3, 2, 0), (3, 2, 32), (1, 1, 32)),
    "medium": ((3, 2, 96), (3, 2, 64), (3, 1, 32), (1, 1, 32)),
    "small": ((3, 2, 96), (3, 2, 64), (1, 1, 32), (1, 1, 32)),
}


class PatchDiscriminator(Discriminator):
    """(B, C, H, W) in [-1, 1] to logits (B, 2, h, w): class 0 is real, class 1 refined.

    rotation: with a head that tells how an image was turned. spectral_norm: in every layer.
    """

    def __init__(
        self,
        channels: int,
        variant: Variant = "eyes",
        padding: Literal["zeros", "none"] = "none",
        rotation: bool = False,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.smallest_side_px = _smallest_side(_LAYERS[variant]) if padding == "none" else 1
        layers: list[nn.Module] = []
        width_in = channels
        for kernel, stride, width in _LAYERS[variant]:
            inner = kernel // 2 if padding == "zeros" else 0
            if width == 0:
                layers.append(nn.MaxPool2d(kernel, stride, inner))
                continue
            layers += [nn.Conv2d(width_in, width, kernel, stride, inner), nn.ReLU()]
            width_in = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(width_in, 2, 1))
        self.finish(width_in, rotation, spectral_norm)

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer: (B, 32, h, w). Raises TrainingError for images smaller than one patch."""
        height, width = images.shape[2:]
        if min(height, width) < self.smallest_side_px:
            raise TrainingError(
                f"the discriminator {self.variant!r} looks at patches of {self.smallest_side_px} px, but the training "
                f'crops are {width}x{height} px; set discriminator_variant = "small" or discriminator_padding = "zeros"'
            )
        features: Tensor = self.layers[:-1](images)
        return features

    def patches(self, features: Tensor) -> Tensor:
        """The logits of every patch, from the features."""
        logits: Tensor = self.layers[-1](features)
        return logits


def build(
    channels: int,
    variant: Variant = "eyes",
    padding: Literal["zeros", "none"] = "none",
    rotation: bool = False,
    spectral_norm: bool = False,
    **_others: object,
) -> PatchDiscriminator:
    """The discriminator for images of `channels` channels; settings of other discriminators are passed over."""
    return PatchDiscriminator(channels, variant, padding, rotation, spectral_norm)


def _smallest_side(layers: tuple[tuple[int, int, int], ...]) -> int:
    """Side in px of the patch that one pair of logits sees, without padding."""
    side = 1
    for kernel, stride, _ in reversed(layers):
        side = (side - 1) * stride + kernel
    return side
