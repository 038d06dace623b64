"""A refiner that is called with images in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from refinery import artifact as artifacts
from refinery.api.arrays import Images, take_apart
from refinery.artifact import Artifact
from refinery.config import Provider, RefineConfig, RefinePrecision, build
from refinery.errors import ModelError, UsageError
from refinery.runtime.batching import refine_images
from refinery.runtime.latent import latents_of
from refinery.runtime.session import Session, open_session

_KINDS = {1: "gray", 3: "colour"}


_FORKED: list[Session | None] = []
"""Sessions of the process that this one was forked from: given back here, OpenVINO's would wait for threads that a fork
does not take along, and end the process."""


class Refiner:
    """A refiner, opened where it is first called: each process of a DataLoader opens its own, forked or spawned.

    artifact: the model and what is known about it. provider, precision: as in `refinery refine`. threads: for inference
    on a CPU; 0: one for each core.
    """

    def __init__(
        self, artifact: Artifact, provider: Provider = "auto", precision: RefinePrecision = "auto", threads: int = 0
    ) -> None:
        self.artifact = artifact
        self._wanted = provider, precision, threads
        self._session: Session | None = None
        self._process = 0

    def __reduce__(self) -> tuple[type[Refiner], tuple[Any, ...]]:
        """Another process opens the model anew."""
        return Refiner, (self.artifact, *self._wanted)

    def __repr__(self) -> str:
        return f"Refiner({str(self.artifact.path)!r}, {_KINDS.get(self.channels)} images)"

    @property
    def channels(self) -> int:
        """Of the images that it takes: 1 (gray) or 3 (colour)."""
        return self.artifact.manifest.channels

    @property
    def session(self) -> Session:
        """The model in its execution provider; another process, forked or not, opens it for itself.

        Raises ProviderError where it does not start.
        """
        if self._session is None or self._process != os.getpid():
            _FORKED.append(self._session)
            provider, precision, threads = self._wanted
            self._session, self._process = open_session(self.artifact, provider, precision, threads), os.getpid()
        return self._session

    def __call__(self, images: Images, seed: int = 0, keys: Sequence[str] | None = None) -> Any:
        """The images as `refinery refine --no-check` would write them: same container, sizes and dtype.

        images: (N, H, W, C), (N, H, W), (H, W, C), (H, W), or a list of (H, W, C) and (H, W) of any sizes; uint8,
        uint16, or floats from 0 to 1; RGBA keeps its alpha. Gray images come back in colour from a refiner that
        colours. seed: of the noise of a refiner that has any, which depends on the image's key, too. keys: names of the
        images as in a dataset; left out they are "0", "1", ...
        Raises UsageError for other arrays, ModelError for images that the refiner does not take or cannot refine.
        """
        given = take_apart(images)
        if keys is not None and len(keys) != len(given.floats):
            raise UsageError(f"keys: {len(keys)} for {len(given.floats)} images; expected one for each")
        for at, image in enumerate(given.floats):
            self._require_taken(image.shape, at)
        session = self.session
        names = [str(at) for at in range(len(given.floats))] if keys is None else list(keys)
        latents = latents_of(names, session.latent, seed) if session.latent else None
        with ThreadPoolExecutor(session.streams, thread_name_prefix="model") as streams:
            refined = refine_images(
                session.run, given.floats, session.batch, streams, latents, session.fit, session.room
            )
        for at, image in enumerate(refined):
            if not np.isfinite(image).all():
                raise ModelError(f"{self.artifact.path}: gives NaN or infinite pixels for images[{at}]; train it again")
        return given.like(refined)

    def _require_taken(self, shape: tuple[int, ...], at: int) -> None:
        height, width, channels = shape
        if channels != self.channels:
            raise ModelError(
                f"images[{at}] is {_KINDS[channels]}, but {self.artifact.path} was trained on {_KINDS[self.channels]} "
                "images; convert them, or load a refiner of such images"
            )
        fixed = self.artifact.fixed_hw
        if any(side and side != own for side, own in zip(fixed, (height, width), strict=True)):
            raise ModelError(
                f"images[{at}] is {width}x{height} px, but {self.artifact.path} takes {self.artifact.fixes()}"
            )


def load(
    model: str | Path = "", provider: Provider = "auto", precision: RefinePrecision = "auto", threads: int = 0
) -> Refiner:
    """A refiner from a run, an artifact folder or an .onnx file; left out, the newest finished run under ./runs.

    Nothing in the file may execute code; it is opened at the first call. Raises ModelError, ConfigError for a provider
    or a precision that there is none of.
    """
    build(RefineConfig, {"provider": provider, "precision": precision}, {}, "load")
    return Refiner(artifacts.load(model or artifacts.newest_run(Path("runs"))), provider, precision, threads)
