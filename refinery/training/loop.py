"""The training loop: steps, logs, evaluations, checkpoints. It knows no method by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from refinery.config import TrainConfig
from refinery.errors import ModelError, UsageError
from refinery.report.picture import save_png
from refinery.training import checkpoint
from refinery.training.budget import LabelBudget
from refinery.training.data import Batches
from refinery.training.diagnosis import Watch, require_finite, require_finite_state
from refinery.training.methods._method import Draw, Method
from refinery.training.run_folder import RunFolder
from refinery.training.stats import StatsLog
from refinery.training.validation import Evaluation


class Observer(Protocol):
    """Who watches a run: the command line's progress bar or line log."""

    def progress(self, record: dict[str, Any], total: int) -> None:
        """A log record: step (also as `done`), phase, losses, images_per_s, eta_s."""

    def say(self, sentence: str) -> None:
        """A plain sentence for the user."""

    def interrupted(self) -> bool:
        """Whether the user asked to stop."""


@dataclass
class Outcome:
    """stopped_by: steps, minutes or interrupt. best, last: evaluations with their step."""

    step: int = 0
    images_per_s: float = 0.0
    stopped_by: str = "steps"
    best: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def run_training(
    method: Method,
    synthetic: Batches,
    real: Batches,
    evaluate: Callable[[nn.Module], Evaluation],
    folder: RunFolder,
    config: TrainConfig,
    generator: torch.Generator,
    observer: Observer,
    header: dict[str, Any],
    resume: bool,
    budget: LabelBudget | None = None,
) -> Outcome:
    """Train until the steps are done, the minutes are up, or the user stops it.

    evaluate: refines the held-out images and measures them. header: what a checkpoint must also say
    (method, settings, channels), so that export can rebuild the refiner from it alone. budget: measures the refiner
    every `budget_every` adversarial steps, which is what a method's brake follows.
    """
    run = _Run(method, folder, config, generator, header, budget)
    if resume:
        run.restore()
    draw_synthetic, draw_real = _draws(synthetic, real, config.match_real)
    log, watch = StatsLog(folder.path, run.outcome.step), Watch()
    started, begun_at = time.monotonic() - run.outcome.seconds, run.outcome.step
    session = time.monotonic()
    try:
        for step in range(begun_at, method.total_steps):
            losses = method.step(step, draw_synthetic, draw_real)
            done = step + 1
            run.outcome.step, run.outcome.seconds = done, time.monotonic() - started
            ending = run.ending(observer)
            if budget and done % config.budget_every == 0 and method.phase(step) == "adversarial":
                log.write({"step": done, **budget.update(method.refiner)})
            evaluates = done % config.eval_every == 0 or ending in ("steps", "minutes")
            saves = done % config.checkpoint_every == 0 or bool(ending)
            if done % config.log_every == 0 or done == 1 or ending:
                numbers = {name: round(float(value), 6) for name, value in losses.items()}
                require_finite(numbers, done)
                rate = (done - begun_at) * config.batch_size / (time.monotonic() - session)
                run.outcome.images_per_s = round(rate, 1)
                record = {"step": done, "phase": method.phase(step), **numbers, "images_per_s": round(rate, 1)}
                log.write(record)
                observer.progress({**record, "done": done, "eta_s": run.seconds_left(rate)}, method.total_steps)
                for sentence in watch.advice(method.phase(step), numbers):
                    observer.say(f"step {done}: {sentence}")
            if evaluates or saves:
                require_finite_state(method.state(), done)
            if evaluates:
                evaluation = evaluate(method.refiner)
                log.write({"step": done, **evaluation.numbers()})
                observer.say(f"step {done}: {evaluation.sentence()}")
                save_png(evaluation.pictures, folder.samples / f"step_{done:06d}.png")
                run.judge(evaluation, done)
            if saves:
                run.save()
            if ending:
                run.outcome.stopped_by = ending
                break
    finally:
        log.close()
    return run.outcome


def _draws(synthetic: Batches, real: Batches, candidates: int) -> tuple[Draw, Draw]:
    """How batches are drawn: independently, or each real one like the synthetic one before it."""
    if not candidates:
        return synthetic.draw, real.draw
    latest: list[Tensor] = []

    def draw_synthetic() -> Tensor:
        latest[:] = [synthetic.draw()]
        return latest[0]

    def draw_real() -> Tensor:
        return real.draw_like(latest[0], candidates) if latest else real.draw()

    return draw_synthetic, draw_real


class _Run:
    """The parts of a run that a checkpoint keeps."""

    def __init__(
        self,
        method: Method,
        folder: RunFolder,
        config: TrainConfig,
        generator: torch.Generator,
        header: dict[str, Any],
        budget: LabelBudget | None,
    ) -> None:
        self.method, self.folder, self.config, self.generator, self.header = method, folder, config, generator, header
        self.budget = budget
        self.outcome = Outcome()

    def ending(self, observer: Observer) -> str:
        """Why this step is the last: steps, minutes, interrupt; empty: it is not."""
        if self.outcome.step >= self.method.total_steps:
            return "steps"
        if self.config.minutes and self.outcome.seconds >= self.config.minutes * 60:
            return "minutes"
        return "interrupt" if observer.interrupted() else ""

    def seconds_left(self, rate: float) -> float:
        """Until the steps or the minutes are over, whichever comes first."""
        by_steps = (self.method.total_steps - self.outcome.step) * self.config.batch_size / max(rate, 1e-9)
        by_time = self.config.minutes * 60 - self.outcome.seconds if self.config.minutes else math.inf
        return round(min(by_steps, by_time), 1)

    def judge(self, evaluation: Evaluation, step: int) -> None:
        """Keep the checkpoint if it is the best so far."""
        numbers = {"step": step, **evaluation.numbers(), "score": evaluation.score()}
        self.outcome.last = numbers
        if not self.outcome.best or numbers["score"] < self.outcome.best["score"]:
            self.outcome.best = numbers
            checkpoint.save(
                self.folder.best, {**self.header, "step": step, "refiner": self.method.refiner.state_dict()}
            )

    def save(self) -> None:
        """Write the checkpoint to resume from: everything that decides what comes next."""
        state = {
            **self.header,
            "step": self.outcome.step,
            "seconds": self.outcome.seconds,
            "best": self.outcome.best,
            "last": self.outcome.last,
            "method_state": self.method.state(),
            "budget": self.budget.state() if self.budget else None,
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }
        checkpoint.save(self.folder.last, state)

    def restore(self) -> None:
        """Go back to the last checkpoint."""
        state = checkpoint.load(self.folder.last)
        try:
            self.method.load_state(state["method_state"])
            if self.budget:
                self.budget.load_state(state["budget"])
            self.generator.set_state(state["generator"])
            torch.set_rng_state(state["torch_rng"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{self.folder.last}: does not fit the method's settings; resume with those in {self.folder.config}"
            ) from error
        if state["step"] >= self.method.total_steps and not state["best"]:
            raise UsageError(f"{self.folder.path}: stands at step {state['step']} already; resume it with more --steps")
        self.outcome = Outcome(step=state["step"], best=state["best"], last=state["last"], seconds=state["seconds"])
