"""SimGAN's refiner: a residual network that keeps the image's size.

Source: Shrivastava et al. 2017, appendix. Eyes: convolution 3x3x64, 4 residual blocks, convolution 1x1 (296,129
parameters in gray); hands: convolution 7x7x64, 10 residual blocks.
Ours differs, unless told otherwise, in two things: features are padded by reflection, since zeros leave a frame along
the borders, and the network adds its output to its input, so that it begins as the identity and needs no pretraining.

With `latent` numbers z, so that one synthetic image has several refined ones: they stand beside the image as constant
channels (`channels`), or scale and shift the features between the two convolutions of every block through a hidden
layer of 32 (`modulation`, `batch_modulation`). `batch_modulation` is the self-modulated batch norm of Chen et al. 2018
(arXiv:1810.01365), which SSGAN uses: (1 + scale(z)) norm(h) + shift(z); in training it normalizes by the batch, when
refining by running statistics, so that no image depends on others. `modulation` is ours: without the norm,
(1 + scale(z)) h + shift(z), since a refiner that begins as the identity needs none, and an image's brightness need not
be taken out and put back.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from refinery.networks._refiner import Head, Refiner, padded, with_channels

Padding = Literal["reflect", "zeros"]
LatentAs = Literal["channels", "modulation", "batch_modulation"]
HIDDEN = 32
"""Units between the latent and what it scales and shifts by, as in Chen et al. 2018."""
SCALE_SHIFT_STD = 0.3


class Modulation(nn.Module):
    """(1 + scale(z)) h + shift(z), h normalized before where `batch_norm`.

    features h: (B, width, H, W); latent z: (B, latent). Returns the features' shape.
    """

    def __init__(self, width: int, latent: int, batch_norm: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False) if batch_norm else nn.Identity()
        self.hidden = nn.Linear(latent, HIDDEN)
        self.scale_shift = nn.Linear(HIDDEN, 2 * width)
        # torch's own weights are so small beside the features that a refiner learns to live without its latent.
        nn.init.normal_(self.scale_shift.weight, std=SCALE_SHIFT_STD)

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        """The modulated features."""
        scale, shift = self.scale_shift(functional.relu(self.hidden(latent)))[:, :, None, None].chunk(2, 1)
        modulated: Tensor = self.norm(features) * (1 + scale) + shift
        return modulated


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) with two 3x3 convolutions, and between them what a latent does.

    With reflection the block pads once by 2 px and convolves without padding: half the memory traffic of padding twice.
    """

    def __init__(self, width: int, padding: Padding, modulation: Modulation | None = None) -> None:
        super().__init__()
        self.margin = 2 if padding == "reflect" else 0
        inner = 0 if padding == "reflect" else 1
        self.first = nn.Conv2d(width, width, 3, padding=inner)
        self.second = nn.Conv2d(width, width, 3, padding=inner)
        self.modulation = modulation

    def forward(self, features: Tensor, latent: Tensor | None = None) -> Tensor:
        """(B, width, H, W) to the same shape. latent: (B, latent), for blocks that are modulated by it."""
        inner = self.first(padded(features, self.margin))
        if self.modulation is not None and latent is not None:
            inner = self.modulation(inner, latent)
        return functional.relu(features + self.second(functional.relu(inner)))


class ResnetRefiner(Refiner):
    """(B, C, H, W) in [-1, 1] to the same shape and range; H, W of at least 8 px. See `Refiner` and the module's text.

    An output pixel depends on its receptive field (and the latent) alone, wherever it lies.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        blocks: int = 4,
        kernel: int = 3,
        padding: Padding = "reflect",
        head: Head = "residual",
        latent: int = 0,
        latent_as: LatentAs = "channels",
        tone: bool = False,
    ) -> None:
        super().__init__(channels, head, latent, tone)
        self.extra_channels = latent if latent_as == "channels" else 0
        self.margin = kernel // 2 if padding == "reflect" else 0
        self.first = nn.Conv2d(channels + self.extra_channels, width, kernel, padding=0 if self.margin else kernel // 2)

        def modulation() -> Modulation | None:
            modulated = latent and latent_as != "channels"
            return Modulation(width, latent, latent_as == "batch_modulation") if modulated else None

        self.blocks = nn.Sequential(*(ResidualBlock(width, padding, modulation()) for _ in range(blocks)))
        self.last = nn.Conv2d(width, channels, 1)
        self.begin_as_identity(self.last)

    def change(self, toned: Tensor, latent: Tensor | None) -> Tensor:
        """What is added to the image, or drawn anew."""
        seen = with_channels(toned, latent if self.extra_channels else None)
        features = functional.relu(self.first(padded(seen, self.margin)))
        for block in self.blocks:
            features = block(features, latent)
        change: Tensor = self.last(features)
        return change

    @property
    def receptive_field_px(self) -> int:
        """Side of the square of input pixels that one output pixel depends on."""
        return 1 + 2 * (self.first.kernel_size[0] // 2) + 4 * len(self.blocks)


def build(channels: int, **settings: object) -> ResnetRefiner:
    """The refiner for images of `channels` channels; settings are the constructor's, and `scales` is passed over."""
    return ResnetRefiner(channels, **{name: value for name, value in settings.items() if name != "scales"})  # type: ignore[arg-type]
