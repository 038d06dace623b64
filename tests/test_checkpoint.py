"""Checkpoints: what goes in comes out, and nothing foreign is read."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from refinery.errors import ModelError
from refinery.training import checkpoint


def round_trip(tmp_path, state):
    checkpoint.save(tmp_path / "c.safetensors", state)
    return checkpoint.load(tmp_path / "c.safetensors")


def test_plain_values_round_trip(tmp_path):
    state = {"none": None, "int": 3, "big": 2**40, "float": 0.1, "text": "é", "yes": True, "list": [1, [2, {}], []]}
    state |= {"dict": {7: "int key", "a/b": 1}, "tuple": (0.5, 0.999)}
    assert round_trip(tmp_path, state) == {**state, "tuple": [0.5, 0.999]}


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(2, 3),
        torch.tensor(3.0),
        torch.zeros(0, 4),
        torch.arange(5),
        torch.randn(3, 2).bfloat16(),
        torch.tensor([True, False]),
        torch.randn(4, 6).t(),
        torch.Generator().manual_seed(3).get_state(),
    ],
)
def test_tensors_round_trip(tmp_path, tensor):
    loaded = round_trip(tmp_path, {"deep": [{"x": tensor}]})["deep"][0]["x"]
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded, tensor)


def test_tensors_of_alike_places_stay_apart(tmp_path):
    loaded = round_trip(tmp_path, {"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}, "": torch.tensor(3)})
    assert (int(loaded["a/b"]), int(loaded["a"]["b"]), int(loaded[""])) == (1, 2, 3)


def test_shared_and_sliced_memory_round_trips(tmp_path):
    whole = torch.arange(10.0)
    loaded = round_trip(tmp_path, {"all": whole, "part": whole[2:4], "again": whole})
    assert torch.equal(loaded["part"], whole[2:4])
    assert torch.equal(loaded["again"], whole)


def test_memory_order_is_kept_since_fused_optimisers_pair_by_it(tmp_path):
    weights = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    loaded = round_trip(tmp_path, {"last": weights, "first": weights.contiguous()})
    assert loaded["last"].stride() == weights.stride()
    assert loaded["first"].is_contiguous()
    assert torch.equal(loaded["last"], weights)


def test_a_generator_goes_on_where_it_was(tmp_path):
    generator = torch.Generator().manual_seed(5)
    torch.rand(7, generator=generator)
    state = round_trip(tmp_path, {"generator": generator.get_state()})
    expected = torch.rand(4, generator=generator)
    generator.set_state(state["generator"])
    assert torch.equal(torch.rand(4, generator=generator), expected)


def test_saving_over_a_checkpoint_leaves_one_file(tmp_path):
    for step in (1, 2):
        state = round_trip(tmp_path, {"step": step})
    assert state == {"step": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


class Trap:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return (print, ("executed",))


def with_header(path, header) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    save_file({"w": torch.zeros(1)}, path, metadata={"refinery": text})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.touch() or path.unlink(), "no such checkpoint"),
        (lambda path: path.mkdir(), "not a refinery checkpoint"),
        (lambda path: path.write_bytes(b""), "not a refinery checkpoint"),
        (lambda path: path.write_bytes(b"\xff" * 64), "not a refinery checkpoint"),
        (lambda path: path.write_bytes(pickle.dumps(Trap())), "pickled files are never read"),
        (lambda path: torch.save({"w": Trap()}, path), "pickled files are never read"),
        (lambda path: save_file({"w": torch.zeros(1)}, path), "checkpoint version None, this refinery reads 2"),
        (lambda path: with_header(path, {"version": 9, "state": {}}), "checkpoint version 9, this refinery reads 2"),
        (lambda path: with_header(path, "{"), "not a refinery checkpoint"),
        (lambda path: with_header(path, [1]), "not a refinery checkpoint"),
        (lambda path: with_header(path, {"version": 2}), "a broken checkpoint"),
        (lambda path: with_header(path, {"version": 2, "state": {"tensor": "other"}}), "a broken checkpoint"),
        (lambda path: with_header(path, {"version": 2, "state": {"value": 3}}), "a broken checkpoint"),
        (lambda path: with_header(path, {"version": 2, "state": {"dict": [3]}}), "a broken checkpoint"),
        (lambda path: with_header(path, '{"version": 2, "state": ' + '{"list": [' * 5000), "not a refinery checkpoint"),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, write, message, capsys):
    path = tmp_path / "c.safetensors"
    write(path)
    with pytest.raises(ModelError) as caught:
        checkpoint.load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_a_checkpoint_cut_short_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"w": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="not a refinery checkpoint"):
        checkpoint.load(path)
