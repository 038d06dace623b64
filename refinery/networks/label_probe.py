"""A small network that reads labels off an image: points by heat maps, everything else by a dense head.

Convolutions at 1/2, 1/4 and 1/8 of the size and back to 1/2, where each point has a heat map whose centre of mass is
the answer (soft-argmax, sub-pixel: Sun et al. 2018, "Integral human pose regression"). Classes, numbers and directions
come from where hidden heat maps lie (Levine et al. 2016, "spatial softmax") and from the coarsest features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN_POINTS = 12
DENSE_WIDTH = 96


class LabelProbe(nn.Module):
    """(B, C, H, W) in [-1, 1] to answers (B, 2 points + dense + regions * ceil(H/2) * ceil(W/2)).

    points: heat maps; each answers (x, y) in px of the image it is given. dense: numbers from the dense head.
    regions: logits of as many regions for each pixel at half the size. canvas_hw: size of the images, needed for
    `dense` only; other answers work at any size.
    """

    def __init__(
        self,
        channels: int,
        points: int = 1,
        dense: int = 0,
        regions: int = 0,
        canvas_hw: tuple[int, int] = (64, 64),
        width: int = 16,
    ) -> None:
        super().__init__()
        wide, wider, widest = width, width * 2, width * 3
        self.points, self.regions = points, regions
        self.hidden = HIDDEN_POINTS if dense else 0
        self.fine = nn.Sequential(_block(channels, width, 5, 2), _block(width, wide))
        self.middle = nn.Sequential(_block(wide, wider, 3, 2), _block(wider, wider))
        self.coarse = nn.Sequential(_block(wider, widest, 3, 2), _block(widest, widest))
        self.to_quarter = nn.Conv2d(widest, wider, 1)
        self.at_quarter = _block(wider, wider)
        self.to_half = nn.Conv2d(wider, wide, 1)
        self.at_half = nn.BatchNorm2d(wide)
        self.heat = nn.Conv2d(wide, points + self.hidden, 1) if points + self.hidden else None
        self.region = nn.Conv2d(wide, regions, 3, 1, 1) if regions else None
        cells = -(-canvas_hw[0] // 8) * -(-canvas_hw[1] // 8)
        self.scale_px = float(max(canvas_hw))
        self.dense = _dense_head(widest * cells, 2 * self.hidden, dense) if dense else None

    def forward(self, images: Tensor) -> Tensor:
        """All answers of each image in one row: points (x, y), dense, regions."""
        half = self.fine(images)
        quarter = self.middle(half)
        eighth = self.coarse(quarter)
        quarter = self.at_quarter(functional.relu(quarter + _enlarged(self.to_quarter(eighth), quarter)))
        half = functional.relu(self.at_half(half + _enlarged(self.to_half(quarter), half)))
        answers: list[Tensor] = []
        places = soft_argmax(self.heat(half)) if self.heat is not None else None
        if places is not None and self.points:
            answers.append(places[:, : self.points].flatten(1))
        if places is not None and self.dense is not None:
            hidden = places[:, self.points :].flatten(1) / self.scale_px
            answers.append(self.dense((eighth.flatten(1), hidden)))
        if self.region is not None:
            answers.append(self.region(half).flatten(1))
        return torch.cat(answers, 1) if len(answers) > 1 else answers[0]


class DenseHead(nn.Module):
    """Coarse features (B, F) and places of hidden heat maps (B, 2 K) to numbers (B, D)."""

    def __init__(self, features: int, places: int, answers: int) -> None:
        super().__init__()
        self.look = nn.Linear(features, DENSE_WIDTH)
        self.place = nn.Linear(places, DENSE_WIDTH)
        self.mix = nn.Linear(DENSE_WIDTH, DENSE_WIDTH)
        self.answer = nn.Linear(DENSE_WIDTH, answers)

    def forward(self, both: tuple[Tensor, Tensor]) -> Tensor:
        """The numbers."""
        seen = functional.relu(self.look(both[0]) + self.place(both[1]))
        answers: Tensor = self.answer(functional.relu(self.mix(seen)))
        return answers


def build(channels: int, **settings: object) -> LabelProbe:
    """The probe for images of `channels` channels; settings are the constructor's."""
    return LabelProbe(channels, **settings)  # type: ignore[arg-type]


def soft_argmax(heat: Tensor) -> Tensor:
    """Centres of mass (x, y) of heat maps at half the size: (B, K, h, w) to (B, K, 2) px of the image.

    As a product of matrices: ONNX Runtime's sums along rows depend, in the last digit, on where in memory a row lies,
    and so on which place in a batch an image has.
    """
    height, width = heat.shape[2:]
    x = torch.arange(0.0, 2 * width, 2, device=heat.device).repeat(height)
    y = torch.arange(0.0, 2 * height, 2, device=heat.device).unsqueeze(1).expand(-1, width).reshape(-1)
    places: Tensor = heat.flatten(2).softmax(2) @ torch.stack([x, y], 1)
    return places


def _block(channels: int, width: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _dense_head(features: int, places: int, answers: int) -> DenseHead:
    return DenseHead(features, places, answers)


def _enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    """Twice the size by repetition, cut to the finer map (odd sizes)."""
    doubled = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return doubled[:, :, : fine.shape[2], : fine.shape[3]]
