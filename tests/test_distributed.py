"""Two processes learn what one would learn from both their batches; the first one writes, and all of them go on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_train import same_tensors, state
from tiny import SIMGAN, datasets, train_config

from refinery.errors import ProviderError, UsageError
from refinery.jobs.train import train
from refinery.training import distributed
from refinery.training.optimizing import make_optimizer, update

ONE_UPDATE = """
import os, sys, torch
sys.path.insert(0, sys.argv[1])
from test_distributed import one_update
from refinery.training import distributed
distributed.begin()
weights = one_update(distributed.rank(), distributed.size())
other = distributed.gathered(weights)
if distributed.is_first():
    assert len(other) == 2 and torch.equal(other[0], other[1]), "both processes have the same weights"
    torch.save(weights, sys.argv[2])
distributed.end()
os._exit(0)  # as the command line does: torch can abort a process that ends right behind its last exchange
"""


RUN = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny import SIMGAN, Recorder, train_config
from refinery.jobs.train import train
from refinery.training import distributed

class Dying(Recorder):
    def progress(self, record, total):
        if record["done"] == int(sys.argv[4]) and not distributed.restarted():
            os._exit(9)

result = train(train_config(Path(sys.argv[2]), sys.argv[3], probe=False, guide_steps=0), SIMGAN, observer=Dying())
sys.stdout.write(f"RESULT {result.get('steps', 'nothing')}\\n")  # in one piece: two processes share the pipe
"""
TESTS = str(Path(__file__).parent)


def one_update(rank: int, size: int) -> torch.Tensor:
    """The weights of a small network after one update on this process's share of eight images."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, 3))
    images = torch.rand(8, 1, 9, 9).chunk(size)[rank]
    update(make_optimizer("sgd", network, 0.1), network(images).square().mean())
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def torchrun(*command: str, restarts: int = 0) -> subprocess.CompletedProcess:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*start, "--max-restarts", str(restarts), *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_alone_nothing_is_exchanged():
    gradient = torch.ones(3)
    distributed.average([gradient])
    assert torch.equal(gradient, torch.ones(3))
    assert (distributed.rank(), distributed.size(), distributed.is_first()) == (0, 1, True)
    assert distributed.agreed("minutes") == "minutes"
    assert distributed.gathered(5) == [5]


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_the_joint_batch(tmp_path):
    script, found = tmp_path / "update.py", tmp_path / "weights.pt"
    script.write_text(ONE_UPDATE)
    done = torchrun(str(script), TESTS, str(found))
    assert done.returncode == 0, done.stderr
    assert torch.allclose(torch.load(found), one_update(0, 1), atol=1e-6)


@pytest.mark.slow
def test_a_run_whose_process_died_is_restarted_and_ends_as_one_that_did_not(tmp_path):
    datasets(tmp_path)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    whole = torchrun(str(script), TESTS, str(tmp_path), "whole", "0")
    assert whole.returncode == 0, whole.stderr
    assert sorted(line for line in whole.stdout.splitlines() if "RESULT" in line) == ["RESULT 12", "RESULT nothing"]
    died = torchrun(str(script), TESTS, str(tmp_path), "died", "6", restarts=1)
    assert died.returncode == 0, died.stderr
    kept, resumed = (state(tmp_path, out) for out in ("whole", "died"))
    assert same_tensors(kept["method_state"], resumed["method_state"])
    assert same_tensors(kept["processes"], resumed["processes"])
    first, second = (own["method"]["history"]["images"] for own in kept["processes"])
    assert not torch.equal(first, second), "each process has its own history"


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setattr(distributed, "agreed", lambda value: value)
    with pytest.raises(UsageError, match=r"--batch-size 4: cannot be shared evenly by 3 processes"):
        train(train_config(tmp_path, "shared", guide_steps=0), SIMGAN)


ALONE = [{}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": " 1 ", "RANK": "0"}]


@pytest.mark.parametrize("environment", ALONE)
def test_an_empty_world_size_is_none(environment):
    assert distributed.place_among_others(environment) is None


TWO = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
SENSELESS = {
    "not a number": ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; expected a whole number"),
    "none": ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
    "below none": ({"WORLD_SIZE": "-2"}, "WORLD_SIZE is '-2'"),
    "no rank": ({"RANK": ""}, "RANK is not set"),
    "a rank beyond": ({"RANK": "2"}, "RANK is 2, but WORLD_SIZE is 2"),
    "no address": ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
    "no port": ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http'"),
}


@pytest.mark.parametrize(("change", "message"), SENSELESS.values(), ids=SENSELESS)
def test_an_environment_that_makes_no_sense_is_one_line(change, message):
    with pytest.raises(UsageError, match=message):
        distributed.place_among_others({**TWO, **change})


def test_who_meets_where():
    assert distributed.place_among_others(TWO) == distributed.Place(1, 2, "10.0.0.1", 29500, False)
    first = {**TWO, "RANK": "0"}
    assert distributed.place_among_others(first) == distributed.Place(0, 2, "10.0.0.1", 29500, True)
    torchruns = distributed.place_among_others({**first, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert torchruns == distributed.Place(0, 2, "10.0.0.1", 29500, False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(("rank", "missing"), [(0, "process 1, 2 of 3"), (1, "process 0 of 3")])
def test_waiting_for_processes_that_never_come_says_for_whom_and_ends(rank, missing, monkeypatch):
    monkeypatch.setattr(distributed, "QUIET_S", 0)
    port, said = free_port(), []
    with pytest.raises(ProviderError, match=f"waited 0.005 minutes for {missing}.* at 127.0.0.1:{port}; start"):
        distributed.meet(distributed.Place(rank, 3, "127.0.0.1", port, rank == 0), 0.3, said.append)
    assert said == [f"waiting for {missing} (RANK, from 0) at 127.0.0.1:{port}"]
