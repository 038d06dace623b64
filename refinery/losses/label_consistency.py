"""The loss that brakes labels: how far a frozen network sees them move."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def label_consistency(moved: Tensor) -> Tensor:
    """Mean smooth L1 of drifts.

    moved: (B, P) >= 0, how far each label moved from the synthetic to the refined image by a frozen network's answers,
    over its tolerance: 1 is a label at the end of what it may move. Quadratic below 1, linear above: what hardly moved
    is hardly pulled, and one label that a network cannot read does not outweigh all others. Returns a scalar.
    Source: Huber 1964 for the shape; a label predictor that holds a refiner: Hoffman et al. 2018 (CyCADA), eq. 5.
    """
    return functional.smooth_l1_loss(moved.float(), torch.zeros_like(moved, dtype=torch.float32), beta=1.0)
