"""Optimisers, learning-rate schedules and one update: what every method needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from refinery.training import distributed

OptimizerName = Literal["adam", "sgd"]
DecayShape = Literal["linear", "cosine"]


def make_optimizer(
    name: OptimizerName, network: nn.Module, rate: float, betas: tuple[float, float] = (0.5, 0.999)
) -> torch.optim.Optimizer:
    """A fused optimiser of the weights of a network that want gradients; betas are Adam's, plain SGD has none."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(weights, lr=rate, fused=True)
    return torch.optim.Adam(weights, lr=rate, betas=betas, fused=True)


@dataclass(frozen=True)
class Schedule:
    """Factor of a learning rate by step: it rises over the warm-up, stays, and falls to zero at the end.

    total: all steps. decay: share of them, at the end, over which it falls; 0: it does not. shape: how it falls.
    warmup: steps over which it rises from zero, counted from step `begin`; 1 before.
    """

    total: int
    decay: float = 0.5
    shape: DecayShape = "linear"
    warmup: int = 0
    begin: int = 0

    def left(self, step: int) -> float:
        """What the decay leaves: 1 until it sets in, then down to 1 / (decay total) at the last step."""
        left = min(1.0, (self.total - step) / max(1.0, self.decay * self.total))
        return left if self.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)

    def risen(self, step: int) -> float:
        """What the warm-up allows."""
        since = step - self.begin
        return min(1.0, (since + 1) / max(1, self.warmup)) if since >= 0 else 1.0

    def rate(self, base: float, step: int) -> float:
        """The learning rate of a step."""
        return base * self.left(step) * self.risen(step)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Learn at this rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def update(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float = 0.0) -> None:
    """One step down the loss, for the optimiser's own weights alone; other networks get no gradients.

    In a distributed run down the mean of all processes' losses.
    clip: largest L2 norm of the gradient of all weights together, a longer one is shortened to it; 0: no limit.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    gradients = torch.autograd.grad(loss, parameters)
    distributed.average(gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = _laid_out_like(gradient, parameter)
    if clip:
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()


def _laid_out_like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A gradient in the memory order of its weights: fused optimisers pair them by that, and err without a word."""
    same = gradient.stride() == parameter.stride()
    return gradient if same else torch.empty_like(parameter).copy_(gradient)
