"""SimGAN: adversarial refinement held back by self-regularization, with a history of refined images.

Source: Shrivastava et al. 2017 (arXiv:1612.07828), algorithm 1. The defaults are what trains well in minutes on two
cores; `examples/paper/eyes.toml` and `hands.toml` hold the paper's settings.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from refinery.config import require_at_least
from refinery.errors import ConfigError
from refinery.losses.local_adversarial import REAL, REFINED, local_adversarial
from refinery.losses.self_regularization import self_regularization
from refinery.registry import find
from refinery.training.device import Placement
from refinery.training.history_buffer import HistoryBuffer
from refinery.training.methods._method import Brake, Draw

UNGUIDED_LAMBDA = 2.0
"""lambda where it is left to a label budget and there is none."""
EYES_FROM_PX, HANDS_FROM_PX = 24, 128
"""Shorter side of the crops from which the paper's networks for eyes (55x35) and hands (224x224) are used."""


@dataclass(frozen=True)
class Settings:
    """SimGAN's settings. lambda_reg weighs the *mean* L1 distance of psi, so it does not depend on the image's size."""

    steps: int = 2000
    """Adversarial steps; pretraining comes on top."""
    lambda_reg: float = 0.0
    """Weight of the self-regularization against the adversarial loss; 0: it follows the label budget, max_drift."""
    consistency: float = 0.0
    """Weight of the label-consistency loss; 0: it follows the label budget, or is none where lambda_reg is given."""
    feature_transform: str = "identity"
    """psi: identity, gradient, channel_mean, contrast_normalized, low_pass or convolutional."""
    refiner_steps: int = 1
    """K_g: refiner updates a step."""
    discriminator_steps: int = 1
    """K_d: discriminator updates a step."""
    refiner_pretrain: int = 0
    """Steps on self-regularization alone; a residual refiner begins as the identity and needs none."""
    discriminator_pretrain: int = 50
    """Steps of the discriminator alone, after the refiner's."""
    history_size: int = 2560
    """Refined images in the history buffer; 0: no history."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam (betas 0.5, 0.999) or sgd."""
    refiner_lr: float = 2e-4
    """Learning rate of the refiner."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator."""
    warmup: int = 100
    """Adversarial steps over which the refiner's learning rate rises from zero: its first steps meet a trained D."""
    decay: float = 0.5
    """Share of the steps, at the end, over which both learning rates fall linearly to zero."""
    ema: float = 0.995
    """Weight of the past in the running mean of the refiner's weights that is evaluated and exported; 0: no mean."""
    refiner: str = "resnet_refiner"
    """Network of the refiner."""
    width: int = 64
    """Features of the refiner."""
    blocks: int = 0
    """Residual blocks of the refiner; 0: 4 as for the eyes, or 10 as for the hands, for crops of 128 px and more."""
    kernel: int = 0
    """Side of the refiner's first convolution in px; 0: 3 as for the eyes, or 7 as for the hands."""
    padding: Literal["reflect", "zeros"] = "reflect"
    """How the refiner pads; zeros, as published, leave a frame along the borders."""
    head: Literal["residual", "tanh"] = "residual"
    """residual adds a change to the image; tanh, as published, draws it anew."""
    discriminator: str = "patch_discriminator"
    """Network of the discriminator."""
    discriminator_variant: Literal["auto", "eyes", "hands", "medium", "small"] = "auto"
    """eyes and hands as published; medium sees patches of 15x15 px, small of 7x7; auto: by the size of the crops."""
    discriminator_padding: Literal["none", "zeros"] = "none"
    """zeros as published; none hides from the discriminator where in the frame a patch lies."""
    discriminator_crop: int = 0
    """Side in px of the random crops that the discriminator sees of every image; 0: the whole."""
    psi_seed: int = 0
    """Chooses the filters of psi = convolutional."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("steps", "refiner_steps", "discriminator_steps", "width"), 1)
        zeros = (
            "blocks",
            "kernel",
            "lambda_reg",
            "consistency",
            "discriminator_crop",
            "refiner_pretrain",
            "discriminator_pretrain",
            "history_size",
            "warmup",
            "decay",
            "ema",
        )
        require_at_least(self, **counts, **dict.fromkeys(zeros, 0))
        if self.ema >= 1:
            raise ConfigError(f"ema: got {self.ema}, expected 0 (none) or less than 1, such as 0.995")


def scale(settings: Settings, crop_hw: tuple[int, int]) -> Settings:
    """The settings with everything that was left to the size of the training crops (px) decided."""
    side = min(crop_hw)
    hands = side >= HANDS_FROM_PX
    variant: Literal["eyes", "hands", "small"] = "hands" if hands else "eyes" if side >= EYES_FROM_PX else "small"
    return replace(
        settings,
        blocks=settings.blocks or (10 if hands else 4),
        kernel=settings.kernel or (7 if hands else 3),
        discriminator_variant=variant if settings.discriminator_variant == "auto" else settings.discriminator_variant,
    )


def build_refiner(channels: int, settings: Settings) -> nn.Module:
    """The refiner these settings describe, untrained. Raises ValueError for settings that were not scaled."""
    if not (settings.blocks and settings.kernel):
        raise ValueError("blocks or kernel is left open")
    module: nn.Module = find("network", settings.refiner).build(
        channels,
        width=settings.width,
        blocks=settings.blocks,
        kernel=settings.kernel,
        padding=settings.padding,
        head=settings.head,
    )
    return module


def create(channels: int, settings: Settings, steps: int, placement: Placement, generator: torch.Generator) -> SimGAN:
    """A training run about to begin; weights come from torch's global generator."""
    return SimGAN(channels, settings, steps, placement, generator)


class SimGAN:
    """Algorithm 1 of the paper, one iteration a step."""

    def __init__(
        self, channels: int, settings: Settings, steps: int, placement: Placement, generator: torch.Generator
    ) -> None:
        self.settings = settings
        self.placement = placement
        self.total_steps = settings.refiner_pretrain + settings.discriminator_pretrain + steps
        self.trained = self._place(build_refiner(channels, settings))
        self.refiner = copy.deepcopy(self.trained) if settings.ema else self.trained
        self.discriminator = self._place(
            find("network", settings.discriminator).build(
                channels, variant=settings.discriminator_variant, padding=settings.discriminator_padding
            )
        )
        self.psi = self._place(find("feature_transform", settings.feature_transform).build(channels, settings.psi_seed))
        self.brake: Brake | None = None
        self.generator = generator
        self.updates = 0
        self.history = HistoryBuffer(settings.history_size, generator)
        self.optimizers = {
            "refiner": self._optimizer(self.trained, settings.refiner_lr),
            "discriminator": self._optimizer(self.discriminator, settings.discriminator_lr),
        }

    @property
    def follows_budget(self) -> bool:
        """Whether these settings ask for a brake."""
        return self.settings.lambda_reg == 0 or self.settings.consistency > 0

    @property
    def lambda_reg(self) -> float:
        """Weight of the self-regularization now: as set, or else as the brake says."""
        return self.settings.lambda_reg or (self.brake.lambda_reg if self.brake else UNGUIDED_LAMBDA)

    @property
    def consistency_weight(self) -> float:
        """Weight of the label consistency now: as set, or else as the brake says where lambda follows it too."""
        if self.settings.consistency or self.settings.lambda_reg or not self.brake:
            return self.settings.consistency
        return self.brake.consistency_weight

    def phase(self, step: int) -> str:
        """`refiner alone`, `discriminator alone`, or `adversarial`."""
        if step < self.settings.refiner_pretrain:
            return "refiner alone"
        if step < self.settings.refiner_pretrain + self.settings.discriminator_pretrain:
            return "discriminator alone"
        return "adversarial"

    def step(self, step: int, draw_synthetic: Draw, draw_real: Draw) -> dict[str, Tensor]:
        """K_g refiner updates, then K_d discriminator updates, or one update of a pretraining phase."""
        self._schedule(step)
        phase = self.phase(step)
        if phase == "refiner alone":
            return self._update_refiner(draw_synthetic(), adversarial=False)[1]
        if phase == "discriminator alone":
            return self._update_discriminator(self._refine(draw_synthetic()), draw_real())
        for _ in range(self.settings.refiner_steps):
            refined, losses = self._update_refiner(draw_synthetic(), adversarial=True)
        # The last refiner update's images serve the first discriminator update: refining is most of a step's cost.
        for k in range(self.settings.discriminator_steps):
            batch = refined if k == 0 else self._refine(draw_synthetic())
            losses |= self._update_discriminator(self.history.mix(batch), draw_real())
        return losses

    def _update_refiner(self, synthetic: Tensor, *, adversarial: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """L_R = l_real + lambda * l_reg (eq. 4). Returns the refined images before the update, and the losses."""
        with self._autocast():
            refined = self.trained(synthetic)
            regularization = self_regularization(refined, synthetic, self.psi)
            losses = {"regularization": regularization}
            total = self.lambda_reg * regularization
            if adversarial:
                losses["refiner_adversarial"] = local_adversarial(self.discriminator(self._cropped(refined)), REAL)
                total = total + losses["refiner_adversarial"]
        if adversarial and self.brake and self.consistency_weight:
            losses["label_consistency"] = self.brake.consistency(refined, synthetic, self.generator)
            total = total + self.consistency_weight * losses["label_consistency"]
        self._apply("refiner", total)
        self._average()
        losses["change"] = (refined - synthetic).abs().mean()
        return refined.detach(), {name: loss.detach() for name, loss in losses.items()}

    def _update_discriminator(self, refined: Tensor, real: Tensor) -> dict[str, Tensor]:
        """L_D over one mini-batch of refined and one of real images (eq. 2)."""
        with self._autocast():
            logits = self.discriminator(self._cropped(torch.cat([refined, real])))
            on_refined, on_real = logits.split([refined.shape[0], real.shape[0]])
            loss = 0.5 * (local_adversarial(on_refined, REFINED) + local_adversarial(on_real, REAL))
        self._apply("discriminator", loss)
        right = [(on_refined[:, 1] > on_refined[:, 0]).float().mean(), (on_real[:, 0] > on_real[:, 1]).float().mean()]
        return {"discriminator": loss.detach(), "discriminator_accuracy": torch.stack(right).mean().detach()}

    def _average(self) -> None:
        """Move the delivered refiner's weights towards the trained ones: a GAN swings, its mean does so less.

        The weight of the past grows with the number of updates, (1 + n) / (10 + n), up to `ema`.
        """
        if self.refiner is self.trained:
            return
        self.updates += 1
        past = min(self.settings.ema, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            for mean, weight in zip(self.refiner.parameters(), self.trained.parameters(), strict=True):
                mean.lerp_(weight, 1 - past)

    def _cropped(self, images: Tensor) -> Tensor:
        """A random square of each image, where `discriminator_crop` asks for one."""
        side, (height, width) = self.settings.discriminator_crop, images.shape[2:]
        if not side or side >= max(height, width):
            return images
        high, wide = min(side, height), min(side, width)
        places = torch.rand(images.shape[0], 2, generator=self.generator).tolist()
        tops = [(int(y * (height - high + 1)), int(x * (width - wide + 1))) for y, x in places]
        return torch.stack([image[:, y : y + high, x : x + wide] for image, (y, x) in zip(images, tops, strict=True)])

    def _refine(self, synthetic: Tensor) -> Tensor:
        with torch.no_grad(), self._autocast():
            refined: Tensor = self.trained(synthetic)
        return refined

    def _apply(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()

    def _schedule(self, step: int) -> None:
        """Both rates fall to zero over the last `decay` of the steps; the refiner's rises over the first `warmup`."""
        settings = self.settings
        left = min(1.0, (self.total_steps - step) / max(1.0, settings.decay * self.total_steps))
        adversarial = step - settings.refiner_pretrain - settings.discriminator_pretrain
        risen = min(1.0, (adversarial + 1) / max(1, settings.warmup)) if adversarial >= 0 else 1.0
        rates = {"refiner": settings.refiner_lr * left * risen, "discriminator": settings.discriminator_lr * left}
        for name, rate in rates.items():
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate

    def _optimizer(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(network.parameters(), lr=rate, fused=True)
        return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999), fused=True)

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.placement.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.placement.device.type, torch.bfloat16, enabled=self.placement.autocast)

    def state(self) -> dict[str, Any]:
        """Weights, optimisers and history."""
        return {
            "refiner": self.refiner.state_dict(),
            "trained": self.trained.state_dict(),
            "updates": self.updates,
            "discriminator": self.discriminator.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "history": self.history.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept state."""
        self.refiner.load_state_dict(state["refiner"])
        self.trained.load_state_dict(state["trained"])
        self.updates = state["updates"]
        self.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.history.load_state(state["history"])
        if self.history.images is not None:
            self.history.images = self.history.images.to(self.placement.device)
