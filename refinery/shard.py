"""Which part of a job this process does: `3/16`, or what SLURM or Kubernetes say about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from refinery.errors import UsageError

SLURM_ID, SLURM_COUNT, SLURM_MIN = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"
SLURM_MAX, SLURM_STEP = "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"
KUBERNETES_INDEX = "JOB_COMPLETION_INDEX"
_FOLDER = re.compile(r"([0-9]+)-of-([0-9]+)")


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """Part `index` of `count`, counted from 1."""

    count: int
    index: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """The name of its folder, `03-of-16`; folders of one job sort in the order of their parts."""
        width = max(2, len(str(self.count)))
        return f"{self.index:0{width}d}-of-{self.count:0{width}d}"


def shard_of_folder(name: str) -> Shard | None:
    """The part that a folder's name stands for; None for any other name."""
    match = _FOLDER.fullmatch(name)
    found = Shard(int(match[2]), int(match[1])) if match else None
    return found if found and found.folder == name and 1 <= found.index <= found.count else None


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard | None:
    """`3/16`, or `auto` and `auto/16` with the index out of the environment; None for "".

    `auto` takes the count from SLURM; Kubernetes tells a pod its index alone. Raises UsageError.
    """
    if not text:
        return None
    first, slash, last = text.strip().partition("/")
    if first == "auto" and (not slash or _is_number(last)):
        return _checked(_auto(text, int(last) if slash else None, environment), text)
    if not (_is_number(first) and _is_number(last)):
        raise UsageError(f"--shard: got {text!r}, expected a part and how many there are, such as 3/16, or auto/16")
    return _checked(Shard(int(last), int(first)), text)


def _checked(shard: Shard, text: str) -> Shard:
    if shard.count < 1:
        raise UsageError(f"--shard: got {text!r}, expected 1 part or more, such as 3/16")
    if not 1 <= shard.index <= shard.count:
        said = f" (the environment says {shard.index})" if text.startswith("auto") else ""
        raise UsageError(
            f"--shard: got {text!r}{said}, expected a part from 1/{shard.count} to {shard.count}/{shard.count}"
        )
    return shard


def _auto(text: str, count: int | None, environment: Mapping[str, str]) -> Shard:
    slurm, kubernetes = SLURM_ID in environment, KUBERNETES_INDEX in environment
    if slurm and kubernetes:
        raise UsageError(f"--shard {text}: both {SLURM_ID} and {KUBERNETES_INDEX} are set; give --shard I/N")
    if slurm:
        return _of_slurm(text, count, environment)
    if not kubernetes:
        raise UsageError(
            f"--shard {text}: neither {SLURM_ID} (a SLURM array) nor {KUBERNETES_INDEX} (an indexed Kubernetes job) is "
            "set; give --shard I/N"
        )
    if count is None:
        raise UsageError(
            "--shard auto: Kubernetes does not say how many parts there are; give --shard auto/N, N as `completions`"
        )
    return Shard(count, _number(environment, KUBERNETES_INDEX, text) + 1)


def _of_slurm(text: str, count: int | None, environment: Mapping[str, str]) -> Shard:
    """The place of a task in its array. Raises UsageError for an array with gaps or of another size."""
    if count is None or SLURM_COUNT in environment:
        told = _number(environment, SLURM_COUNT, text)
        if count is not None and told != count:
            raise UsageError(
                f"--shard {text}: {SLURM_COUNT} is {told}; to run some parts again give --shard I/{count} with their "
                "numbers"
            )
        count = told
    first, step = _number(environment, SLURM_MIN, text), _number(environment, SLURM_STEP, text, default=1)
    place, rest = divmod(_number(environment, SLURM_ID, text) - first, max(step, 1))
    last = _number(environment, SLURM_MAX, text, default=first + (count - 1) * step)
    if rest or last != first + (count - 1) * step:
        raise UsageError(
            f"--shard {text}: {count} tasks from {first} to {last} are an array with gaps; give --shard I/N with the "
            "number of each part"
        )
    return Shard(count, place + 1)


def _number(environment: Mapping[str, str], name: str, text: str, default: int | None = None) -> int:
    value = environment.get(name, "" if default is None else str(default)).strip()
    if not _is_number(value):
        raise UsageError(f"--shard {text}: {name} is {value!r}, expected a number; give --shard I/N")
    return int(value)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
