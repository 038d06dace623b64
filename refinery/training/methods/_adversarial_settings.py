"""Settings of adversarial refinement; `simgan` and `ssgan` are its two sets of defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from refinery.config import require_at_least
from refinery.errors import ConfigError

EYES_FROM_PX, HANDS_FROM_PX = 24, 128
"""Shorter side of the crops from which SimGAN's networks for eyes (55x35) and hands (224x224) are used."""
SettingsType = TypeVar("SettingsType", bound="AdversarialSettings")


@dataclass(frozen=True)
class AdversarialSettings:
    """lambda_reg weighs the *mean* L1 distance of psi, so it does not depend on the image's size."""

    steps: int = 2000
    """Adversarial steps; pretraining comes on top."""
    lambda_reg: float = 0.0
    """Weight of the self-regularization against the adversarial loss; 0: it follows the label budget, max_drift."""
    consistency: float = 0.0
    """Weight of the label-consistency loss; 0: it follows the label budget, or is none where lambda_reg is given."""
    feature_transform: str = "identity"
    """psi: identity, gradient, channel_mean, contrast_normalized, low_pass or convolutional."""
    loss: Literal["cross_entropy", "hinge"] = "cross_entropy"
    """Adversarial loss over the patches: cross_entropy as SimGAN's, hinge as SSGAN's."""
    rotation_alpha: float = 0.0
    """Reward of the refiner when the discriminator tells how its images were turned; SSGAN: 0.2."""
    rotation_beta: float = 0.0
    """Weight of the discriminator's telling how real images were turned; SSGAN: 1; 0 with alpha 0: no rotations."""
    latent: int = 0
    """Random numbers that the refiner takes beside each image, so that one has several looks; 0: none."""
    latent_as: Literal["channels", "modulation", "batch_modulation"] = "channels"
    """As constant channels, as scale and shift of the features, or as those after batch norm, as SSGAN (sBN)."""
    tone: bool = False
    """Whether the latent numbers, if any, light each image, spread as brightness and contrast of the photos are."""
    shift: float = 0.0
    """Weight of the squared shift of edges, px^2 (`losses/shift`), which leaves light and contrast free; 0: off."""
    shading: float = 0.0
    """Weight of the change of shading, `losses/shading`, which leaves texture free; 0: off."""
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
    """adam (betas beta1, beta2) or sgd."""
    beta1: float = 0.5
    """Adam's weight of past gradients."""
    beta2: float = 0.999
    """Adam's weight of past squared gradients."""
    refiner_lr: float = 2e-4
    """Learning rate of the refiner."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator."""
    warmup: int = 100
    """Adversarial steps over which the refiner's learning rate rises from zero: its first steps meet a trained D."""
    decay: float = 0.5
    """Share of the steps, at the end, over which both learning rates fall to zero."""
    decay_shape: Literal["linear", "cosine"] = "linear"
    """How they fall."""
    gradient_penalty: float = 0.0
    """Weight of the discriminator's squared gradient on real images (R1); 0: off."""
    gradient_penalty_every: int = 4
    """Steps between its uses; the weight is multiplied by as many."""
    clip: float = 0.0
    """Largest norm of each network's gradient, longer ones are shortened to it; 0: none is."""
    ema: float = 0.995
    """Weight of the past in the running mean of the refiner's weights that is evaluated and exported; 0: no mean."""
    refiner: str = "resnet_refiner"
    """Network of the refiner: SimGAN's resnet_refiner, or multiscale_refiner, some fifteen times as fast."""
    width: int = 0
    """Features of the refiner at full size; 0: 16 of multiscale_refiner, 64 of resnet_refiner."""
    blocks: int = 0
    """Residual blocks, of multiscale_refiner at its smallest scale; 0: 2 there, or 1 for crops of 128 px and more; of
    resnet_refiner 4 as for the eyes, or 10 as for the hands, for crops of 128 px and more."""
    scales: int = 0
    """Of multiscale_refiner: how many, each half as large as the one before; 0: 3, or 4 for crops of 128 px on."""
    kernel: int = 0
    """Of resnet_refiner: side of the first convolution in px; 0: 3 as for the eyes, or 7 as for the hands."""
    padding: Literal["reflect", "zeros"] = "reflect"
    """Of resnet_refiner: how it pads; zeros, as published, leave a frame along the borders."""
    head: Literal["residual", "tanh"] = "residual"
    """residual adds a change to the image; tanh, as published, draws it anew."""
    discriminator: str = "patch_discriminator"
    """Network of the discriminator: patch_discriminator or resnet_discriminator."""
    discriminator_variant: Literal["auto", "eyes", "hands", "medium", "small"] = "auto"
    """Of patch_discriminator: eyes and hands as published; medium sees 15x15 px, small 7x7; auto: by crop size."""
    discriminator_padding: Literal["none", "zeros"] = "none"
    """Of patch_discriminator: zeros as published; none hides from it where in the frame a patch lies."""
    discriminator_width: int = 64
    """Of resnet_discriminator: features of each block; as published 128."""
    discriminator_blocks: int = 4
    """Of resnet_discriminator: residual blocks."""
    discriminator_head: Literal["patches", "global"] = "patches"
    """Of resnet_discriminator: judges every place, or, as published, the whole image."""
    spectral_norm: bool = False
    """Spectral normalization of every layer of the discriminator."""
    discriminator_crop: int = 0
    """Side in px of the random crops that the discriminator sees of every image; 0: the whole."""
    discriminator_shift: int = 0
    """Px by which what the discriminator sees is shifted at random, at most an eighth of each side: with strides it has
    a grid of its own, which a refiner learns to draw."""
    augment: float = 0.0
    """How much gain, contrast and brightness vary in what the discriminator sees, real and refined alike; 0: not."""
    psi_seed: int = 0
    """Chooses the filters of psi = convolutional."""

    def __post_init__(self) -> None:
        ones = (
            "steps",
            "refiner_steps",
            "discriminator_steps",
            "discriminator_width",
            "discriminator_blocks",
            "gradient_penalty_every",
        )
        zeros = (
            "width",
            "scales",
            "gradient_penalty",
            "blocks",
            "kernel",
            "lambda_reg",
            "consistency",
            "shift",
            "shading",
            "rotation_alpha",
            "rotation_beta",
            "latent",
            "discriminator_crop",
            "discriminator_shift",
            "augment",
            "refiner_pretrain",
            "discriminator_pretrain",
            "history_size",
            "warmup",
            "decay",
            "clip",
            "ema",
            "beta1",
            "beta2",
        )
        require_at_least(self, **dict.fromkeys(ones, 1), **dict.fromkeys(zeros, 0))
        for name, usual in (("ema", 0.995), ("beta1", 0.5), ("beta2", 0.999)):
            if getattr(self, name) >= 1:
                raise ConfigError(
                    f"{name}: got {getattr(self, name)}, expected 0 (none) or less than 1, such as {usual}"
                )
        if self.rotation_alpha and not self.rotation_beta:
            raise ConfigError(
                f"rotation_alpha: got {self.rotation_alpha} with rotation_beta = 0: nobody learns the rotations that "
                "the refiner is rewarded for; set rotation_beta = 1"
            )

    @property
    def lights(self) -> bool:
        """True if there is a tone: it needs latent numbers."""
        return self.tone and self.latent > 0


def scale(settings: SettingsType, crop_hw: tuple[int, int]) -> SettingsType:
    """The settings with everything that was left to the size of the training crops (px) decided."""
    side = min(crop_hw)
    hands = side >= HANDS_FROM_PX
    variant: Literal["eyes", "hands", "small"] = "hands" if hands else "eyes" if side >= EYES_FROM_PX else "small"
    multiscale = settings.refiner == "multiscale_refiner"
    return replace(
        settings,
        width=settings.width or (16 if multiscale else 64),
        blocks=settings.blocks or _blocks(multiscale, hands),
        scales=settings.scales or (4 if hands else 3),
        kernel=settings.kernel or (7 if hands else 3),
        discriminator_variant=variant if settings.discriminator_variant == "auto" else settings.discriminator_variant,
    )


def _blocks(multiscale: bool, hands: bool) -> int:
    if multiscale:
        return 1 if hands else 2
    return 10 if hands else 4
