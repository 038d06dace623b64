"""Models from elsewhere whose file fixes batch, height or width: said when loaded, and heeded."""

from __future__ import annotations

import json

import pytest
from conftest import png
from models import model
from onnx import TensorProto, helper
from stream import error_of, manifest, refine, scene, write_scenes

from refinery.artifact import load
from refinery.errors import ModelError

FLOAT = TensorProto.FLOAT


def image(name: str, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, list(shape))


def fixed(folder, *shape, kind=FLOAT, out=None):
    """A model on disk that takes and makes (batch, channels, height, width) as given."""
    folder.mkdir(exist_ok=True)
    path = folder / "foreign.onnx"
    taken, made = image("synthetic", *shape, kind=kind), image("refined", *(out or shape), kind=kind)
    path.write_bytes(model(inputs=[taken], outputs=[made]))
    return path


SHAPES = {
    "all": ((1, 1, 48, 64), "64x48 px only, 1 at once"),
    "height and width": (("b", 1, 48, 64), "64x48 px only"),
    "width": (("b", 1, "h", 64), "64xany px only"),
    "batch": ((3, 1, "h", "w"), "3 at once"),
}


@pytest.mark.parametrize(("shape", "said"), SHAPES.values(), ids=SHAPES)
def test_what_is_fixed_is_said_and_images_that_fit_are_refined(tmp_path, shape, said):
    done = refine(write_scenes(tmp_path / "in", 5), tmp_path / "out", fixed(tmp_path / "model", *shape), "--no-check")
    assert done.exit_code == 0, done.stderr
    assert said in " ".join(done.stderr.split())
    assert len(list((tmp_path / "out").glob("*.png"))) == 5


@pytest.mark.parametrize("shape", [(1, 1, 48, 64), ("b", 1, 48, 64), ("b", 1, 48, "w")])
def test_a_sample_of_another_size_is_rejected_by_name_and_the_others_go_on(tmp_path, shape):
    source = write_scenes(tmp_path / "in", 5)
    (source / "0003.png").write_bytes(png(scene(0, size_hw=(90, 70))[0]))
    done = refine(source, tmp_path / "out", fixed(tmp_path / "model", *shape), "--json", "--no-check")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["rejected"] == 1
    line = manifest(tmp_path / "out")["0003.png"]
    only = "anyx48" if shape[3] == "w" else "64x48"
    assert line["error"].startswith(f"0003.png: 70x90 px; the model takes {only} px only")
    assert (tmp_path / "out/0003.png").read_bytes() == (source / "0003.png").read_bytes()


def test_a_batch_size_that_is_asked_for_gives_way_to_the_one_that_is_fixed(tmp_path):
    source = write_scenes(tmp_path / "in", 4)
    done = refine(source, tmp_path / "out", fixed(tmp_path / "model", 1, 1, 48, 64), "--batch-size", 4, "--no-check")
    assert done.exit_code == 0, done.stderr


REFUSED = {
    "channels last": ({"shape": ("b", 48, 64, 3)}, "has channels last (batch, height, width, channels)"),
    "channels last, sizes open": ({"shape": ("b", "h", "w", 1)}, "has channels last"),
    "half precision": ({"shape": ("b", 1, "h", "w"), "kind": TensorProto.FLOAT16}, "but float16 (b, 1, h, w)"),
    "bytes": ({"shape": ("b", 1, "h", "w"), "kind": TensorProto.UINT8}, "but uint8 (b, 1, h, w)"),
    "four channels": ({"shape": ("b", 4, "h", "w")}, "takes 4 channels"),
    "another size out": (
        {"shape": ("b", 1, 48, 64), "out": ("b", 1, 96, 128)},
        "makes images of 128x96 px of 64x48 px",
    ),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_refiner_is_refused_when_loaded(tmp_path, given, message):
    path = fixed(tmp_path / "model", *given.pop("shape"), **given)
    with pytest.raises(ModelError) as refused:
        load(path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_model_that_fails_names_the_sample_it_fails_on(tmp_path):
    """Its file leaves sizes open, and a layer inside takes one width: not the first sample is named, but that one."""
    nodes = [
        helper.make_node("Reshape", ["synthetic", "shape"], ["flat"]),
        helper.make_node("Shape", ["synthetic"], ["size"]),
        helper.make_node("Reshape", ["flat", "size"], ["refined"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 1, 24, 128])
    (tmp_path / "foreign.onnx").write_bytes(model(nodes, initialisers=[shape]))
    source = write_scenes(tmp_path / "in", 4)
    (source / "0002.png").write_bytes(png(scene(0, size_hw=(48, 65))[0]))
    done = refine(source, tmp_path / "out", tmp_path / "foreign.onnx", "--no-check")
    assert done.exit_code == 1
    assert "the model failed on 0002.png, 65x48 px" in error_of(done)
