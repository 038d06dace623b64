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
from refinery.training import checkpoint, distributed
from refinery.training.budget import LabelBudget
from refinery.training.diagnosis import Watch, require_finite, require_finite_state
from refinery.training.feed import Feed
from refinery.training.methods._method import Method
from refinery.training.run_folder import RunFolder
from refinery.training.stats import StatsLog
from refinery.training.validation import Evaluation

TELL_AFTER_STEPS, WORTH_TELLING_S = 70, 60
"""Steps of both networks have to be among those that the time is told from."""
FIT_EVERY_STEPS = 10


class Observer(Protocol):
    """Who watches a run: the command line's progress bar or line log."""

    def progress(self, record: dict[str, Any], total: int) -> None:
        """A log record: step (also as `done`), phase, losses, images_per_s, eta_s."""

    def say(self, sentence: str) -> None:
        """A plain sentence for the user."""

    def interrupted(self) -> bool:
        """True if the user asked to stop."""


@dataclass
class Outcome:
    """stopped_by: steps, minutes, patience or interrupt. best, last: evaluations with their step."""

    step: int = 0
    images_per_s: float = 0.0
    stopped_by: str = "steps"
    best: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def run_training(
    method: Method,
    feed: Feed,
    evaluate: Callable[[nn.Module], Evaluation],
    folder: RunFolder,
    config: TrainConfig,
    generator: torch.Generator,
    observer: Observer,
    header: dict[str, Any],
    resume: bool,
    budget: LabelBudget | None = None,
) -> Outcome:
    """Train until the steps are done, the minutes are up, nothing improves any more, or the user stops it.

    evaluate: refines the held-out images and measures them. header: what a checkpoint must also say
    (method, settings, channels), so that export can rebuild the refiner from it alone. budget: measures the refiner
    every `budget_every` adversarial steps, which is what a method's brake follows. In a distributed run every process
    calls this; the first one evaluates, writes and decides when to stop.
    """
    run = _Run(method, feed, folder, config, generator, header, budget, observer)
    if resume:
        run.restore()
    run.begin()
    try:
        for step in range(run.outcome.step, run.all_steps):
            losses = method.step(step, feed.draw_synthetic, feed.draw_real)
            run.count(step + 1)
            run.fit_into_minutes()
            ending = run.ending()
            if budget and run.due(config.budget_every) and method.phase(step) == "adversarial":
                run.write(budget.update(method.refiner))
            if run.due(config.log_every) or run.outcome.step == 1 or ending:
                run.log(method.phase(step), losses)
            if step + 1 == run.begun_at + TELL_AFTER_STEPS:
                run.tell_time()
            if run.due(config.eval_every) or ending in ("steps", "minutes"):
                if distributed.is_first():
                    run.judge(evaluate(method.refiner))
                ending = ending or distributed.agreed(run.exhausted())
            if run.due(config.checkpoint_every) or ending:
                run.save()
            if ending:
                run.outcome.stopped_by = ending
                break
    finally:
        run.close()
        feed.close()
    return run.outcome


class _Run:
    """A run in progress: its clock, its log, its best evaluation, and what a checkpoint keeps of it."""

    def __init__(
        self,
        method: Method,
        feed: Feed,
        folder: RunFolder,
        config: TrainConfig,
        generator: torch.Generator,
        header: dict[str, Any],
        budget: LabelBudget | None,
        observer: Observer,
    ) -> None:
        self.method, self.folder, self.config, self.generator, self.header = method, folder, config, generator, header
        self.feed, self.budget, self.observer = feed, budget, observer
        self.outcome, self.all_steps = Outcome(), method.total_steps
        self.watch = Watch()

    def begin(self) -> None:
        """Start the clock and open the log."""
        self.begun_at, self.session = self.outcome.step, time.monotonic()
        self.started = self.session - self.outcome.seconds
        self.stats = StatsLog(self.folder.path, self.outcome.step) if distributed.is_first() else None

    def close(self) -> None:
        """Close the log."""
        if self.stats:
            self.stats.close()

    def count(self, done: int) -> None:
        """So many steps are done."""
        self.outcome.step, self.outcome.seconds = done, time.monotonic() - self.started

    def due(self, every: int) -> bool:
        """True if something that happens every so many steps happens after this one."""
        return self.outcome.step % every == 0

    def fit_into_minutes(self) -> None:
        """With `minutes`, let the learning rates fall to zero over the steps that there is time for, as measured."""
        if not self.config.minutes or self.outcome.step % FIT_EVERY_STEPS:
            return
        steps = self.outcome.step - self.begun_at
        seconds = time.monotonic() - self.session
        left = (self.config.minutes * 60 - self.outcome.seconds) * steps / max(seconds, 1e-9)
        fitting = self.outcome.step + max(1, int(left))
        self.method.total_steps = distributed.agreed(min(self.all_steps, fitting))

    def tell_time(self) -> None:
        """How long it will take on this machine, once that can be told; not of what is soon over."""
        done = self.outcome.step - self.begun_at
        left = (self.method.total_steps - self.outcome.step) * (time.monotonic() - self.session) / done
        if left >= WORTH_TELLING_S and not self.config.minutes:
            self.observer.say(
                f"this takes about {math.ceil(left / 60)} minutes on this machine, and evaluations; --minutes M makes "
                "it fit into less: the schedule is drawn together"
            )

    def write(self, numbers: dict[str, Any]) -> None:
        """Into stats.jsonl, with the step."""
        if self.stats:
            self.stats.write({"step": self.outcome.step, **numbers})

    def ending(self) -> str:
        """Why this step is the last: steps, minutes, interrupt; empty: it is not."""
        if self.outcome.step >= self.all_steps:
            return "steps"
        is_over = self.outcome.step >= self.method.total_steps or self.outcome.seconds >= self.config.minutes * 60
        if self.config.minutes and distributed.agreed(is_over):
            return "minutes"
        return distributed.agreed("interrupt" if self.observer.interrupted() else "")

    def exhausted(self) -> str:
        """`patience` when so many evaluations in a row brought no better refiner; empty otherwise."""
        since = self.outcome.step - self.outcome.best.get("step", 0)
        return "patience" if 0 < self.config.patience * self.config.eval_every <= since else ""

    def log(self, phase: str, losses: dict[str, Tensor]) -> None:
        """Losses and speed, for stats.jsonl and for who watches. Raises TrainingError when they are not finite."""
        done = self.outcome.step
        numbers = {name: round(float(value), 6) for name, value in losses.items()}
        require_finite(numbers, done)
        images = (done - self.begun_at) * self.config.batch_size
        rate = images / (time.monotonic() - self.session)
        self.outcome.images_per_s = round(rate, 1)
        record = {"phase": phase, **numbers, "images_per_s": round(rate, 1)}
        self.write(record)
        self.observer.progress(
            {"step": done, **record, "done": done, "eta_s": self.seconds_left(rate)}, self.method.total_steps
        )
        for sentence in self.watch.advice(phase, numbers):
            self.observer.say(f"step {done}: {sentence}")

    def seconds_left(self, rate: float) -> float:
        """Until the steps or the minutes are over, whichever comes first."""
        by_steps = (self.method.total_steps - self.outcome.step) * self.config.batch_size / max(rate, 1e-9)
        by_time = self.config.minutes * 60 - self.outcome.seconds if self.config.minutes else math.inf
        return round(min(by_steps, by_time), 1)

    def judge(self, evaluation: Evaluation) -> None:
        """Log an evaluation, and keep the checkpoint if it is the best so far and did not collapse."""
        step = self.outcome.step
        require_finite_state(self.method.state(), step)
        self.write(evaluation.numbers())
        self.observer.say(f"step {step}: {evaluation.sentence()}")
        save_png(evaluation.pictures, self.folder.samples / f"step_{step:06d}.png")
        numbers = {"step": step, **evaluation.numbers(), "score": evaluation.score()}
        self.outcome.last = numbers
        if evaluation.collapsed:
            return
        if not self.outcome.best or numbers["score"] < self.outcome.best["score"]:
            self.outcome.best = numbers
            checkpoint.save(
                self.folder.best, {**self.header, "step": step, "refiner": self.method.refiner.state_dict()}
            )

    def save(self) -> None:
        """Write the checkpoint to resume from: everything that decides what comes next."""
        require_finite_state(self.method.state(), self.outcome.step)
        processes = distributed.gathered(self._own_state())
        if not distributed.is_first():
            return
        state = {
            **self.header,
            "step": self.outcome.step,
            "seconds": self.outcome.seconds,
            "best": self.outcome.best,
            "last": self.outcome.last,
            "method_state": self.method.state(),
            "budget": self.budget.state() if self.budget else None,
            "processes": processes,
        }
        checkpoint.save(self.folder.last, state)

    def _own_state(self) -> dict[str, Any]:
        """What differs between the processes of a distributed run."""
        return {
            "method": self.method.own_state(),
            "feed": self.feed.state(),
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }

    def restore(self) -> None:
        """Go back to the last checkpoint."""
        state = checkpoint.load(self.folder.last)
        try:
            own = self._own_part(state["processes"])
            self.method.load_state(state["method_state"])
            self.method.load_own_state(own["method"])
            self.feed.load_state(own["feed"])
            if self.budget:
                self.budget.load_state(state["budget"])
            self.generator.set_state(own["generator"])
            torch.set_rng_state(own["torch_rng"])
            if own["cuda_rng"] is not None and torch.cuda.is_available():
                torch.cuda.set_rng_state(own["cuda_rng"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"{self.folder.last}: does not fit the method's settings; resume with those in {self.folder.config}"
            ) from error
        if state["step"] >= self.method.total_steps and not state["best"]:
            raise UsageError(f"{self.folder.path}: stands at step {state['step']} already; resume it with more --steps")
        self.outcome = Outcome(step=state["step"], best=state["best"], last=state["last"], seconds=state["seconds"])

    def _own_part(self, processes: list[dict[str, Any]]) -> dict[str, Any]:
        """This process's part of a checkpoint. Raises UsageError where there are not as many as there were."""
        if len(processes) != distributed.size():
            raise UsageError(
                f"{self.folder.path}: was trained by {len(processes)} process(es), now there are {distributed.size()}; "
                "resume it with as many, since each has its own images and history"
            )
        return processes[distributed.rank()]
