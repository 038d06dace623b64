"""Export: parity with torch, deterministic bytes, what the file says about itself, and refusal beyond the tolerance."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from stream import refinery
from tiny import SIMGAN

from refinery import artifact, onnx_graph
from refinery.artifact import INPUT
from refinery.config import ExportConfig
from refinery.errors import ModelError, OutputError
from refinery.jobs.export import export
from refinery.networks import label_probe, multiscale_refiner, resnet_refiner
from refinery.onnx_export import _view_to_onnx, measure_parity, rebuild, to_onnx
from refinery.runtime.label_probe import View
from refinery.training import checkpoint
from refinery.training.methods.simgan import Settings, build_refiner
from refinery.training.probe import TrainedView

HEADS = {
    "residual": {},
    "tanh": {"head": "tanh"},
    "paper": {"head": "tanh", "padding": "zeros"},
    "wide": {"kernel": 7, "blocks": 1},
}


def write_checkpoint(folder, channels=1, bits=8, break_it=None, **changes):
    """A run folder whose refiner has random weights, so that it changes images."""
    torch.manual_seed(0)
    settings = Settings(**{**SIMGAN, **changes})
    refiner = build_refiner(channels, channels, settings)
    torch.nn.init.normal_(refiner.last.weight, std=0.1)
    torch.nn.init.constant_(refiner.last.bias, 0.01)  # one of zeros alone is left out of an exported graph
    if break_it is not None:
        break_it(refiner)
    state = {"method": "simgan", "settings": dataclasses.asdict(settings), "channels": channels, "bits": bits}
    state |= {"training": {"synthetic": {"samples": 3, "fingerprint": "f"}}, "step": 7, "refiner": refiner.state_dict()}
    checkpoint.save(folder / "checkpoints" / "best.safetensors", state)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder that has been exported."""
    folder = write_checkpoint(tmp_path_factory.mktemp("run"), channels=3, bits=16)
    export(ExportConfig(run=str(folder)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("changes", HEADS.values(), ids=HEADS)
def test_onnx_equals_torch_on_shapes_it_was_not_exported_with(changes):
    torch.manual_seed(0)
    refiner = resnet_refiner.build(1, width=8, **{"blocks": 2, **changes}).eval()
    torch.nn.init.normal_(refiner.last.weight, std=0.1)
    model = to_onnx(refiner, 1, "simgan")
    assert max(measure_parity(model, refiner, 1).values()) < 1e-5
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 8, 8), (5, 1, 35, 55), (1, 1, 101, 9)):
        images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        with torch.inference_mode():
            expected = refiner(torch.from_numpy(images)).numpy()
        assert np.abs(session.run(None, {"synthetic": images})[0] - expected).max() < 1e-5


BUILT = {
    "resnet": lambda: resnet_refiner.build(1, width=8, blocks=1),
    "multiscale, latent and tone": lambda: multiscale_refiner.build(1, width=4, latent=2, tone=True),
    "batch norm, which the exporter calculates with": lambda: resnet_refiner.build(
        1, width=4, blocks=1, latent=2, latent_as="batch_modulation"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILT.values(), ids=BUILT)
def test_a_second_network_of_one_build_has_the_bytes_of_an_export_of_its_own(build, monkeypatch):
    """Its weights are put into the first one's graph, which is quick; where that cannot be, it is exported as usual."""
    monkeypatch.setattr(onnx_graph, "_GRAPHS", {})
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = build().eval()
        for weights in network.state_dict().values():
            if weights.is_floating_point():
                weights += 0.05 * torch.rand_like(weights)
        models.append(to_onnx(network, 1, "simgan"))
    assert models[0] != models[1] == to_onnx(network, 1, "simgan", anew=True)


@pytest.mark.slow
def test_a_network_of_another_build_has_a_graph_of_its_own(monkeypatch):
    monkeypatch.setattr(onnx_graph, "_GRAPHS", {})
    residual, tanh = (resnet_refiner.build(1, width=4, blocks=1, head=head).eval() for head in ("residual", "tanh"))
    to_onnx(residual, 1, "simgan")
    assert max(measure_parity(to_onnx(tanh, 1, "simgan"), tanh, 1).values()) < 1e-5


def test_the_manifest_tells_where_the_refiner_comes_from(run):
    manifest = json.loads((run / "artifact" / "manifest.json").read_text())
    assert (manifest["method"], manifest["channels"], manifest["bits"]) == ("simgan", 3, 16)
    assert (manifest["value_range"], manifest["size_multiple"], manifest["min_side_px"]) == ([-1, 1], 1, 8)
    assert (manifest["receptive_field_px"], manifest["cell_px"]) == (11, 1)
    assert manifest["training"] == {"synthetic": {"samples": 3, "fingerprint": "f"}, "step": 7}
    assert manifest["parity"]["tolerance"] == 1e-3
    assert manifest["parity"]["max_abs"] < 1e-5
    assert len(manifest["parity"]["shapes"]) >= 4
    assert {"refinery", "torch", "onnx", "onnxruntime", "python"} == manifest["versions"].keys()


def test_the_file_is_one_file_that_says_what_it_is(run):
    assert sorted(path.name for path in (run / "artifact").iterdir()) == ["manifest.json", "refiner.onnx"]
    proto = onnx.load(run / "artifact" / "refiner.onnx")
    onnx.checker.check_model(proto, full_check=True)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata.items() >= {"refinery.method": "simgan", "refinery.channels": "3", "refinery.range": "-1 1"}.items()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert [bool(dim.dim_param) for dim in dims] == [True, False, True, True]
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("synthetic", "refined")


def test_no_path_of_this_machine_is_in_the_file(run):
    model = (run / "artifact" / "refiner.onnx").read_bytes()
    assert b"site-packages" not in model
    assert str(run).encode() not in model


@pytest.mark.slow
def test_exporting_twice_gives_the_same_bytes(run, tmp_path):
    export(ExportConfig(run=str(run), out=str(tmp_path)))
    for name in ("refiner.onnx", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (run / "artifact" / name).read_bytes()


def small_probe() -> artifact.ProbeFiles:
    """A probe of one fold that answers with its input."""
    shape = ["batch", 1, 8, 8]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["synthetic"], ["fold0"])],
        "probe",
        [onnx.helper.make_tensor_value_info("synthetic", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("fold0", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    about = {"folds": 1, "views": {"image": {"channels": 1}}, "labels": []}
    return artifact.ProbeFiles(about, {"image": model.SerializeToString()})


@pytest.fixture
def judged(tmp_path):
    """A run as training leaves it: with a label probe and thresholds of the checks; and its last checkpoint."""
    folder = write_checkpoint(tmp_path / "run")
    best, last = (folder / "checkpoints" / f"{name}.safetensors" for name in ("best", "last"))
    state = checkpoint.load(best)
    checkpoint.save(last, {**state, "refiner": {name: 0.5 * w for name, w in state["refiner"].items()}})
    export(ExportConfig(run=str(folder)))
    probe = artifact.write_probe(folder / "artifact", small_probe())
    manifest = artifact.load(folder).manifest
    judges = {"probe": probe, "check_thresholds": {"geometry.scale": 1.25}}
    artifact.write_manifest(folder / "artifact", dataclasses.replace(manifest, **judges))
    return folder


def test_what_judges_labels_goes_with_the_refiner(judged, tmp_path):
    export(ExportConfig(run=str(judged), out=str(tmp_path / "out")))
    before, after = artifact.load(judged), artifact.load(tmp_path / "out")
    assert after.manifest == before.manifest
    assert after.probe == before.probe
    assert after.manifest.check_thresholds == {"geometry.scale": 1.25}
    export(ExportConfig(run=str(judged)))
    again = artifact.load(judged)
    assert (again.manifest, again.probe) == (before.manifest, before.probe)


def test_thresholds_hold_for_the_refiner_they_were_measured_with(judged, tmp_path):
    export(ExportConfig(run=str(judged), out=str(tmp_path / "out"), checkpoint="last"))
    after = artifact.load(tmp_path / "out")
    assert after.probe == artifact.load(judged).probe
    assert after.manifest.check_thresholds == {}


def test_a_run_whose_probe_is_broken_is_exported_without_it(judged, tmp_path):
    (judged / "artifact" / "probe.onnx").write_bytes(b"")
    done = refinery("export", judged, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "exported without a label probe: " in done.stderr
    assert artifact.load(tmp_path / "out").probe is None


def test_a_run_that_was_exported_before_is_not_traced_again(run, tmp_path, monkeypatch):
    """Also in another process, which has exported nothing yet; `last` has other weights than the artifact."""
    last, best = (run / "checkpoints" / f"{name}.safetensors" for name in ("last", "best"))
    state = checkpoint.load(best)
    checkpoint.save(last, {**state, "refiner": {name: 2 * value for name, value in state["refiner"].items()}})
    monkeypatch.setattr(onnx_graph, "_GRAPHS", {})
    monkeypatch.setattr(torch.onnx, "export", None)
    export(ExportConfig(run=str(run), out=str(tmp_path / "again.onnx")))
    export(ExportConfig(run=str(run), out=str(tmp_path / "last.onnx"), checkpoint="last"))
    last.unlink()
    before = (run / "artifact" / artifact.MODEL_FILE).read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == before
    assert (tmp_path / "last.onnx").read_bytes() != before


def test_a_graph_that_answers_otherwise_is_not_taken(tmp_path, monkeypatch):
    """Weights of one's names and shapes in the graph of a network that is built otherwise."""
    torch.manual_seed(0)
    monkeypatch.setattr(onnx_graph, "_GRAPHS", {})
    other = to_onnx(resnet_refiner.build(1, width=8, blocks=1, head="residual").eval(), 1, "simgan")
    write_checkpoint(tmp_path, width=8, blocks=1, refiner="resnet_refiner", head="tanh")
    artifact_folder = tmp_path / "artifact"
    artifact_folder.mkdir()
    (artifact_folder / artifact.MODEL_FILE).write_bytes(other)
    artifact.write_manifest(
        artifact_folder, artifact.Manifest(method="simgan", model_sha256=hashlib.sha256(other).hexdigest())
    )
    monkeypatch.setattr(onnx_graph, "_GRAPHS", {})
    result = export(ExportConfig(run=str(tmp_path), out=str(tmp_path / "own.onnx")))
    refiner = rebuild(checkpoint.load(tmp_path / "checkpoints" / "best.safetensors"))
    assert max(measure_parity((tmp_path / "own.onnx").read_bytes(), refiner, 1).values()) < 1e-5
    assert result["manifest"]["parity"]["max_abs"] < 1e-5


@pytest.mark.slow
def test_one_onnx_file_needs_no_manifest(run, tmp_path):
    result = export(ExportConfig(run=str(run / "checkpoints" / "best.safetensors"), out=str(tmp_path / "eyes.onnx")))
    assert [path.name for path in tmp_path.iterdir()] == ["eyes.onnx"]
    assert result["model"] == str(tmp_path / "eyes.onnx")
    assert artifact.load(tmp_path / "eyes.onnx").manifest.channels == 3


@pytest.mark.slow
def test_beyond_the_tolerance_nothing_is_written(run, tmp_path):
    with pytest.raises(ModelError, match=r"ONNX and torch differ by .* at .*, more than the tolerance 0\.00e\+00"):
        export(ExportConfig(run=str(run), out=str(tmp_path / "out"), tolerance=0.0))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_refiner_that_gives_nan_is_not_exported(tmp_path):
    write_checkpoint(tmp_path, break_it=lambda refiner: torch.nn.init.constant_(refiner.last.bias, float("nan")))
    with pytest.raises(ModelError, match="differ by nan"):
        export(ExportConfig(run=str(tmp_path), tolerance=1e9))


@pytest.mark.parametrize(
    "changes",
    [{"method": "nomethod"}, {"channels": 3}, {"settings": {"width": 16}}, {"settings": None}, {"refiner": {}}],
)
def test_a_checkpoint_that_contradicts_itself_is_one_line(tmp_path, changes):
    path = write_checkpoint(tmp_path) / "checkpoints" / "best.safetensors"
    checkpoint.save(path, {**checkpoint.load(path), **changes})
    with pytest.raises(Exception, match=r"does not fit its own settings|no method named") as caught:
        export(ExportConfig(run=str(tmp_path)))
    assert caught.value.exit_code in (1, 2)


@pytest.mark.parametrize("key", ["method", "settings", "channels", "refiner"])
def test_a_checkpoint_that_lacks_something_is_one_line(tmp_path, key):
    path = write_checkpoint(tmp_path) / "checkpoints" / "best.safetensors"
    checkpoint.save(path, {k: v for k, v in checkpoint.load(path).items() if k != key})
    with pytest.raises(ModelError, match="does not fit its own settings"):
        rebuild(checkpoint.load(path))


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("best", "no checkpoints/best.safetensors; is it a run folder"),
        ("last", "no checkpoints/last.safetensors; is it"),
    ],
)
def test_no_run_there(tmp_path, which, message):
    with pytest.raises(ModelError, match=message):
        export(ExportConfig(run=str(tmp_path), checkpoint=which))


def test_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="the artifact cannot be written"):
        export(ExportConfig(run=str(run), out=str(tmp_path / "file" / "artifact")))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"points": 1, "dense": 9}, {"points": 2, "dense": 3, "regions": 3}])
def test_an_exported_probe_answers_the_same_bits_wherever_an_image_stands_in_its_batch(settings):
    torch.manual_seed(0)
    probe = label_probe.build(1, **settings, canvas_hw=(36, 60)).eval()
    view = TrainedView(None, View((36, 60), 1, ()), ((probe,),))
    session = onnxruntime.InferenceSession(_view_to_onnx("image", view, 1e-3), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).uniform(-1, 1, (16, 1, 36, 60)).astype(np.float32)

    def ask(some):
        return session.run(None, {INPUT: some})[0]

    together = ask(images)
    assert np.array_equal(np.concatenate([ask(images[i : i + 1]) for i in range(16)]), together)
    assert np.array_equal(np.roll(ask(np.roll(images, 3, axis=0)), -3, axis=0), together)
