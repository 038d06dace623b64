"""Training in several processes; without torchrun every function here does nothing, or answers for one process.

    torchrun --nproc-per-node 2 -m refinery train --real ./real --synthetic ./synth --out runs/two

Every process has the same weights, its own images and its own history; gradients are averaged, so that two processes
learn what one would from both their batches (Li et al. 2020, "PyTorch distributed"). Rank 0 measures, writes and
decides; the others follow. Processes talk by gloo on CPUs and by NCCL on GPUs.
"""

from __future__ import annotations

import datetime
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore

from refinery.errors import ProviderError, RefineryError, UsageError

Value = TypeVar("Value")
SPREAD = 1_000_003
"""Between the seeds of two processes."""
PATIENCE = datetime.timedelta(hours=2)
"""How long a process waits for another: evaluating and training the label probe take minutes, on rank 0 alone."""
LOOK_UP_S, QUIET_S, SAY_EVERY_S = 1.0, 3.0, 60.0
"""While the others are waited for: between two looks at most, until it is said first, and again."""


def begin(wait_minutes: float = 10.0, say: Callable[[str], None] = lambda _: None) -> None:
    """Join the other processes, if torchrun or the environment says that there are any.

    wait_minutes: how long they may take to come; say: told for whom this process waits.
    Raises UsageError for an environment that makes no sense, ProviderError where the others cannot be reached.
    """
    if dist.is_initialized() or (place := place_among_others(os.environ)) is None:
        return
    cuda = torch.cuda.is_available()
    try:
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        store = meet(place, wait_minutes * 60, say)
        backend = "nccl" if cuda else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=place.rank, world_size=place.processes)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ProviderError(
            f"WORLD_SIZE is {place.processes}, but the other processes cannot be reached ({reason}); start with "
            "torchrun, or unset WORLD_SIZE to train in one process"
        ) from error


@dataclass(frozen=True)
class Place:
    """One process among others, and where they meet: the first process opens the port, unless torchrun has."""

    rank: int
    processes: int
    host: str
    port: int
    opens: bool


def place_among_others(environment: Mapping[str, str]) -> Place | None:
    """What WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT say; None where there is one process.

    Raises UsageError for values that are none, and for one that is missing.
    """
    processes = _number(environment, "WORLD_SIZE", 1, "1")
    if processes < 2:
        return None
    rank = _number(environment, "RANK", 0)
    if rank >= processes:
        raise UsageError(
            f"RANK is {rank}, but WORLD_SIZE is {processes}: ranks are counted from 0; start with torchrun"
        )
    port, host = _number(environment, "MASTER_PORT", 1), environment.get("MASTER_ADDR", "")
    if not host:
        raise UsageError(f"WORLD_SIZE is {processes}, but MASTER_ADDR is not set; start with torchrun{_ALONE}")
    agents = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(rank, processes, host, port, rank == 0 and not agents)


_ALONE = ", or unset WORLD_SIZE to train in one process"


def _number(environment: Mapping[str, str], name: str, least: int, default: str = "") -> int:
    """A whole number of the environment; what is empty counts as not set. Raises UsageError."""
    text = environment.get(name, "").strip() or default
    if not text.isdecimal() or int(text) < least:
        got = f"is {text!r}" if text else "is not set"
        raise UsageError(f"{name} {got}; expected a whole number of at least {least}, as torchrun sets it{_ALONE}")
    return int(text)


def meet(place: Place, patience_s: float, say: Callable[[str], None]) -> Any:
    """The store that the processes share, once all of them have come.

    Nothing here blocks for longer than LOOK_UP_S, so that Ctrl-C and SIGTERM end the wait.
    Raises ProviderError when it has taken `patience_s`.
    """
    where, until, told_at = f"{place.host}:{place.port}", time.monotonic() + patience_s, time.monotonic() + QUIET_S
    store: Any = None
    while True:
        try:
            store = store or _open_store(place)
            # torchrun's store outlives a restart: without a prefix, new processes would call at the addresses of the
            # dead.
            fresh = PrefixStore(f"attempt {_attempt()}", store)
            fresh.set(f"here {place.rank}", "yes")
            missing = [rank for rank in range(place.processes) if not fresh.check([f"here {rank}"])]
            if not missing:
                return fresh
        except (dist.DistNetworkError, OSError):
            if place.opens:
                raise
            store, missing = None, [0]
        about = f"process {', '.join(map(str, missing))} of {place.processes} (RANK, from 0) at {where}"
        if time.monotonic() >= until:
            raise ProviderError(
                f"waited {patience_s / 60:g} minutes for {about}; start the missing ones, check MASTER_ADDR and "
                f"MASTER_PORT, or unset WORLD_SIZE to train in one process (wait_minutes in the TOML: wait longer)"
            )
        if time.monotonic() >= told_at:
            say(f"waiting for {about}")
            told_at = time.monotonic() + SAY_EVERY_S
        time.sleep(LOOK_UP_S / 4)


def _open_store(place: Place) -> Any:
    """Raises OSError where nobody listens yet: asked first, since torch would print a page of its own about that."""
    if not place.opens:
        socket.create_connection((place.host, place.port), LOOK_UP_S).close()
    limit = PATIENCE if place.opens else datetime.timedelta(seconds=LOOK_UP_S)
    store = dist.TCPStore(  # type: ignore[attr-defined]  # torch does not list it
        place.host, place.port, place.processes, place.opens, limit, wait_for_workers=False, multi_tenant=True
    )
    store.set_timeout(PATIENCE)
    return store


def end() -> None:
    """Wait until all processes have come this far, and leave them; one that failed must not wait: it just ends."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def rank() -> int:
    """Which of the processes this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """True if this process measures, writes and decides."""
    return rank() == 0


def restarted() -> bool:
    """True if torchrun started this process anew after one of them failed."""
    return _attempt() > 0


def _attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def seeded(seed: int) -> torch.Generator:
    """A generator of this process's own: other processes draw other images."""
    return torch.Generator().manual_seed(seed + SPREAD * rank())


def differ(seed: int) -> None:
    """Give torch's global generator (dropout) its own seed here, once all processes have made the same weights."""
    if rank():
        torch.manual_seed(seed + SPREAD * rank())


def average(gradients: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over all processes, in one exchange."""
    if size() == 1:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


def agreed(value: Value) -> Value:
    """The first process's value, in every process."""
    if size() == 1:
        return value
    values: list[Any] = [value]
    dist.broadcast_object_list(values, src=0)
    agreed_value: Value = values[0]
    return agreed_value


def decided(action: Callable[[], Value]) -> Value:
    """What an action gives in the first process, the only one that does it, in every process; its error too."""
    value: Value | RefineryError | None = None
    if is_first():
        try:
            value = action()
        except RefineryError as error:
            value = error
    value = agreed(value)
    if isinstance(value, RefineryError):
        raise value
    return value  # type: ignore[return-value]


def gathered(value: Value) -> list[Value]:
    """The values of all processes by rank, in the first process; in the others only their own."""
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.gather_object(value, values if is_first() else None, dst=0)
    return values if is_first() else [value]
