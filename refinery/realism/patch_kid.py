"""Patch-KID: maximum mean discrepancy of random convolution features; no pretrained network."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from refinery.realism._pixels import Images
from refinery.sample import FloatArray

NETS = 4
CHANNELS = (12, 24)
KERNELS_PX = (5, 3)
STRIDE = 2
_IMAGES_AT_ONCE = 64


def features(images: Images, rng: np.random.Generator) -> FloatArray:
    """Mean and standard deviation over the image of the channels of NETS random two-layer nets: (N, nets, 48) float32.

    The same generator state gives the same nets for any number of images.
    """
    nets = [_random_net(images.shape[3], rng) for _ in range(NETS)]
    parts = [images[start : start + _IMAGES_AT_ONCE] for start in range(0, len(images), _IMAGES_AT_ONCE)]
    return np.concatenate([np.stack([_described(part, net) for net in nets], axis=1) for part in parts])


def distance(first: FloatArray, second: FloatArray) -> float:
    """Unbiased squared MMD with the kernel k(x, y) = (x.y / F + 1)^3, mean over the nets.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j), after every feature is centred
    on `second` and divided by its channel's deviation within an image there. (Not by that between images: photos that
    were all equalised or exposed alike have next to none, and any other brightness would outweigh everything else.)
    It may be negative: about 0 for equal distributions.
    first, second: (N, nets, F) and (M, nets, F). Source: Binkowski et al. 2018 (KID), eq. 4; the nets are random here.
    """
    mean, within = second.mean(axis=0), second[:, :, second.shape[2] // 2 :].mean(axis=0)
    deviation = np.maximum(np.concatenate((within, within), axis=1), 1e-6)
    x, y = (np.moveaxis((f - mean) / deviation, 1, 0) for f in (first, second))
    cross = _kernel(x, y).mean(dtype=np.float64)
    return float(_mean_off_diagonal(_kernel(x, x)) + _mean_off_diagonal(_kernel(y, y)) - 2.0 * cross)


def _kernel(x: FloatArray, y: FloatArray) -> FloatArray:
    """(nets, N, F), (nets, M, F) -> (nets, N, M); two products are many times quicker than a power."""
    base = np.matmul(x, np.swapaxes(y, 1, 2)) / np.float32(x.shape[2]) + np.float32(1.0)
    return np.asarray(base * base * base)


def _mean_off_diagonal(kernel: FloatArray) -> float:
    nets, count = kernel.shape[:2]
    total = kernel.sum(dtype=np.float64) - np.trace(kernel, axis1=1, axis2=2).sum(dtype=np.float64)
    return float(total / (nets * count * max(count - 1, 1)))


def _random_net(channels: int, rng: np.random.Generator) -> list[FloatArray]:
    """Filters (k, k, c_in, c_out) of mean 0, so that the first layer sees structure, plus one that sees brightness."""
    filters = []
    for kernel_px, width in zip(KERNELS_PX, CHANNELS, strict=True):
        weights = rng.standard_normal((kernel_px, kernel_px, channels, width))
        weights[..., 1:] -= weights[..., 1:].mean(axis=(0, 1, 2))
        filters.append((weights / np.sqrt((weights**2).sum(axis=(0, 1, 2)))).astype(np.float32))
        channels = width
    return filters


def _described(images: Images, net: list[FloatArray]) -> FloatArray:
    activations = images
    for filters in net:
        activations = np.maximum(_convolved(activations, filters), 0.0)
    flat = activations.reshape(len(images), -1, activations.shape[3])
    return np.concatenate((flat.mean(axis=1), flat.std(axis=1)), axis=1)


def _convolved(images: FloatArray, filters: FloatArray) -> FloatArray:
    """Valid convolution with stride 2; a side shorter than the kernel is padded by repeating its edge."""
    kernel_px = len(filters)
    missing = [max(0, kernel_px - length) for length in images.shape[1:3]]
    if any(missing):
        images = np.pad(images, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    windows = sliding_window_view(images, (kernel_px, kernel_px), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    columns = np.moveaxis(windows, 3, 5)
    result = columns.reshape(*columns.shape[:3], -1) @ filters.reshape(-1, filters.shape[3])
    return np.asarray(result, dtype=np.float32)
