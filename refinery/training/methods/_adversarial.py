"""Adversarial refinement, one iteration a step; SimGAN and SSGAN are settings of it.

    L_R = l_deceive(D(R(x, z))) + lambda |psi(R(x, z)) - psi(x')| + alpha l_rotation(D, R(x, z) turned)
          + sigma shift(R(x, z), x') + consistency
    L_D = 1/2 (l_tell(D(R(x, z)), refined) + l_tell(D(y), real) + beta l_rotation(D, y turned))
          + gamma |grad D(y)|^2

x synthetic, y real, z the latent where there is one, x' = x or, with `tone`, x as z lights it; sigma is the setting
`shift`, gamma `gradient_penalty`. l_tell and l_deceive see upright images only. The discriminator learns rotations on
real images alone, and the refiner is rewarded when D recognises those of its images; a quarter of the images is turned
four ways in the pass that judges them all.
Source: Shrivastava et al. 2017 (arXiv:1612.07828), algorithm 1; Chen et al. 2019 (arXiv:1811.11212), eq. 3 and
section 4 (they sum the discriminator's terms; half of the sum is the same for Adam, and keeps SimGAN's log 2).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from refinery.losses.gradient_penalty import gradient_penalty
from refinery.losses.hinge import hinge, hinge_refiner
from refinery.losses.local_adversarial import REAL, REFINED, local_adversarial
from refinery.losses.rotation import rotation
from refinery.losses.self_regularization import self_regularization
from refinery.losses.shading import shading
from refinery.losses.shift import shift
from refinery.networks._discriminator import Discriminator
from refinery.networks._tone import Tone
from refinery.registry import find
from refinery.training import tone
from refinery.training.averages import RunningMean
from refinery.training.device import Placement
from refinery.training.history_buffer import HistoryBuffer
from refinery.training.looks import jitter
from refinery.training.methods._adversarial_networks import build_discriminator, build_refiner
from refinery.training.methods._adversarial_settings import AdversarialSettings
from refinery.training.methods._method import Brake, Draw
from refinery.training.methods._opponents import Opponents
from refinery.training.methods._rotations import Judged, judge, random_crops
from refinery.training.optimizing import Schedule, make_optimizer, set_rate, update

MOST_PRETRAINING = 0.2
"""Of the steps of a training that is drawn together to fit into its minutes."""

UNGUIDED_LAMBDA = 2.0
"""lambda where it is left to a label budget and there is none."""


def create(
    channels: int,
    real_channels: int,
    settings: AdversarialSettings,
    steps: int,
    placement: Placement,
    generator: torch.Generator,
) -> AdversarialRefinement:
    """A training run about to begin; weights come from torch's global generator."""
    return AdversarialRefinement(channels, real_channels, settings, steps, placement, generator)


class AdversarialRefinement(Opponents):
    """The networks, what trains them, and what a checkpoint keeps of it."""

    discriminator: Discriminator

    def __init__(
        self,
        channels: int,
        real_channels: int,
        settings: AdversarialSettings,
        steps: int,
        placement: Placement,
        generator: torch.Generator,
    ) -> None:
        self.settings, self.placement, self.generator = settings, placement, generator
        self.total_steps = self.planned_steps = settings.refiner_pretrain + settings.discriminator_pretrain + steps
        self.trained = self._place(build_refiner(channels, real_channels, settings))
        self.mean = RunningMean(self.trained, settings.ema)
        self.discriminator = cast("Discriminator", self._place(build_discriminator(channels, settings)))
        self.psi = self._place(find("feature_transform", settings.feature_transform).build(channels, settings.psi_seed))
        self.brake: Brake | None = None
        self.history = HistoryBuffer(settings.history_size, generator)
        self.optimizers = {
            "refiner": self._optimizer(self.trained, settings.refiner_lr),
            "discriminator": self._optimizer(self.discriminator, settings.discriminator_lr),
        }

    def meet(self, synthetic: Tensor, real: Tensor) -> None:
        """Look at some images of both sides before training: how they are lit."""
        if self.settings.lights:
            trained, kept = (cast("Tone", network.tone) for network in (self.trained, self.refiner))
            tone.fit_tone(trained, synthetic, real, steps=min(tone.STEPS, self.total_steps))
            kept.load_state_dict(trained.state_dict())

    @property
    def follows_budget(self) -> bool:
        """True if these settings ask for a brake."""
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

    def describe(self) -> dict[str, str]:
        """Rows for the table that is printed before training starts."""
        settings = self.settings
        held = f"{settings.lambda_reg:g} x mean L1" if settings.lambda_reg else "follows the label budget"
        rows = {"psi, lambda": f"{settings.feature_transform}, {held}"}
        if settings.latent:
            lit = ", which light the image" if settings.lights else ""
            rows["latent"] = f"{settings.latent} numbers, as {settings.latent_as}{lit}"
        return rows

    def phase(self, step: int) -> str:
        """`refiner alone`, `discriminator alone`, or `adversarial`."""
        refiner_alone, begin = self._pretraining()
        return "refiner alone" if step < refiner_alone else "discriminator alone" if step < begin else "adversarial"

    def _pretraining(self) -> tuple[int, int]:
        """Steps after which the refiner's pretraining ends, and the discriminator's.

        Where there is time for fewer steps than planned, both take a fifth of them at most.
        """
        refiner_alone, discriminator_alone = self.settings.refiner_pretrain, self.settings.discriminator_pretrain
        most = MOST_PRETRAINING * self.total_steps
        if self.total_steps < self.planned_steps and refiner_alone + discriminator_alone > most:
            share = most / (refiner_alone + discriminator_alone)
            refiner_alone, discriminator_alone = round(refiner_alone * share), round(discriminator_alone * share)
        return refiner_alone, refiner_alone + discriminator_alone

    def step(self, step: int, draw_synthetic: Draw, draw_real: Draw) -> dict[str, Tensor]:
        """K_g refiner updates, then K_d discriminator updates, or one update of a pretraining phase."""
        self._schedule(step)
        phase = self.phase(step)
        if phase == "refiner alone":
            return self._update_refiner(draw_synthetic(), adversarial=False)[1]
        if phase == "discriminator alone":
            return self._update_discriminator(self._refine(draw_synthetic()), draw_real(), step)
        for _ in range(self.settings.refiner_steps):
            refined, losses = self._update_refiner(draw_synthetic(), adversarial=True)
        # The last refiner update's images serve the first discriminator update: refining is most of a step's cost.
        for k in range(self.settings.discriminator_steps):
            batch = refined if k == 0 else self._refine(draw_synthetic())
            losses |= self._update_discriminator(self.history.mix(batch), draw_real(), step)
        return losses

    def _update_refiner(self, synthetic: Tensor, *, adversarial: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """One step down L_R. Returns the refined images before the update, and the losses."""
        with self.autocast():
            refined, lit = self._refined(synthetic)
            losses = {"regularization": self_regularization(refined, lit, self.psi)}
            total = self.lambda_reg * losses["regularization"]
            if self.settings.shift:
                losses["shift"] = shift(refined, lit)
                total = total + self.settings.shift * losses["shift"]
            if self.settings.shading:
                losses["shading"] = shading(refined, lit)
                total = total + self.settings.shading * losses["shading"]
            if adversarial:
                judged = self._judge(refined, slice(0, refined.shape[0]), self.settings.rotation_alpha)
                losses["refiner_adversarial"] = self._deceive(judged.patches)
                total = total + losses["refiner_adversarial"]
                if judged.rotations is not None:
                    losses["rotation_refined"] = rotation(judged.rotations, judged.quarter_turns)
                    total = total + self.settings.rotation_alpha * losses["rotation_refined"]
        if adversarial and self.brake and self.consistency_weight:
            losses["label_consistency"] = self.brake.consistency(refined, lit, self.generator)
            total = total + self.consistency_weight * losses["label_consistency"]
        update(self.optimizers["refiner"], total, self.settings.clip)
        self.mean.update()
        losses["change"] = (refined - lit).abs().mean()
        return refined.detach(), {name: loss.detach() for name, loss in losses.items()}

    def _update_discriminator(self, refined: Tensor, real: Tensor, step: int) -> dict[str, Tensor]:
        """One step down L_D, over one mini-batch of refined and one of real images in the same pass."""
        count, both = refined.shape[0], torch.cat([refined, real])
        with self.autocast():
            judged = self._judge(both, slice(count, both.shape[0]), self.settings.rotation_beta)
            on_refined, on_real = judged.patches[:count], judged.patches[count:]
            loss = 0.5 * (self._tell(on_refined, REFINED) + self._tell(on_real, REAL))
            losses, total = {"discriminator": loss}, loss
            if judged.rotations is not None:
                losses["rotation_real"] = rotation(judged.rotations, judged.quarter_turns)
                total = loss + 0.5 * self.settings.rotation_beta * losses["rotation_real"]
                losses["rotation_accuracy"] = (judged.rotations.argmax(1) == judged.quarter_turns).float().mean()
            if self.settings.gradient_penalty and step % self.settings.gradient_penalty_every == 0:
                losses["gradient_penalty"] = self._steepness(real)
                weight = self.settings.gradient_penalty * self.settings.gradient_penalty_every
                total = total + weight * losses["gradient_penalty"]
        update(self.optimizers["discriminator"], total, self.settings.clip)
        right = [(on_refined[:, 1] > on_refined[:, 0]).float().mean(), (on_real[:, 0] > on_real[:, 1]).float().mean()]
        losses["discriminator_accuracy"] = torch.stack(right).mean()
        return {name: value.detach() for name, value in losses.items()}

    def _steepness(self, real: Tensor) -> Tensor:
        """How steeply the discriminator answers on real images."""
        return gradient_penalty(jitter(self._cropped(real), self.settings.augment, self.generator), self.discriminator)

    def _judge(self, images: Tensor, subject: slice, weight: float) -> Judged:
        """What the discriminator says, about rotations too where their loss has a weight."""
        images = jitter(self._cropped(images), self.settings.augment, self.generator)
        if weight == 0:
            return Judged(self.discriminator(images))
        return judge(self.discriminator, images, subject, self.generator)

    def _tell(self, logits: Tensor, target: int) -> Tensor:
        return hinge(logits, target) if self.settings.loss == "hinge" else local_adversarial(logits, target)

    def _deceive(self, logits: Tensor) -> Tensor:
        return hinge_refiner(logits) if self.settings.loss == "hinge" else local_adversarial(logits, REAL)

    def _cropped(self, images: Tensor) -> Tensor:
        """A random part of each image, where `discriminator_crop` or `discriminator_shift` asks for one."""
        most, shift = self.settings.discriminator_crop or max(images.shape[2:]), self.settings.discriminator_shift
        height, width = (min(most, side - min(shift, side // 8)) for side in images.shape[2:])
        if (height, width) == tuple(images.shape[2:]):
            return images
        return random_crops(images, (height, width), self.generator)

    def _refine(self, synthetic: Tensor) -> Tensor:
        with torch.no_grad(), self.autocast():
            return self._refined(synthetic)[0]

    def _refined(self, synthetic: Tensor) -> tuple[Tensor, Tensor]:
        """R(x), or R(x, z) with a z ~ N(0, 1) for each image, and what it began with: x, or x as z lights it."""
        count = int(getattr(self.trained, "latent", 0))
        noise = [torch.randn(synthetic.shape[0], count, generator=self.generator).to(synthetic.device)] if count else []
        refined: Tensor = self.trained(synthetic, *noise)
        if not self.settings.lights:
            return refined, synthetic
        with torch.no_grad():
            return refined, cast("Any", self.trained).toned(synthetic, *noise)

    def _schedule(self, step: int) -> None:
        """Both rates fall over the last `decay` of the steps; the refiner's rises over the first `warmup`."""
        settings = self.settings
        _, begin = self._pretraining()
        for name, base, warmup in (
            ("refiner", settings.refiner_lr, settings.warmup),
            ("discriminator", settings.discriminator_lr, 0),
        ):
            schedule = Schedule(self.total_steps, settings.decay, settings.decay_shape, warmup, begin)
            set_rate(self.optimizers[name], schedule.rate(base, step))

    def _optimizer(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        return make_optimizer(self.settings.optimizer, network, rate, (self.settings.beta1, self.settings.beta2))

    def _place(self, network: nn.Module) -> nn.Module:
        return network.to(self.placement.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def own_state(self) -> dict[str, Any]:
        """The history: each process has its own."""
        return {"history": self.history.state()}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Go back to a kept history."""
        self.history.load_state(state["history"])
        if self.history.images is not None:
            self.history.images = self.history.images.to(self.placement.device)
