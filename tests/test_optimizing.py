"""Optimisers, schedules, the clipped update and the running mean of weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refinery.training.averages import RunningMean
from refinery.training.optimizing import Schedule, make_optimizer, set_rate, update


def line(weight: float = 1.0) -> nn.Linear:
    """y = weight x, two weights of the same value."""
    network = nn.Linear(2, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    return network


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(8, decay=0.0), [1] * 8),
        (Schedule(8, decay=0.5), [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        (Schedule(8, decay=1.0), [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        (Schedule(8, decay=0.5, shape="cosine"), [1, 1, 1, 1, 1, 0.853553, 0.5, 0.146447]),
        (Schedule(8, decay=0.0, warmup=4), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        (Schedule(8, decay=0.0, warmup=2, begin=3), [1, 1, 1, 0.5, 1, 1, 1, 1]),
    ],
)
def test_rates_by_step(schedule, expected):
    assert [schedule.rate(3.0, step) / 3 for step in range(8)] == pytest.approx(expected, abs=1e-6)


def test_sgd_goes_down_the_gradient_at_the_rate_that_was_set():
    network = line()
    optimizer = make_optimizer("sgd", network, 5.0)
    set_rate(optimizer, 0.1)
    update(optimizer, network(torch.tensor([[3.0, 4.0]])).sum())
    assert network.weight[0].tolist() == pytest.approx([1 - 0.3, 1 - 0.4])


@pytest.mark.parametrize(("clip", "factor"), [(0.0, 1.0), (10.0, 1.0), (5.0, 1.0), (1.0, 0.2)])
def test_a_gradient_longer_than_clip_is_shortened_to_it(clip, factor):
    """The gradient is (3, 4), 5 long."""
    network = line()
    update(make_optimizer("sgd", network, 0.1), network(torch.tensor([[3.0, 4.0]])).sum(), clip)
    assert network.weight[0].tolist() == pytest.approx([1 - 0.3 * factor, 1 - 0.4 * factor], abs=1e-5)


def test_adam_takes_its_betas():
    optimizer = make_optimizer("adam", line(), 1e-3, (0.0, 0.9))
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)
    assert make_optimizer("adam", line(), 1e-3).param_groups[0]["betas"] == (0.5, 0.999)


def test_an_update_reaches_its_own_network_alone():
    first, second = line(), nn.Linear(1, 1)
    update(make_optimizer("adam", first, 0.1), second(first(torch.ones(1, 2))).sum())
    assert first.weight.grad is not None
    assert second.weight.grad is None


def test_the_mean_by_hand():
    """Weights of the past: 2/11, then 3/12; never more than 0.2."""
    trained = line(0.0)
    mean = RunningMean(trained, 0.2)
    for weight, expected in ((11.0, 9.0), (1.0, 0.2 * 9 + 0.8 * 1)):
        nn.init.constant_(trained.weight, weight)
        mean.update()
        assert mean.network.weight[0].tolist() == pytest.approx([expected] * 2)


def test_without_a_past_the_mean_is_the_network():
    trained = line()
    mean = RunningMean(trained, 0.0)
    mean.update()
    assert mean.network is trained
    assert mean.updates == 0


def test_buffers_are_copied():
    trained = nn.BatchNorm2d(1)
    mean = RunningMean(trained, 0.99)
    trained(torch.full((2, 1, 2, 2), 7.0))
    mean.update()
    assert torch.equal(mean.network.running_mean, trained.running_mean)


def test_a_kept_mean_goes_on_the_same():
    trained = line(0.0)
    first, second = RunningMean(trained, 0.9), RunningMean(trained, 0.9)
    nn.init.constant_(trained.weight, 1.0)
    first.update()
    second.load_state(first.state())
    for mean in (first, second):
        mean.update()
    assert torch.equal(first.network.weight, second.network.weight)


def test_a_gradient_that_lies_otherwise_in_memory_updates_as_it_should():
    start, slope = torch.rand(6, 4, 3, 3), torch.rand(6, 4, 3, 3)
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = torch.nn.Conv2d(4, 6, 3, bias=False).to(memory_format=layout)
        with torch.no_grad():
            network.weight.copy_(start)
        optimizer = make_optimizer("adam", network, 0.1)
        for _ in range(3):
            update(optimizer, (network.weight.contiguous() * slope).square().sum())
        ends.append(network.weight.detach().clone())
    assert torch.allclose(ends[0], ends[1], atol=1e-6)
