"""Tone: a random change of colours, the same for a whole image, so that renders come to be lit as photos are.

Networks that are told noise and asked to deceive a discriminator soon give each image one look and let the noise be.
What differs most between photos, how light, how contrasty and of what colours they are, is learnt before and apart
(`training/tone`), by a loss that no image can meet alone.
"""

from __future__ import annotations

from torch import Tensor, nn

HIDDEN = 32


class Tone(nn.Module):
    """Images x (B, C, H, W) in [-1, 1] to clamp(x + M x + b), M (C, C) and b (C) of each image by its latent z (B, L).

    M and b are two hidden layers of z. Until it is trained it changes nothing, and it is not trained with the refiner:
    its weights want no gradients. Nothing depends on the image, so parts of it are toned as the whole is.
    """

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.channels, self.latent = channels, latent
        self.hidden = nn.Sequential(nn.Linear(latent, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh())
        self.last = nn.Linear(HIDDEN, channels * (channels + 1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.requires_grad_(False)

    def forward(self, images: Tensor, latent: Tensor) -> Tensor:
        """Toned images, same shape and type, in [-1, 1]."""
        return self.unclamped(images, latent).clamp(-1, 1)

    def unclamped(self, images: Tensor, latent: Tensor) -> Tensor:
        """x + M x + b."""
        mixing, level = self.last(self.hidden(latent)).split([self.channels**2, self.channels], 1)
        mixing = mixing.unflatten(1, (self.channels, self.channels)).to(images.dtype)
        mixed = (mixing @ images.flatten(2)).unflatten(2, images.shape[2:])
        toned: Tensor = images + mixed + level[:, :, None, None].to(images.dtype)
        return toned
