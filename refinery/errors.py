"""Every error that refinery raises on purpose, in one tree.

RefineryError                  exit code 1; the command line catches this one class
├── UsageError                 exit code 2: the command cannot mean what it says
│   └── ConfigError            a TOML key, a value or an option that is not understood
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


class RefineryError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(RefineryError):
    """The command cannot mean what it says."""

    exit_code = 2


class ConfigError(UsageError):
    """A TOML key, a value or an option that is not understood."""


class DatasetError(RefineryError):
    """A dataset as a whole cannot be used."""


class SampleError(DatasetError):
    """One sample cannot be used; the others go on."""


class LabelError(SampleError):
    """One annotation does not say what its kind must say."""


class TurnedError(LabelError):
    """One annotation says that its image is as wide as this one is high, and as high as it is wide."""


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
