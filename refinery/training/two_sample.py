"""The classifier two-sample test: how often a small network, trained for it, tells two sets of images apart.

0.5: it cannot; 1: always. Where patch-KID and the sliced Wasserstein distance can be met by tone and grain alone, a
network looks for whatever gives one side away; it is the machine's form of the visual Turing test of Shrivastava et al.
2017 (people were right 51.7% of the time). Source: Lopez-Paz and Oquab 2017 (arXiv:1610.06545), section 3; here every
image is judged, by the one of two networks that was trained on the other half.

What says nothing about looks is made equal before: all images go through the same JPEG, and, unless told otherwise,
each loses its own brightness and contrast, channel by channel.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from refinery.realism import Images
from refinery.sample import FloatArray

MIN_IMAGES = 40
JPEG_QUALITY = 80
CROP_PX, LEAST_PX = 32, 24
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 160, 32, 5e-3, 1e-2
LAYERS = ((3, 1, 12), (3, 2, 24), (3, 2, 48), (3, 2, 64))
"""Kernel, stride and width."""
FOLDS = 2
AT_ONCE_PX = 2_000_000
_FAINTEST = 0.02
"""Deviation in [-1, 1] below which an image's contrast is not stretched further."""


class TwoSampleTest:
    """Holds the real images, so that many sets can be told from them. real: (N, H, W, C) float32 in [-1, 1]."""

    def __init__(self, real: Images, seed: int = 0, equal_tone: bool = True) -> None:
        self._seed, self._equal_tone = seed, equal_tone
        self._real = self._prepared(real)

    def accuracy(self, images: Images) -> tuple[float, float]:
        """How often images, as many as the real ones, are told from them: share, and its standard error."""
        right = _cross_validated(self._prepared(images), self._real, self._seed)
        share = float(right.mean())
        return share, float(np.sqrt(max(share * (1 - share), 1 / len(right)) / len(right)))

    def _prepared(self, images: Images) -> FloatArray:
        same = np.stack([_through_jpeg(image) for image in images])
        if self._equal_tone:
            mean, deviation = same.mean((1, 2), keepdims=True), same.std((1, 2), keepdims=True)
            same = 0.5 * (same - mean) / np.maximum(deviation, _FAINTEST)
        missing = [max(0, LEAST_PX - side) for side in same.shape[1:3]]
        padded = np.pad(same, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
        return np.asarray(np.moveaxis(padded, 3, 1), dtype=np.float32)


def measured(synthetic: Images, refined: Images, real: Images, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Both forms of the test, as `realism.compare` tells its measures: `classifier`, and `classifier_tone`, for which
    tone is left as it is. Of equally many images: one half of the reals against each, the floor against the other half.
    Empty with fewer than MIN_IMAGES a side, of which a network would learn nothing.

    synthetic, refined, real: (N, H, W, C) float32 in [-1, 1] of one size.
    """
    count = min(len(synthetic), len(refined), len(real) // 2)
    if count < MIN_IMAGES:
        return {}
    rng = np.random.default_rng(seed)
    order, chosen = rng.permutation(len(real)), rng.permutation(min(len(synthetic), len(refined)))[:count]
    sets = synthetic[chosen], refined[chosen], real[order[count : 2 * count]]
    found = {}
    for name, equal_tone in (("classifier", True), ("classifier_tone", False)):
        test = TwoSampleTest(real[order[:count]], seed, equal_tone)
        found[name] = told(*(test.accuracy(images) for images in sets))
    return found


def told(
    synthetic: tuple[float, float], refined: tuple[float, float], floor: tuple[float, float] = (0.5, 0.0)
) -> dict[str, Any]:
    """As `realism.compare` tells a measure, from shares with their errors. A floor below a guess is one.

    floor: of real images against others; left out it is a guess.
    """
    before, after = synthetic[0], refined[0]
    slack, both = 1.96 * refined[1], 1.96 * float(np.hypot(synthetic[1], refined[1]))
    return {
        "synthetic": before,
        "refined": after,
        "floor": max(0.5, floor[0]),
        "ci95": [after - slack, after + slack],
        "gain_ci95": [before - after - both, before - after + both],
    }


def _cross_validated(first: FloatArray, second: FloatArray, seed: int) -> NDArray[np.bool_]:
    """Whether each image of both sides (N, C, H, W) is told right by a network that has not seen it: (2 N,)."""
    count = min(len(first), len(second))
    images = torch.from_numpy(np.concatenate((first[:count], second[:count])))
    labels = torch.arange(2 * count) >= count
    folds = torch.from_numpy(np.random.default_rng(seed).permutation(count) % FOLDS).repeat(2)
    right = torch.zeros(2 * count, dtype=torch.bool)
    for fold in range(FOLDS):
        held_out = folds == fold
        network = _trained(images[~held_out], labels[~held_out], seed + fold)
        size = max(1, AT_ONCE_PX // (images.shape[2] * images.shape[3]))
        with torch.inference_mode():
            logits = torch.cat([network(part).mean((1, 2, 3)) for part in torch.split(images[held_out], size)])
        right[held_out] = (logits > 0) == labels[held_out]
    return right.numpy()


def _trained(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A network whose mean output is above 0 for images (N, C, H, W) of the second side, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = _network(images.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.2)
    sides = [torch.nonzero(labels == side)[:, 0] for side in (False, True)]
    for _ in range(STEPS):
        chosen = torch.cat([own[torch.randint(len(own), (BATCH // 2,), generator=generator)] for own in sides])
        top, left = (
            int(torch.randint(max(1, side - CROP_PX + 1), (1,), generator=generator)) for side in images.shape[2:]
        )
        crops = images[chosen, :, top : top + CROP_PX, left : left + CROP_PX]
        loss = functional.binary_cross_entropy_with_logits(network(crops).mean((1, 2, 3)), labels[chosen].float())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval()


def _network(channels: int) -> nn.Module:
    """Convolutions without padding; a logit for every 17x17 px."""
    layers: list[nn.Module] = []
    for kernel, stride, width in LAYERS:
        layers += [nn.Conv2d(channels, width, kernel, stride, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    network = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _through_jpeg(image: FloatArray) -> FloatArray:
    """What JPEG of one quality makes of an image (H, W, C) in [-1, 1]; of one or three channels, others as they are."""
    if image.shape[2] not in (1, 3):
        return image
    eight = np.asarray(np.clip((image + 1) * 127.5, 0, 255).round(), dtype=np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(eight[..., 0] if image.shape[2] == 1 else eight).save(file, "JPEG", quality=JPEG_QUALITY)
        with Image.open(file, formats=("JPEG",)) as opened:
            back = np.asarray(opened, dtype=np.float32)
    return np.asarray(back.reshape(image.shape) / 127.5 - 1.0, dtype=np.float32)
