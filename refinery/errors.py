"""Every error that refinery raises on purpose, in one tree.

RefineryError                  exit code 1; the command line catches this one class
├── UsageError                 exit code 2: the command cannot mean what it says
│   ├── ConfigError            a TOML key, a value or an option that is not understood
│   └── PicturesInDoubt        which images are pictures and which are maps has to be said
├── DatasetError               a dataset as a whole: empty, missing, of an unknown layout
│   └── SampleError            one sample: unreadable image, broken sidecar; the rest goes on
│       └── LabelError         one annotation that does not say what its kind must say
│           └── TurnedError    one that is of an image of this size lying on its side
├── ModelError                 a model file: foreign, broken, of another version, parity not met
├── ProviderError              an execution provider that was asked for and does not start
├── OutputError                the output folder: taken by another job, inside the input, disk full
├── TrainingError              a training run that cannot go on: NaN, nothing to learn from
└── MissingExtraError          an optional package is not installed; the message names the extra

A message is one line: what, where, got, expected, what to do next.
"""

from __future__ import annotations

from typing import Any


class RefineryError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(RefineryError):
    """The command cannot mean what it says."""

    exit_code = 2


class ConfigError(UsageError):
    """A TOML key, a value or an option that is not understood."""


class PicturesInDoubt(UsageError):  # noqa: N818  # a question, not a mistake
    """Which images of a dataset are pictures to refine, and which are maps to carry, has to be said by a person.

    candidates: a line about each family of images in doubt. answers: what a person may mean, likeliest first, each as
    the globs of `--images` and of `--maps`.
    """

    def __init__(
        self,
        where: str,
        candidates: tuple[str, ...],
        answers: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...],
    ) -> None:
        self.where, self.candidates, self.answers = where, candidates, answers
        super().__init__("; ".join(self.lines()))

    def lines(self) -> list[str]:
        """The question, a line a candidate, and a line an answer."""
        shown = [f"{'--yes, or ' if at == 0 else ''}{options_of(*answer)}" for at, answer in enumerate(self.answers)]
        return [
            f"{self.where}: which images are pictures to refine? say so with --images, --maps or --yes",
            *self.candidates,
            *(f"answer {at}: {text}" for at, text in enumerate(shown, 1)),
        ]


def options_of(images: tuple[str, ...], maps: tuple[str, ...]) -> str:
    """An answer as options of the command line."""
    return " ".join([*(f"--images '{glob}'" for glob in images), *(f"--maps '{glob}'" for glob in maps)])


class DatasetError(RefineryError):
    """A dataset as a whole cannot be used."""


class SampleError(DatasetError):
    """One sample cannot be used; the others go on."""


class LabelError(SampleError):
    """One annotation does not say what its kind must say."""


class TurnedError(LabelError):
    """One annotation says that its image is as wide as this one is high, and as high as it is wide."""


class PartlyReadError(LabelError):
    """Part of an annotation cannot be read: `labels` are those of the rest, `lines` say what is left out."""

    def __init__(self, labels: tuple[Any, ...], lines: tuple[str, ...]) -> None:
        super().__init__("; ".join(lines))
        self.labels, self.lines = labels, lines


class ModelError(RefineryError):
    """A model file cannot be used."""


class ProviderError(RefineryError):
    """An execution provider was asked for and does not start."""


class OutputError(RefineryError):
    """The output folder cannot be used."""


class TrainingError(RefineryError):
    """A training run cannot go on."""


class MissingExtraError(RefineryError):
    """An optional package is not installed."""
