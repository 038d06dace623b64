"""What unlabelled photos tell of students: whether answers follow a known shift, and whether several students agree."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from refinery.training.probe_targets import ProbePlan


def shifted_by(images: Tensor, largest_px: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, C, h, w), each shifted by its own whole px and not by (0, 0), and (N, 2) by how much (x, y)."""
    side = 2 * largest_px + 1
    drawn = torch.randint(side * side - 1, (len(images),), generator=generator)
    drawn = drawn + (drawn >= side * side // 2)  # leaves out the middle, which is no shift
    shift = torch.stack([drawn % side, drawn // side], 1) - largest_px
    padded = functional.pad(images.float(), [largest_px] * 4, mode="replicate")
    height, width = images.shape[2:]
    left, top = (largest_px - shift).unbind(1)
    parts = [padded[i, :, y : y + height, x : x + width] for i, (x, y) in enumerate(zip(left, top, strict=True))]
    return torch.stack(parts), shift


def values_of(plan: ProbePlan, answers: Tensor) -> Tensor:
    """Answers about points and numbers in the form of targets (N, V); directions are made as long as they should be."""
    values = torch.zeros(len(answers), sum(part.targets for part in plan.parts))
    for part in plan.parts:
        own = answers[:, part.answer_slice].float()
        if part.form != "point":
            own = functional.normalize(torch.tensor(part.centre) + part.scale * own, dim=1)
        values[:, part.target_slice] = own
    return values


def moved(plan: ProbePlan, values: Tensor, shift_px: Tensor) -> Tensor:
    """Targets of shifted images: points move along, directions stay."""
    expected = values.clone()
    for part in plan.parts:
        if part.form == "point":
            expected[:, part.target_slice] += shift_px
    return expected


def apart(values: NDArray[np.float32], unit: str) -> NDArray[np.float64]:
    """Distance of each student's values (S, N, D) to their mean: (S, N), px or, between directions, degrees."""
    mean = values.mean(axis=0)
    if unit == "px":
        return np.asarray(np.linalg.norm(values - mean, axis=2), np.float64)
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    halves = np.linalg.norm(values - mean, axis=2), np.linalg.norm(values + mean, axis=2)
    return np.asarray(2 * np.rad2deg(np.arctan2(*halves)), np.float64)
