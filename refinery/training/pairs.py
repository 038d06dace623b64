"""Batches of pairs: each synthetic image with the real one that shows the same; cropped, jittered, mirrored alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from refinery.errors import ConfigError
from refinery.training.data import Batches, ImageSet
from refinery.training.sampling import Chance, Groups

HANDED = frozenset(("class", "text", "number", "vector"))
"""Labels that a mirror can falsify: an arrow's class, a word, an angle, a gaze."""
NAMED = 3


class PairedBatches:
    """Random crops of random pairs; batch number n depends on `chance`, n and the images alone, as in `Batches`.

    synthetic, real: matched by key; real images beyond the synthetic ones' partners are not used. jitter: crops are
    enlarged by this factor and cut back at a random place. mirror: half of the crops are mirrored, both images of a
    pair alike. Source of both: Isola et al. 2017, appendix 6.2 (286/256). groups, ahead: as in `Batches`.
    """

    def __init__(
        self,
        synthetic: ImageSet,
        real: ImageSet,
        crop_hw: tuple[int, int],
        batch_size: int,
        chance: Chance,
        device: torch.device,
        jitter: float = 1.0,
        mirror: bool = False,
        groups: Groups | None = None,
        ahead: int = 0,
    ) -> None:
        places = {sample.key: i for i, sample in enumerate(real.samples)}
        partners = real.select([places[sample.key] for sample in synthetic.samples])
        chance = replace(chance, side="synthetic")  # the same on both sides: the same pairs, and the same crops of them
        self.synthetic, self.real = (
            Batches(images, crop_hw, batch_size, chance, device, groups, ahead) for images in (synthetic, partners)
        )
        self.crop_hw, self.batch_size = crop_hw, batch_size
        self.changes, self.jitter, self.mirror = replace(chance, side="real"), jitter, mirror
        self._latest: tuple[Tensor, Tensor] | None = None

    def draw(self) -> tuple[Tensor, Tensor]:
        """Synthetic (B, C, h, w) and real (B, D, h, w), float32 in [-1, 1], channels last, on the device."""
        numbers = self.changes.numbers(self.synthetic.number, self.batch_size)
        sides = self.synthetic.draw(), self.real.draw()
        if self.jitter != 1 or self.mirror:
            changed = self._changed(torch.cat(sides, 1), numbers)
            first, second = torch.split(changed, [side.shape[1] for side in sides], 1)
            sides = _channels_last(first), _channels_last(second)
        self._latest = sides
        return sides

    def draw_synthetic(self) -> Tensor:
        """The synthetic images of a new batch."""
        return self.draw()[0]

    def draw_real(self) -> Tensor:
        """Their partners, the same crops: of the batch that `draw_synthetic` gave last."""
        return (self._latest or self.draw())[1]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the number of the next batch."""
        return self.synthetic.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        self._latest = None
        self.synthetic.load_state(state)
        self.real.load_state(state)

    def close(self) -> None:
        """End the threads that draw ahead."""
        self.synthetic.close()
        self.real.close()

    def _changed(self, both: Tensor, numbers: NDArray[np.float64]) -> Tensor:
        """(B, C + D, h, w) enlarged (bicubic), cut back and mirrored, by (B, 3 or more) numbers in [0, 1)."""
        (high, wide), larger = self.crop_hw, both
        if self.jitter != 1:
            size_hw = [round(side * self.jitter) for side in self.crop_hw]
            larger = functional.interpolate(both, size_hw, mode="bicubic").clamp(-1, 1)
        spare = np.array(larger.shape[2:]) - self.crop_hw + 1
        corners = (numbers[:, :2] * spare).astype(int).tolist()
        cut = [image[:, y : y + high, x : x + wide] for image, (y, x) in zip(larger, corners, strict=True)]
        turned = (numbers[:, 2] < 0.5) & self.mirror
        return torch.stack([image.flip(2) if turn else image for image, turn in zip(cut, turned, strict=True)])


def require_mirrorable(types: Mapping[str, str]) -> None:
    """Raise ConfigError where mirrored pairs would teach a refiner what the labels say is not there.

    types: {NAME: type} of the labels that the synthetic images have.

    Both images of a pair are mirrored alike and no label on disk changes, so what has a place only (points, boxes,
    outlines, masks, depth) stays true: it moves with its pixels. What a thing *is* may not: a mirrored word is no
    word, a mirrored arrow points elsewhere, a gaze to the left becomes one to the right, and a refiner that was shown
    both may draw either. Which classes and numbers are alike in a mirror cannot be told from their names, so each
    forbids it.
    """
    if handed := [f"{name} ({kind})" for name, kind in sorted(types.items()) if kind in HANDED]:
        named = ", ".join(handed[:NAMED]) + (", ..." if len(handed) > NAMED else "")
        raise ConfigError(
            f"mirror: {named} may mean something else in a mirror, and the refiner would learn mirrored content; leave "
            "mirror = false, or let ignore = true leave out labels that nobody needs"
        )


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
