"""Spectral normalization: a layer that stretches no input by more than one."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


class _FullPrecision(nn.Module):
    """Another parametrization outside autocast: on CUDA it would mix bfloat16 and float32 in one product."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            normalized: Tensor = self.inner(weight)
        return normalized


def spectrally_normed(network: nn.Module) -> nn.Module:
    """Divide the weights of every convolution and linear layer by their largest singular value, in place.

    One power iteration each forward pass in training; the vectors it goes on with are buffers, so checkpoints have
    them. Source: Miyato et al. 2018 (arXiv:1802.05957), algorithm 1.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        parametrizations.spectral_norm(layer)
        normed = cast("nn.ModuleDict", layer.parametrizations)["weight"]
        cast("nn.ModuleList", normed)[0] = _FullPrecision(cast("nn.ModuleList", normed)[0])
    return network
