"""Changes of looks that move nothing: curve, light, shadow, inversion, random networks, grain, blur, noise, JPEG."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from refinery.matcher.random_numbers import RandomNumbers


class Looks:
    """Changes images (B, 3, S, S) of a side in px; which changes is drawn for a batch, how much for each image."""

    def __init__(self, random: RandomNumbers, side_px: int) -> None:
        self.random, self.side = random, side_px
        steps = torch.arange(side_px).float() - side_px / 2
        self.y, self.x = torch.meshgrid(steps, steps, indexing="ij")

    def change(self, image: Tensor, is_gray: bool, strong: bool) -> Tensor:
        """The images in another look. strong: as a refiner or another camera may, and not only the renderer."""
        random, count = self.random, len(image)
        if is_gray:
            image = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        elif strong and random.happens(0.15):
            image = image[:, torch.randperm(3, generator=random.generator)]
        if random.happens(0.4):
            image = torch.tanh(image * torch.exp(random.normal(count, 1, 1, 1) * 0.4))
        image = image * torch.exp(random.normal(count, 1, 1, 1) * 0.3) + random.normal(count, 1, 1, 1) * 0.3
        image = image + self._smooth(count) * random.uniform(count, 1, 1, 1) * 0.6
        if random.happens(0.3):
            image = image * (1 - self._shade(count) * random.uniform(count, 1, 1, 1) * 0.7)
        if strong:
            image = self._as_refiners_may(image, is_gray)
        if random.happens(0.6):
            image = _blurred(image, 0.4 + random.uniform(1).item() * (1.2 if strong else 0.8))
        noise = random.normal(count, 1 if is_gray else 3, self.side, self.side)
        image = image + noise * random.uniform(count, 1, 1, 1) * 0.11
        return self._compressed(image) if strong and random.happens(0.3) else image

    def _as_refiners_may(self, image: Tensor, is_gray: bool) -> Tensor:
        """A band whose contrast is inverted, what an untrained network makes of it, grain."""
        random, count = self.random, len(image)
        if random.happens(0.08):
            image = -image
        if random.happens(0.12):
            middle = image.mean((2, 3), keepdim=True)
            band = (self._shade(count) - self._shade(count)).abs() * random.chance(0.5, count, 1, 1, 1)
            image = middle + (image - middle) * (1 - 2 * band)
        if random.happens(0.25):
            image = image + 0.6 * torch.tanh(self._random_network(image, is_gray))
        if random.happens(0.3):
            grain = random.normal(count, 1, self.side // 2, self.side // 2)
            grain = F.interpolate(grain, (self.side, self.side), mode="bilinear")
            image = image + grain * random.uniform(count, 1, 1, 1) * 0.3
        return image

    def _random_network(self, image: Tensor, is_gray: bool) -> Tensor:
        """Two convolutions with random weights."""
        first, second = self.random.normal(6, 3, 3, 3) * 0.35, self.random.normal(3, 6, 3, 3) * 0.2
        if is_gray:
            second = second.mean(0, keepdim=True).expand(3, -1, -1, -1)
        return F.conv2d(torch.relu(F.conv2d(image, first, padding=1)), second, padding=1)

    def _smooth(self, count: int) -> Tensor:
        """Light that varies over the image: (B, 1, S, S)."""
        return F.interpolate(
            self.random.normal(count, 1, 3, 3), (self.side, self.side), mode="bicubic", align_corners=True
        )

    def _shade(self, count: int) -> Tensor:
        """A half plane with a soft edge: (B, 1, S, S) in [0, 1]."""
        turn, off = self.random.uniform(count) * 2 * math.pi, self.random.normal(count) * self.side / 4
        across = self.x * turn.cos()[:, None, None] + self.y * turn.sin()[:, None, None] - off[:, None, None]
        return torch.sigmoid(across / (0.5 + self.random.uniform(count)[:, None, None] * 4))[:, None]

    def _compressed(self, image: Tensor) -> Tensor:
        """JPEG at a random quality from 30 to 90."""
        low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
        levels = ((image - low) / (high - low + 1e-6) * 255).byte().permute(0, 2, 3, 1).numpy()
        quality = int(30 + self.random.uniform(1).item() * 60)
        decoded = np.stack([_through_jpeg(pixels, quality) for pixels in levels])
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).float() / 255 * (high - low) + low


def _through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held))


def _blurred(image: Tensor, sigma_px: float) -> Tensor:
    taps = torch.arange(-3, 4.0)
    weights = torch.exp(-(taps**2) / 2 / sigma_px**2)
    kernel = (weights / weights.sum()).reshape(1, 1, 1, 7).expand(3, 1, 1, 7)
    padded = F.pad(image, (3, 3, 3, 3), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)
