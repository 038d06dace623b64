"""The history buffer: fills, mixes half and half, replaces at random, and goes back to a kept state."""

from __future__ import annotations

import pytest
import torch

from refinery.training.history_buffer import HistoryBuffer


def numbered(start: int, count: int = 4) -> torch.Tensor:
    """Images that each hold one number."""
    return torch.arange(start, start + count, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def numbers(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].int().tolist()


def buffer(size: int) -> HistoryBuffer:
    return HistoryBuffer(size, torch.Generator().manual_seed(0))


def test_it_fills_by_half_a_batch_and_no_further():
    history = buffer(5)
    lengths = []
    for step in range(5):
        history.mix(numbered(10 * step))
        lengths.append(len(history))
    assert lengths == [2, 4, 5, 5, 5]


def test_the_first_batch_passes_unmixed():
    assert numbers(buffer(4).mix(numbered(0))) == [0, 1, 2, 3]


@pytest.mark.parametrize(("batch", "fresh"), [(4, 2), (5, 3), (2, 1), (1, 1)])
def test_half_is_fresh_and_half_is_past(batch, fresh):
    history = buffer(8)
    for _ in range(4):
        history.mix(numbered(0))
    mixed = numbers(history.mix(numbered(100, batch)))
    assert len(mixed) == batch
    assert mixed[:fresh] == list(range(100, 100 + fresh))
    assert all(number < 100 for number in mixed[fresh:])


def test_a_batch_never_holds_one_past_image_twice():
    history = buffer(6)
    for step in range(30):
        mixed = numbers(history.mix(numbered(10 * step, 6)))
        assert len(set(mixed)) == len(mixed)


def test_full_it_replaces_half_a_batch_at_random():
    history = buffer(6)
    for step in range(3):
        history.mix(numbered(10 * step))
    before = numbers(history.images)
    places = set()
    for step in range(3, 20):
        history.mix(numbered(10 * step))
        after = numbers(history.images)
        changed = [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert sorted(after[i] for i in changed) == [10 * step, 10 * step + 1]
        places.update(changed)
        before = after
    assert places == set(range(6))


def test_a_buffer_smaller_than_half_a_batch():
    history = buffer(1)
    for step in range(3):
        assert len(history.mix(numbered(10 * step, 6))) == 6
    assert len(history) == 1


def test_size_zero_is_no_history():
    history = buffer(0)
    assert numbers(history.mix(numbered(0))) == [0, 1, 2, 3]
    assert len(history) == 0
    assert history.state() == {"images": None}


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_state_round_trip_goes_on_the_same(steps):
    first = buffer(5)
    for step in range(steps):
        first.mix(numbered(10 * step))
    second = buffer(5)
    second.load_state(first.state())
    second.generator.set_state(first.generator.get_state())
    for step in range(steps, steps + 4):
        assert torch.equal(first.mix(numbered(10 * step)), second.mix(numbered(10 * step)))


def test_a_kept_state_does_not_change_afterwards():
    history = buffer(4)
    history.mix(numbered(0))
    kept = history.state()
    history.mix(numbered(10))
    assert numbers(kept["images"]) == [0, 1]


def test_a_state_of_another_precision_can_be_gone_on_with():
    first, second = buffer(2), buffer(2)
    first.mix(numbered(0).bfloat16())
    second.load_state(first.state())
    assert len(second.mix(numbered(10))) == 4
