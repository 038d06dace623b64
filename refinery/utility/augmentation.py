"""Ordinary augmentation, the rival of every refiner: other looks, and images that are shifted and scaled a little."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from refinery.training import appearance
from refinery.training.probe_targets import ProbePlan, Targets


@dataclass(frozen=True)
class Augmentation:
    """strength: of `training/appearance`, tone, cast, shading, texture, regions, blur and noise; 0: none.

    shift: largest shift as a share of the sides. scale: largest change of size, in e-folds. colour: how much gamma,
    contrast and level of each channel vary by themselves, before all else.
    """

    strength: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    colour: float = 0.0

    def weaker(self, share: float) -> Augmentation:
        """The same with this share of every change."""
        return Augmentation(share * self.strength, share * self.shift, share * self.scale, share * self.colour)

    def apply(
        self, plan: ProbePlan, images: Tensor, targets: Targets, generator: torch.Generator
    ) -> tuple[Tensor, Targets]:
        """Images (B, C, h, w) in [-1, 1] and targets with points where things are now."""
        if self.shift or self.scale:
            images, targets = self._move(plan, images, targets, generator)
        if self.colour:
            images = recoloured(images, self.colour, generator)
        return (appearance.augment(images, generator, self.strength) if self.strength else images), targets

    def _move(
        self, plan: ProbePlan, images: Tensor, targets: Targets, generator: torch.Generator
    ) -> tuple[Tensor, Targets]:
        """A point p (0 in the middle, 1 at the right and lower border) goes to p / size - shift / size."""
        count, _, height, width = images.shape
        drawn = torch.rand(count, 3, generator=generator) * 2 - 1
        size, shift = torch.exp(self.scale * drawn[:, 0]), 2 * self.shift * drawn[:, 1:]
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = size
        theta[:, :, 2] = shift
        grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
        moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        half = torch.tensor([width / 2, height / 2])
        values = targets.values.clone()
        for part in plan.parts:
            if part.form in ("point", "edges"):
                points = values[:, part.target_slice].reshape(count, -1, 2)
                placed = ((points + 0.5) / half - 1 - shift[:, None]) / size[:, None, None]
                values[:, part.target_slice] = ((placed + 1) * half - 0.5).reshape(count, -1)
        regions = targets.regions
        if regions is not None:
            coarse = functional.affine_grid(theta, [count, 1, *regions.shape[1:]], align_corners=False)
            sampled = functional.grid_sample(
                regions[:, None].float(), coarse, mode="nearest", padding_mode="border", align_corners=False
            )
            regions = sampled[:, 0].round().long()
        return moved, replace(targets, values=values, regions=regions)


def recoloured(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Images (B, C, h, w) in [-1, 1] with another gamma e^(+-0.8), contrast e^(+-0.5) and level +-0.15 a channel."""
    gamma, contrast, level = (
        strength * widest * (torch.rand(*images.shape[:2], 1, 1, generator=generator) * 2 - 1)
        for widest in (0.8, 0.5, 0.15)
    )
    light = ((images + 1) / 2).clamp(1e-3, 1) ** torch.exp(gamma)
    middle = light.mean((2, 3), keepdim=True)
    changed: Tensor = ((light - middle) * torch.exp(contrast) + middle + level).clamp(0, 1) * 2 - 1
    return changed
