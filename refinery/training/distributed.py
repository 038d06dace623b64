"""Training in several processes; without torchrun every function here does nothing, or answers for one process.

    torchrun --nproc-per-node 2 -m refinery train --real ./real --synthetic ./synth --out runs/two

Every process has the same weights, its own images and its own history; gradients are averaged, so that two processes
learn what one would from both their batches (Li et al. 2020, "PyTorch distributed"). Rank 0 measures, writes and
decides; the others follow. Processes talk by gloo on CPUs and by NCCL on GPUs.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from refinery.errors import ProviderError, RefineryError

Value = TypeVar("Value")
SPREAD = 1_000_003
"""Between the seeds of two processes."""
PATIENCE = datetime.timedelta(hours=2)
"""How long a process waits for another: evaluating and training the label probe take minutes, on rank 0 alone."""


def begin() -> None:
    """Join the other processes, if torchrun started this one. Raises ProviderError where they cannot be reached."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    cuda = torch.cuda.is_available()
    try:
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        store, own_rank, processes = next(rendezvous("env://", timeout=PATIENCE))
        # torchrun's store outlives a restart: without a prefix, new processes would call at the addresses of the dead.
        fresh = PrefixStore(f"attempt {_attempt()}", store)
        backend = "nccl" if cuda else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE, store=fresh, rank=own_rank, world_size=processes)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ProviderError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the other processes cannot be reached ({reason}); start "
            "with torchrun, or unset WORLD_SIZE to train in one process"
        ) from error


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
    """Whether this process measures, writes and decides."""
    return rank() == 0


def restarted() -> bool:
    """Whether torchrun started this process anew after one of them failed."""
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
