"""pix2pix: each synthetic image has a real partner that shows the same, so that the refiner learns from pairs.

    L_R = w l_deceive(D(x, R(x))) + lambda |R(x) - y|
    L_D = 1/2 (l_tell(D(x, R(x)), refined) + l_tell(D(x, y), real))

x synthetic, y its real partner; D sees both images of a pair, patch by patch. The discriminator learns first in a step,
as in the paper's code. With w = 0 there is none, with lambda = 0 it alone teaches.
Source: Isola et al. 2017 (arXiv:1611.07004), eq. 1 to 4 and appendix 6. The defaults are what trains well in minutes on
two cores; `--preset paper` takes the paper's settings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from refinery.losses.conditional_adversarial import REAL, REFINED, conditional_adversarial
from refinery.losses.reconstruction import reconstruction
from refinery.registry import find
from refinery.training.averages import RunningMean
from refinery.training.device import Placement
from refinery.training.methods._method import Brake, Draw
from refinery.training.methods._opponents import Opponents
from refinery.training.methods._pix2pix_settings import Settings, scale
from refinery.training.optimizing import Schedule, make_optimizer, set_rate, update

__all__ = ["PAIRED", "Settings", "build_refiner", "create", "scale"]

PAIRED = True


def build_refiner(channels: int, real_channels: int, settings: Settings) -> nn.Module:
    """The refiner these settings describe, untrained. Raises ValueError for settings that were not scaled."""
    if not settings.levels:
        raise ValueError("levels is left open")
    module: nn.Module = find("network", settings.refiner).build(
        channels,
        out_channels=real_channels,
        width=settings.width,
        levels=settings.levels,
        skips=settings.skips,
        norm=settings.norm,
        statistics=settings.statistics,
        dropout=settings.dropout,
        noise=settings.refine_noise,
    )
    return module


def create(
    channels: int,
    real_channels: int,
    settings: Settings,
    steps: int,
    placement: Placement,
    generator: torch.Generator,  # noqa: ARG001  # dropout's chance is torch's own
) -> Pix2pix:
    """A training run about to begin; weights and dropout come from torch's global generator."""
    return Pix2pix(channels, real_channels, settings, steps, placement)


class Pix2pix(Opponents):
    """The networks, what trains them, and what a checkpoint keeps of it."""

    def __init__(self, channels: int, real_channels: int, settings: Settings, steps: int, placement: Placement) -> None:
        self.settings, self.placement, self.total_steps = settings, placement, steps
        self.trained = self._place(build_refiner(channels, real_channels, settings))
        self.mean = RunningMean(self.trained, settings.ema)
        self.discriminator = self._place(
            find("network", settings.discriminator).build(
                channels + real_channels,
                patch_px=settings.patch_px,
                width=settings.discriminator_width,
                norm=settings.norm,
            )
        )
        self.brake: Brake | None = None

        betas = settings.beta1, settings.beta2
        self.optimizers = {
            "refiner": make_optimizer("adam", self.trained, settings.refiner_lr, betas),
            "discriminator": make_optimizer("adam", self.discriminator, settings.discriminator_lr, betas),
        }

    @property
    def follows_budget(self) -> bool:
        """Never: the partner holds the labels, and lambda is no brake."""
        return False

    def describe(self) -> dict[str, str]:
        """Rows for the table that is printed before training starts."""
        settings = self.settings
        judged = f"{settings.adversarial:g} x adversarial, patches of {settings.patch_px} px" if self._judges else ""
        network = f"{'U-Net' if settings.skips else 'encoder and decoder'} of {settings.levels} levels, {settings.norm}"
        noise = ", noise" if settings.refine_noise else ""
        loss = " + ".join(
            part for part in (f"{settings.lambda_l1:g} x L1" if settings.lambda_l1 else "", judged) if part
        )
        return {"loss": loss, "network": f"{network} norm{noise}"}

    def phase(self, step: int) -> str:  # noqa: ARG002
        """`adversarial`, or `reconstruction` where there is no discriminator."""
        return "adversarial" if self._judges else "reconstruction"

    def step(self, step: int, draw_synthetic: Draw, draw_real: Draw) -> dict[str, Tensor]:
        """One update of the discriminator, then one of the refiner, over one batch of pairs."""
        self._schedule(step)
        synthetic, real = (draw().contiguous(memory_format=self._layout) for draw in (draw_synthetic, draw_real))
        with self.autocast():
            refined = self.trained(synthetic)
        losses = self._update_discriminator(synthetic, refined.detach(), real) if self._judges else {}
        return {**losses, **self._update_refiner(synthetic, refined, real)}

    def _update_discriminator(self, synthetic: Tensor, refined: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One step down L_D; refined and real pairs go through apart, since batch norm would tell them by their mix."""
        with self.autocast():
            on_refined = self.discriminator(_pair(synthetic, refined))
            on_real = self.discriminator(_pair(synthetic, real))
            loss = 0.5 * (conditional_adversarial(on_refined, REFINED) + conditional_adversarial(on_real, REAL))
        update(self.optimizers["discriminator"], loss, self.settings.clip)
        right = torch.stack([(on_refined < 0).float().mean(), (on_real > 0).float().mean()]).mean()
        return {"discriminator": loss.detach(), "discriminator_accuracy": right.detach()}

    def _update_refiner(self, synthetic: Tensor, refined: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One step down L_R."""
        losses = {"reconstruction": reconstruction(refined, real)}
        total = self.settings.lambda_l1 * losses["reconstruction"]
        if self._judges:
            with self.autocast():
                logits = self.discriminator(_pair(synthetic, refined))
            losses["refiner_adversarial"] = conditional_adversarial(logits, REAL)
            total = total + self.settings.adversarial * losses["refiner_adversarial"]
        update(self.optimizers["refiner"], total, self.settings.clip)
        self.mean.update()
        return {name: loss.detach() for name, loss in losses.items()}

    @property
    def _judges(self) -> bool:
        return self.settings.adversarial > 0

    def _schedule(self, step: int) -> None:
        schedule = Schedule(self.total_steps, self.settings.decay, self.settings.decay_shape)
        rates = {"refiner": self.settings.refiner_lr, "discriminator": self.settings.discriminator_lr}
        for name, rate in rates.items():
            set_rate(self.optimizers[name], schedule.rate(rate, step))

    @property
    def _layout(self) -> torch.memory_format:
        """Channels last on a GPU alone: on a CPU the fused Adam copies weights that lie so.

        With as many weights as a U-Net has, that is up to a tenth of a step (8.4 million: 70 ms against 8 ms).
        """
        return torch.channels_last if self.placement.device.type == "cuda" else torch.contiguous_format

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.placement.device, memory_format=self._layout)  # type: ignore[call-overload,no-any-return]

    def own_state(self) -> dict[str, Any]:
        """Nothing: the processes of a distributed run differ in their images only."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """There is none."""


def _pair(synthetic: Tensor, other: Tensor) -> Tensor:
    """What the discriminator sees: (B, C, H, W) and (B, D, H, W) as (B, C + D, H, W)."""
    return torch.cat([synthetic, other.to(synthetic.dtype)], 1)
