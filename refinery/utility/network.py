"""The network of a student: what is needed to read the labels, small enough for minutes on two cores."""

from __future__ import annotations

from torch import Tensor, nn

from refinery.networks import label_probe
from refinery.training.probe_targets import ProbePlan


class Classifier(nn.Module):
    """(B, C, H, W) in [-1, 1] to numbers (B, answers): three times two 3x3 convolutions, each third at half the size.

    Nothing is scaled down before the first convolutions, so that digits of a few px stay readable.
    """

    def __init__(self, channels: int, answers: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for features in (width, 2 * width, 4 * width):
            layers += [*_convolution(before, features), *_convolution(features, features), nn.MaxPool2d(2)]
            before = features
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.answer = nn.Sequential(nn.Dropout(0.3), nn.Linear(16 * before, 128), nn.ReLU(), nn.Linear(128, answers))

    def forward(self, images: Tensor) -> Tensor:
        """The answers of each image in one row."""
        answers: Tensor = self.answer(self.features(images))
        return answers


def build(plan: ProbePlan, channels: int, width: int) -> nn.Module:
    """A classifier where nothing has a place in the image; else a label probe, whose points come from heat maps."""
    if plan.points or plan.regions:
        return label_probe.build(channels, **plan.network_settings(), width=width)
    return Classifier(channels, plan.dense, width)


def _convolution(channels: int, features: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, features, 3, padding=1, bias=False), nn.BatchNorm2d(features), nn.ReLU()]
