"""Artifacts: where they are found, and what is refused in a file from a stranger."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from models import model, write_artifact
from onnx import TensorProto, helper, numpy_helper

from refinery import artifact
from refinery.artifact import ModelShape, inspect_onnx, load, newest_run, resolve
from refinery.errors import ModelError


def external() -> TensorProto:
    tensor = numpy_helper.from_array(np.array(0.5, np.float32), "outside")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../etc/passwd"), ("offset", "0"), ("length", "4")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def image(name: str, *shape: object, kind: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, list(shape))


def in_branch(*nodes, initialisers=()) -> list:
    """The nodes inside both branches of an If."""
    graph = helper.make_graph(list(nodes), "branch", [], [image("chosen", "b", 1, "h", "w")], list(initialisers))
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    return [yes, helper.make_node("If", ["yes"], ["refined"], then_branch=graph, else_branch=graph)]


MUL = helper.make_node("Mul", ["synthetic", "outside"], ["refined"])
CONSTANT = helper.make_node("Constant", [], ["outside"], value=external())
CUSTOM = helper.make_node("Evil", ["synthetic"], ["refined"], domain="com.stranger")
INNER_MUL = helper.make_node("Mul", ["synthetic", "outside"], ["chosen"])
INNER_CUSTOM = helper.make_node("Evil", ["synthetic"], ["chosen"], domain="com.stranger")
SPARSE = helper.make_sparse_tensor(external(), helper.make_tensor("at", TensorProto.INT64, [1], [0]), [1])
FUNCTION = helper.make_function(
    "own", "Half", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 18)]
)

REFUSED = {
    "garbage": (b"\x00\x01garbage", "not an ONNX file"),
    "pickle": (pickle.dumps({"a": 1}), "not an ONNX file"),
    "text": (b"<html></html>", "not an ONNX file"),
    "external data": (model([MUL], initialisers=[external()]), "keeps weights in other files"),
    "external constant": (model([CONSTANT, MUL]), "keeps weights in other files"),
    "external sparse constant": (
        model([helper.make_node("Constant", [], ["outside"], sparse_value=SPARSE), MUL]),
        "keeps weights in other files",
    ),
    "external data in a branch": (
        model(in_branch(INNER_MUL, initialisers=[external()])),
        "keeps weights in other files",
    ),
    "external constant in a branch": (model(in_branch(CONSTANT, INNER_MUL)), "keeps weights in other files"),
    "custom operator": (model([CUSTOM], domains=("", "com.stranger")), r"uses operators of com\.stranger"),
    "custom operator undeclared": (model([CUSTOM]), r"uses operators of com\.stranger"),
    "custom operator in a branch": (model(in_branch(INNER_CUSTOM)), r"uses operators of com\.stranger"),
    "own function": (model(functions=[FUNCTION]), "defines operators of its own"),
    "two inputs": (
        model(inputs=[image("synthetic", "b", 1, "h", "w"), image("noise", "b", 1, "h", "w")]),
        r"2 input\(s\) and 1 output\(s\); a refiner has one of each",
    ),
    "latent of an image's shape": (
        model(inputs=[image("synthetic", "b", 1, "h", "w"), image("latent", "b", 1, "h", "w")]),
        "its input 'latent' is not a float batch",
    ),
    "latent left open": (
        model(inputs=[image("synthetic", "b", 1, "h", "w"), image("latent", "b", "z")]),
        "its input 'latent' is not a float batch",
    ),
    "three dimensions": (model(inputs=[image("synthetic", 1, "h", "w")]), "not a float image batch"),
    "bytes": (model(inputs=[image("synthetic", "b", 1, "h", "w", kind=TensorProto.UINT8)]), "not a float image batch"),
    "four channels": (model(channels=4), "takes 4 channels; refinery refines gray"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_stranger_could_send(tmp_path, data, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_no_model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize(("channels", "found"), [(1, 1), (3, 3), ("c", 0)])
def test_channels_are_read_from_the_model(channels, found):
    assert inspect_onnx(model(channels=channels), "model.onnx").channels == found


def test_latent_numbers_are_read_from_the_model():
    inputs = [image("synthetic", "b", 1, "h", "w"), image("latent", "b", 4)]
    assert inspect_onnx(model(inputs=inputs), "model.onnx") == ModelShape(1, 1, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_sha256": "0" * 64}, "is not the file its manifest.json describes"),
        ({"channels": 3}, r"takes 1 channel\(s\), but its manifest.json says 3"),
        ({"version": 2}, "manifest version 2, this refinery reads 1"),
    ],
)
def test_a_manifest_that_does_not_belong_to_the_model(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        load(write_artifact(tmp_path, **changes))


def test_a_model_changed_by_one_byte_is_refused(tmp_path):
    path = write_artifact(tmp_path) / "refiner.onnx"
    path.write_bytes(path.read_bytes().replace(b"refiner", b"refinex"))
    with pytest.raises(ModelError, match="hash differs"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "\xff",
        '{"channels": "1"}',
        '{"channels": 7}',
        '{"channels": null}',
        '{"parity": []}',
        '{"parity": {"max_abs": "small"}}',
        '{"training": "none"}',
        '{"versions": 3}',
        '{"min_side_px": "8"}',
        '{"model_sha256": 3}',
        '{"value_range": 1}',
        "[" * 100_000,
    ],
)
def test_a_manifest_that_is_none(tmp_path, text):
    write_artifact(tmp_path)
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="not a refinery manifest"):
        load(tmp_path)


def test_a_manifest_may_say_more_than_is_known(tmp_path):
    write_artifact(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "added_later": 1}))
    assert load(tmp_path).manifest.channels == 1


def test_a_manifest_may_say_less(tmp_path):
    write_artifact(tmp_path)
    (tmp_path / "manifest.json").write_text('{"channels": 1}')
    assert load(tmp_path).manifest.value_range == (-1, 1)


def test_a_model_alone_needs_no_manifest(tmp_path):
    (tmp_path / "eyes.onnx").write_bytes(model(channels=3))
    (tmp_path / "manifest.json").write_text("of another model")
    loaded = load(tmp_path / "eyes.onnx")
    assert (loaded.manifest.channels, loaded.manifest.method) == (3, "unknown")


def test_a_model_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ModelError, match="refinery reads models up to 10"):
        load(write_artifact(tmp_path))


def test_where_models_are_looked_for(tmp_path):
    run = tmp_path / "run"
    file = write_artifact(run / "artifact") / "refiner.onnx"
    assert resolve(run) == resolve(run / "artifact") == resolve(file) == file


@pytest.mark.parametrize(
    ("folders", "message"), [((), "no model there"), (("checkpoints",), "is not finished; resume it")]
)
def test_no_model_there(tmp_path, folders, message):
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(ModelError, match=message):
        resolve(tmp_path)


def test_the_newest_run_is_the_one_finished_last(tmp_path):
    for name, time in (("a", 300), ("b", 200), ("unfinished", 400), ("without-artifact", 500)):
        if name != "without-artifact":
            write_artifact(tmp_path / name / "artifact")
        if name != "unfinished":
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "summary.json").write_text("{}")
            os.utime(tmp_path / name / "summary.json", (time, time))
    assert newest_run(tmp_path).name == "a"


def test_no_run_at_all(tmp_path):
    with pytest.raises(ModelError, match="no finished run under"):
        newest_run(tmp_path / "runs")
