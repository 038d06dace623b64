"""SimGAN's refiner: a residual network that keeps the image's size.

Source: Shrivastava et al. 2017, appendix. Eyes: convolution 3x3x64, 4 residual blocks, convolution 1x1 (296,129
parameters in gray); hands: convolution 7x7x64, 10 residual blocks.
Ours differs, unless told otherwise, in two things: features are padded by reflection, since zeros leave a frame along
the borders, and the network adds its output to its input, so that it begins as the identity and needs no pretraining.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Padding = Literal["reflect", "zeros"]


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) with two 3x3 convolutions.

    With reflection the block pads once by 2 px and convolves without padding: half the memory traffic of padding twice.
    """

    def __init__(self, width: int, padding: Padding) -> None:
        super().__init__()
        self.margin = 2 if padding == "reflect" else 0
        inner = 0 if padding == "reflect" else 1
        self.first = nn.Conv2d(width, width, 3, padding=inner)
        self.second = nn.Conv2d(width, width, 3, padding=inner)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        padded = _reflect(features, self.margin)
        return functional.relu(features + self.second(functional.relu(self.first(padded))))


class ResnetRefiner(nn.Module):
    """(B, C, H, W) in [-1, 1] to the same shape and range; H, W of at least 8 px.

    head: `residual` returns x + f(x), clamped to the range when not training; `tanh` returns tanh(f(x)), as published.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        blocks: int = 4,
        kernel: int = 3,
        padding: Padding = "reflect",
        head: Literal["residual", "tanh"] = "residual",
    ) -> None:
        super().__init__()
        self.head = head
        self.margin = kernel // 2 if padding == "reflect" else 0
        self.first = nn.Conv2d(channels, width, kernel, padding=0 if self.margin else kernel // 2)
        self.blocks = nn.Sequential(*(ResidualBlock(width, padding) for _ in range(blocks)))
        self.last = nn.Conv2d(width, channels, 1)
        if head == "residual":
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, synthetic: Tensor) -> Tensor:
        """The refined images."""
        features = functional.relu(self.first(_reflect(synthetic, self.margin)))
        change = self.last(self.blocks(features))
        if self.head == "tanh":
            return torch.tanh(change)
        refined: Tensor = synthetic + change
        return refined if self.training else refined.clamp(-1.0, 1.0)

    @property
    def receptive_field_px(self) -> int:
        """Side of the square of input pixels that one output pixel depends on."""
        return 1 + 2 * (self.first.kernel_size[0] // 2) + 4 * len(self.blocks)


def build(channels: int, **settings: object) -> ResnetRefiner:
    """The refiner for images of `channels` channels; settings are the constructor's."""
    return ResnetRefiner(channels, **settings)  # type: ignore[arg-type]


def _reflect(features: Tensor, margin: int) -> Tensor:
    """Pad by reflection in the tensor's own type: autocast would widen it to float32 and back, a tenth of a step."""
    if not margin:
        return features
    kind = features.device.type
    if not torch.is_autocast_enabled(kind):
        return functional.pad(features, (margin,) * 4, mode="reflect")
    with torch.autocast(kind, enabled=False):
        return functional.pad(features, (margin,) * 4, mode="reflect")
