"""The two networks that the settings of adversarial refinement describe."""

from __future__ import annotations

from typing import Any

from torch import nn

from refinery.errors import ConfigError, TrainingError
from refinery.networks._discriminator import Discriminator
from refinery.registry import find
from refinery.training.methods._adversarial_settings import AdversarialSettings


def build_refiner(channels: int, real_channels: int, settings: AdversarialSettings) -> nn.Module:
    """The refiner these settings describe, untrained.

    Raises ValueError for settings that were not scaled, TrainingError for real images of other channels.
    """
    if not (settings.width and settings.blocks and settings.kernel):
        raise ValueError("width, blocks or kernel is left open")
    if channels != real_channels:
        raise TrainingError(
            f"the synthetic images have {channels} channel(s), the real ones {real_channels}; this method keeps the "
            'channels: convert one side, or use method = "pix2pix" if each real image is the partner of a synthetic one'
        )
    return _built(
        "refiner",
        settings.refiner,
        "multiscale_refiner or resnet_refiner",
        channels,
        width=settings.width,
        blocks=settings.blocks,
        scales=settings.scales,
        kernel=settings.kernel,
        padding=settings.padding,
        head=settings.head,
        latent=settings.latent,
        latent_as=settings.latent_as,
        tone=settings.lights,
    )


def build_discriminator(channels: int, settings: AdversarialSettings) -> Discriminator:
    """The discriminator these settings describe; a network passes over the settings of others."""
    usual = "patch_discriminator or resnet_discriminator"
    module = _built(
        "discriminator",
        settings.discriminator,
        usual,
        channels,
        variant=settings.discriminator_variant,
        padding=settings.discriminator_padding,
        width=settings.discriminator_width,
        blocks=settings.discriminator_blocks,
        head=settings.discriminator_head,
        rotation=settings.rotation_beta > 0,
        spectral_norm=settings.spectral_norm,
    )
    if not isinstance(module, Discriminator):
        raise ConfigError(f"discriminator: {settings.discriminator!r} does not tell real from refined; use {usual}")
    return module


def _built(role: str, name: str, usual: str, channels: int, **settings: Any) -> nn.Module:
    """A network by name. Raises ConfigError for one that does not take these settings."""
    try:
        module: nn.Module = find("network", name).build(channels, **settings)
    except TypeError as error:
        raise ConfigError(f"{role}: the network {name!r} does not take its settings ({error}); use {usual}") from error
    return module
