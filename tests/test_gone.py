"""Gone is gone: an image, or a label's place in it, of which nothing is left is a fail and never a doubt."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import models
import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from PIL import Image
from stream import error_of, manifest, refine, refine_json, refinery, scene, tree_of, write_refiner, write_scenes
from tiny import SIMGAN, Recorder, datasets, train_config

from refinery.checks import CheckContext, calibrate, is_gone, overall, run_checks
from refinery.checks import _run as running
from refinery.errors import TrainingError
from refinery.image import from_float, to_float
from refinery.jobs.train import train
from refinery.report.text import breakdown_sentences, drift_rows
from refinery.runtime.value_range import range_problem
from refinery.sample import Label, Pair, Sample
from refinery.training.diagnosis import delivery_sentence
from refinery.training.drift_meter import Control, DriftMeter, worst
from refinery.training.validation import MAX_FAILED, Evaluation

Change = Callable[[np.ndarray], np.ndarray]
DRAW = np.random.default_rng(0)


def noise(image: np.ndarray, levels: float) -> np.ndarray:
    return DRAW.normal(0, levels / 127.5, image.shape)


def shading(image: np.ndarray, strength: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    return np.broadcast_to(strength * (x + 0.5 * y**2)[..., None], image.shape)


def jpeg(image: np.ndarray, quality: int = 60) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(from_float(image.astype(np.float32), 8).squeeze()).save(out, "JPEG", quality=quality)
    return to_float(np.asarray(Image.open(out))).reshape(image.shape)


def blurred(image: np.ndarray, times: int = 8) -> np.ndarray:
    for _ in range(times):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        image = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    return image


GONE: dict[str, Change] = {
    "black": lambda x: 0 * x - 1,
    "white": lambda x: 0 * x + 1,
    "mid-gray": lambda x: 0 * x,
    "NaN made zero": lambda x: np.nan_to_num(0 * x + np.nan),
    "one level of noise": lambda x: 0 * x - 0.3 + noise(x, 1),
    "noise of a sensor": lambda x: 0 * x - 0.3 + noise(x, 4),
    "dark noise": lambda x: 0 * x - 0.98 + abs(noise(x, 2)),
    "loud noise": lambda x: 0 * x + noise(x, 30),
    "JPEG of a noisy gray": lambda x: jpeg(0 * x - 0.3 + noise(x, 4)),
    "faint shading": lambda x: 0 * x + shading(x, 0.02),
    "strong shading": lambda x: 0 * x + shading(x, 0.4),
    "clipped, from 0 to 255": lambda x: 127.5 * (x + 1),
    "a hundredth of its contrast": lambda x: -0.9 + 0.01 * x,
}
HONEST: dict[str, Change] = {
    "identical": lambda x: x,
    "a tenth of its contrast": lambda x: -0.8 + 0.1 * x,
    "dark": lambda x: (x + 1) * 0.2 - 1,
    "bright": lambda x: 0.7 + 0.25 * x,
    "negative": lambda x: -x,
    "blurred": blurred,
    "noisy": lambda x: x + noise(x, 13),
    "coarse JPEG": lambda x: jpeg(x, 20),
    "shaded": lambda x: 0.5 * x + shading(x, 0.3),
    "half of it negative": lambda x: np.where(np.arange(x.shape[1])[:, None] < x.shape[1] // 2, x, -x),
}
LABELS = (
    Label("kind", "class", np.zeros(0), "flip", text="disc"),
    Label("size", "number", np.array([3.0]), ""),
    Label("gaze", "vector", np.array([0.0, 0.0, 1.0]), "deg"),
    Label("caption", "text", np.zeros(0), "", text="a disc"),
    Label("range", "depth", np.zeros(0), ""),
)


def pair(seed: int, change: Change, *labels: Label, channels: int = 1, disc: bool = True) -> Pair:
    """A scene and what a refiner made of it, quantised to 8 bits as it would be delivered."""
    pixels, where = scene(seed, channels)
    source = to_float(pixels.reshape(*pixels.shape[:2], channels))
    refined = to_float(from_float(np.clip(change(source), -1, 1).astype(np.float32), 8))
    centre = Label("disc.center", "keypoint", np.array(where["center"]), extent_px=where["radius"])
    return Pair(Sample(str(seed), f"{seed}.png"), source, refined, ((centre,) if disc else ()) + labels)


def context(pairs: list[Pair]) -> CheckContext:
    return CheckContext().with_decoys((one.sample.key, one.synthetic) for one in pairs)


# The verdicts


@pytest.mark.parametrize("change", GONE.values(), ids=GONE)
@pytest.mark.parametrize("calibrated", [False, True], ids=["", "calibrated on itself"])
def test_every_label_of_a_picture_that_is_gone_fails_whatever_its_type(change, calibrated):
    pairs = [pair(seed, change, *LABELS) for seed in range(12)]
    judge = calibrate(pairs, context(pairs)) if calibrated else context(pairs)
    for findings in run_checks(pairs, judge):
        verdicts = {one.label: one.verdict for one in findings}
        assert is_gone(findings)
        assert {name: verdicts[name] for name in ("disc.center", *(label.name for label in LABELS))} == dict.fromkeys(
            ("disc.center", *(label.name for label in LABELS)), "fail"
        )
        assert overall(findings) == "fail"


@pytest.mark.parametrize("change", GONE.values(), ids=GONE)
def test_a_picture_without_labels_that_is_gone_fails(change):
    pairs = [pair(seed, change, disc=False) for seed in range(6)]
    for findings in run_checks(pairs, context(pairs)):
        assert overall(findings) == "fail"
        assert all(one.reason.startswith("gone: ") for one in findings if one.label in ("evidence", "image"))


@pytest.mark.parametrize("change", HONEST.values(), ids=HONEST)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_honest_look_is_called_gone(change, channels):
    if channels == 3 and change is HONEST["half of it negative"]:
        change = HONEST["negative"]
    pairs = [pair(seed, change, *LABELS, channels=channels) for seed in range(12)]
    for findings in run_checks(pairs, context(pairs)):
        assert not any(one.reason.startswith("gone") for one in findings)


def test_another_picture_is_the_wrong_one_and_not_a_flat_one():
    for seed in range(12):
        other = pair(seed + 1, HONEST["identical"])
        (findings,) = run_checks([replace(pair(seed, HONEST["identical"]), refined=other.synthetic)], CheckContext())
        assert not is_gone(findings)


def test_one_dead_channel_of_three_is_not_gone():
    def dead(image: np.ndarray) -> np.ndarray:
        return np.concatenate((0 * image[..., :1] - 1, image[..., 1:]), axis=2)

    (findings,) = run_checks([pair(0, dead, *LABELS, channels=3)], CheckContext())
    assert not any(one.verdict == "fail" for one in findings)


@pytest.mark.parametrize("change", GONE.values(), ids=GONE)
def test_a_source_that_shows_nothing_has_lost_nothing(change):
    blank = pair(0, change, *LABELS)
    flat = replace(blank, synthetic=np.full_like(blank.synthetic, 0.2))
    (findings,) = run_checks([flat], CheckContext())
    assert not any(one.reason.startswith("gone") for one in findings)
    assert {one.verdict for one in findings if one.label == "disc.center"} == {"not_checkable"}


PATCHES: dict[str, Change] = {
    "black": lambda x: 0 * x - 1,
    "white": lambda x: 0 * x + 1,
    "gray": lambda x: 0 * x - 0.1,
    "noise": lambda x: 0 * x - 0.1 + noise(x, 3),
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("kind", ["keypoint", "box", "polygon", "instance_mask"])
def test_a_label_whose_place_became_flat_fails_alone(patch, kind):
    """Two objects; the place of the first becomes flat, and what is said about it goes with it."""
    rows, columns = np.mgrid[:96, :96]
    source = to_float(np.random.default_rng(1).integers(90, 120, (96, 96, 1), dtype=np.uint8))
    discs = [np.hypot(columns - x, rows - 48) < 10 for x in (24, 72)]
    for disc in discs:
        source[disc] = 0.6
    refined = source * np.float32(0.9)
    refined[28:69, 2:47] = patch(refined[28:69, 2:47])
    labels = [one for i, x in enumerate((24, 72)) for one in _object(kind, x, 48, 10, discs[i], i)]
    (findings,) = run_checks(
        [Pair(Sample("a", "a.png"), source, refined.astype(np.float32), tuple(labels))], context([])
    )
    verdicts = {(one.label, one.item): one.verdict for one in findings}
    assert not is_gone(findings)
    assert verdicts["things.place", 0] == "fail"
    assert verdicts["things.place", 1] in ("pass", "abstain")
    if kind != "keypoint":
        assert (verdicts["things.kind", 0], verdicts["things.kind", 1]) == ("fail", "not_checkable")


def _object(kind: str, x: float, y: float, radius: float, mask: np.ndarray, item: int) -> list[Label]:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    values = {
        "keypoint": np.array([x, y]),
        "box": np.array([x - radius, y - radius, x + radius, y + radius]),
        "polygon": np.stack((x + radius * np.cos(turn), y + radius * np.sin(turn)), axis=1),
        "instance_mask": mask,
    }
    extent = radius if kind == "keypoint" else 0.0
    place = Label("things.place", kind, values[kind], item=item, extent_px=extent)
    return [place, Label("things.kind", "class", np.zeros(0), "flip", item, "disc")]


def test_an_image_too_large_for_the_checks_is_still_seen_to_be_gone(monkeypatch):
    monkeypatch.setattr(running, "MAX_PIXELS", 1000)
    monkeypatch.setattr(running, "THINNED_PIXELS", 900)
    black, same = run_checks([pair(0, GONE["black"], *LABELS), pair(0, HONEST["dark"], *LABELS)], CheckContext())
    assert {one.verdict for one in black} == {"fail"}
    assert {one.verdict for one in same} == {"not_checkable"}


def test_flat_pictures_do_not_loosen_the_thresholds_of_the_others():
    honest = [pair(seed, HONEST["noisy"], *LABELS) for seed in range(60)]
    some = [pair(seed, GONE["black"] if seed % 5 == 0 else HONEST["noisy"], *LABELS) for seed in range(75)]
    without = [one for i, one in enumerate(some) if i % 5]
    assert len(without) == len(honest)
    assert calibrate(some, CheckContext()).thresholds == calibrate(without, CheckContext()).thresholds


# Refining


def model_file(folder: Path, kind: str, channels: int = 1) -> Path:
    """A refiner that breaks down in one known way."""
    a, b = {"black": (0, -1), "white": (0, 1), "gray": (0, 0), "faint": (0.01, -0.9), "255": (127.5, 127.5)}.get(
        kind, (0.5, 0.5)
    )
    constants = {"a": np.float32(a), "b": np.float32(b)}
    nodes = [helper.make_node("Mul", ["synthetic", "a"], ["scaled"]), helper.make_node("Add", ["scaled", "b"], ["y"])]
    last = helper.make_node("Identity", ["y"], ["refined"])
    if kind == "noise":
        random = helper.make_node("RandomNormalLike", ["synthetic"], ["random"], mean=-0.9, scale=0.02, seed=1.0)
        nodes, last = [random], helper.make_node("Identity", ["random"], ["refined"])
    if kind == "some black":  # those whose mean is above that of most
        constants = {"limit": np.float32(-0.12), "black": np.float32(-1)}
        nodes = [
            helper.make_node("ReduceMean", ["synthetic"], ["mean"], keepdims=1),
            helper.make_node("GlobalAveragePool", ["synthetic"], ["each"]),
            helper.make_node("Greater", ["each", "limit"], ["bright"]),
        ]
        last = helper.make_node("Where", ["bright", "black", "synthetic"], ["refined"])
    initialisers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    path = folder / f"{kind.replace(' ', '-')}.onnx"
    path.write_bytes(models.model([*nodes, last], channels, initialisers=initialisers))
    return path


FLAT_MODELS = ("black", "white", "gray", "faint", "noise")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("gone") / "synth", 12)


@pytest.mark.parametrize("kind", FLAT_MODELS)
def test_softening_delivers_the_synthetic_image_and_says_so_in_one_sentence(scenes, tmp_path, kind):
    out = tmp_path / "out"
    done = refine(scenes, out, model_file(tmp_path, kind), "--json")
    result = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (result["flat"], result["softened"], result["strengths"]) == (12, 12, {"0": 12})
    assert tree_of(out) == tree_of(scenes), "no blend: all that would hold in it is the source's"
    told = [line for line in done.stderr.splitlines() if "the refiner makes flat images" in line]
    assert len(told) == 1
    assert "of 12 of 12 samples" in told[0]
    text = refinery("inspect", out).stdout
    assert "the refiner makes flat images: of 12 of 12 samples" in text


@pytest.mark.parametrize(("on_drift", "code", "status"), [("keep", 3, "kept"), ("quarantine", 3, "quarantined")])
def test_what_is_delivered_flat_or_put_aside_fails(scenes, tmp_path, on_drift, code, status):
    done, result = refine_json(scenes, tmp_path / "out", model_file(tmp_path, "black"), "--on-drift", on_drift)
    lines = manifest(tmp_path / "out").values()
    assert (done, result["flat"], result["verdicts"]["fail"]) == (code, 12, 12)
    assert {line["status"] for line in lines} == {status}
    assert all(
        label["verdict"] == "fail" for line in lines for label in line["labels"] if label["name"] == "disc.center"
    )


def test_fail_stops_at_the_first_flat_image(scenes, tmp_path):
    done = refine(scenes, tmp_path / "out", model_file(tmp_path, "white"), "--on-drift", "fail")
    assert done.exit_code == 1
    assert "gone: the image became white" in error_of(done)


def test_a_few_flat_images_among_many_are_counted_and_the_others_judged_as_ever(scenes, tmp_path):
    code, result = refine_json(scenes, tmp_path / "out", model_file(tmp_path, "some black"))
    lines = manifest(tmp_path / "out")
    black = [line for line in lines.values() if line["status"] == "softened"]
    assert 0 < result["flat"] == len(black) < 12
    assert code == 0
    assert result["verdicts"]["pass"] + result["verdicts"]["abstain"] == 12
    assert all(line["strength"] == 0.0 for line in black)


@pytest.mark.slow
def test_a_resumed_job_and_the_parts_of_a_batch_job_count_alike(scenes, tmp_path):
    model = model_file(tmp_path, "some black")
    _, whole = refine_json(scenes, tmp_path / "whole", model)
    for part in (1, 2, 3):
        refine(scenes, tmp_path / "parts", model, "--shard", f"{part}/3")
    together = json.loads(refinery("inspect", tmp_path / "parts", "--json").stdout)
    assert together["flat"] == whole["flat"]
    cut = tmp_path / "whole" / ".refinery"
    (cut / "summary.json").unlink()
    lines = (cut / "manifest.jsonl").read_text().splitlines(keepends=True)
    (cut / "manifest.jsonl").write_text("".join(lines[:5]))
    assert refine_json(scenes, tmp_path / "whole", model)[1]["flat"] == whole["flat"]


@pytest.mark.parametrize("labels", [True, False], ids=["labelled", "without labels"])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_the_audit_of_any_tool_fails_flat_images(scenes, tmp_path, labels, value):
    source, audited = tmp_path / "synth", tmp_path / "audited"
    shutil.copytree(scenes, source)
    for path in () if labels else source.glob("*.json"):
        path.unlink()
    shutil.copytree(source, audited)
    for path in audited.glob("*.png"):
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(path)
    done = refinery("inspect", source, audited, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 3
    assert set(found["verdicts"].values()) == {"fail"}
    assert found["flat"] == 12
    text = refinery("inspect", source, audited).stdout
    assert "makes flat images: of 12 of 12 samples" in text
    assert "0 abstain, 0 not checkable" in text


def test_nan_is_said_with_how_many(scenes, tmp_path):
    done = refine(scenes, tmp_path / "out", write_refiner(tmp_path, "nan"), "--json")
    result = json.loads(done.stdout)
    assert result["not_finite"] == result["rejected"]
    assert done.exit_code == (3 if result["rejected"] else 0)
    sentence = "makes NaN or infinite pixels"
    assert (sentence in done.stderr) == bool(result["rejected"])


# The range of a refiner


def test_a_model_that_answers_in_0_to_255_is_an_error_before_anything_is_delivered(scenes, tmp_path):
    done = refine(scenes, tmp_path / "out", model_file(tmp_path, "255"))
    assert done.exit_code == 1
    assert "it seems to answer in 0 to 255" in error_of(done)
    assert not (tmp_path / "out").exists()


def test_a_model_that_answers_in_0_to_1_is_named(tmp_path):
    source = tmp_path / "dark"
    source.mkdir()
    for i in range(12):
        Image.fromarray((scene(i)[0].astype(np.float32) * 1.15 - 25).clip(0, 255).astype(np.uint8)).save(
            source / f"{i:02d}.png"
        )
    done = refine(source, tmp_path / "out", model_file(tmp_path, "0 to 1"))
    assert done.stderr.count("it seems to answer in 0 to 1") == 1


SOURCES = [pair(seed, HONEST["identical"]).synthetic for seed in range(4)]
RANGES = {
    "0 to 255": (lambda x: 127.5 * (x + 1), True, "0 to 255"),
    "0 to 65535": (lambda x: 32767.5 * (x + 1), True, "0 to 65535"),
    "-127 to 127": (lambda x: 127.5 * x, True, "expected -1 to 1; scale"),
    "far outside": (lambda x: 0 * x + 9 + noise(x, 100), False, "cut off"),
    "0 to 1": (lambda x: (x + 1) / 2, False, "0 to 1"),
}


@pytest.mark.parametrize(("change", "certain", "words"), RANGES.values(), ids=RANGES)
def test_ranges_that_are_plainly_others(change, certain, words):
    wide = [np.clip(2.5 * image + 0.4, -1, 1) for image in SOURCES]
    problem = range_problem(wide, [change(image) for image in wide])
    assert problem is not None
    assert problem.certain == certain
    assert words in problem.clause


FINE = {**HONEST, "strays a little": lambda x: 1.3 * x, "black": GONE["black"], "noise": GONE["noise of a sensor"]}


@pytest.mark.parametrize("change", [*FINE.values(), lambda x: x * np.nan], ids=[*FINE, "NaN"])
def test_ranges_that_can_be_right(change):
    wide = [np.clip(2.5 * image + 0.4, -1, 1) for image in SOURCES]
    assert range_problem(wide, [change(image) for image in wide]) is None


# Training

COLLAPSING = {
    **SIMGAN,
    "optimizer": "sgd",
    "refiner_lr": 10.0,
    "lambda_reg": 0.0,
    "discriminator_lr": 1e-3,
    "tone": True,
    "shift": 0.0,
}


@pytest.mark.slow
def test_training_that_collapsed_says_so_and_exports_nothing(tmp_path):
    datasets(tmp_path, size_hw=(32, 40))
    watching = Recorder()
    with pytest.raises(
        TrainingError, match=r"^.*run: training collapsed: .*so nothing is exported; .* train again with"
    ):
        train(train_config(tmp_path), COLLAPSING, observer=watching)
    said = [sentence for sentence in watching.said if "the refiner makes flat images" in sentence]
    assert len(said) == len([line for line in watching.said if "held-out labels moved" in line])
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["last.safetensors"]
    assert not (tmp_path / "run" / "artifact").exists()
    assert not (tmp_path / "run" / "summary.json").exists()


def test_training_that_bursts_before_it_collapses_exports_nothing_either(tmp_path):
    """With the shift loss, whose square of a burst is infinite, the same settings end at their first such step."""
    datasets(tmp_path, size_hw=(32, 40))
    with pytest.raises(TrainingError, match=r"step \d+: the loss 'shift' is inf, so training cannot go on"):
        train(train_config(tmp_path), {**COLLAPSING, "shift": 10.0})
    assert not (tmp_path / "run" / "artifact").exists()
    assert not (tmp_path / "run" / "summary.json").exists()


def evaluation(refined: float = 0.5, **changes: object) -> Evaluation:
    measures = {"patch_kid": {"synthetic": 1.0, "refined": refined, "floor": 0.0}}
    return replace(Evaluation({}, measures, 0.0, np.zeros((1, 1, 3), np.uint8)), **changes)


def test_a_distance_that_is_no_number_never_beats_one_that_is():
    assert evaluation(np.nan).score() > evaluation(5.0).score()
    assert evaluation(np.inf).score() > evaluation(5.0).score()


def test_images_that_a_classifier_tells_from_photos_are_not_the_best_by_tone_alone():
    """Strokes once had the best patch_kid of a run, and were told from photos more often than the rendered images."""

    def seen(patch_kid: float, classifier: float) -> Evaluation:
        told = {"synthetic": 0.9, "refined": classifier, "floor": 0.5}
        return replace(evaluation(patch_kid), realism={**evaluation(patch_kid).realism, "classifier": told})

    assert seen(patch_kid=0.4, classifier=0.7).score() < seen(patch_kid=0.1, classifier=0.95).score()


@pytest.mark.parametrize(("flat", "collapsed"), [(0.0, False), (0.05, False), (0.06, True), (1.0, True)])
def test_an_evaluation_with_flat_images_says_how_many(flat, collapsed):
    one = evaluation(flat=flat)
    assert one.collapsed is collapsed
    assert ("flat images" in one.sentence()) is (flat > 0)
    assert one.numbers().get("flat", 0.0) == flat


def test_a_budget_that_measures_nothing_says_so():
    assert "the label budget can measure none of them" in evaluation(budget={}).sentence()
    assert "label budget" not in evaluation(budget=None).sentence()


def test_flat_control_images_are_beyond_the_label_budget():
    """Black images have no drift to be measured, which was no reason to brake."""
    pairs = [pair(seed, HONEST["identical"]) for seed in range(8)]
    control = Control(*zip(*((one.sample, one.synthetic, one.labels) for one in pairs), strict=True))
    meter = DriftMeter((), control, CheckContext(), torch.device("cpu"))
    assert worst(meter.measure(meter.batch)) < 0.5
    assert worst(meter.measure(torch.full_like(meter.batch, -1.0))) > 1.0
    (drift,) = meter.measure(torch.full_like(meter.batch, -1.0)).values()
    assert (drift.p95, drift.unit) == (4.0, "px")


MOVED = {"iris": {"p95": 2.5, "unit": "px", "tolerance": 1.0}, "gaze": {"p95": 1.0, "unit": "deg", "tolerance": 5.0}}


@pytest.mark.parametrize(
    ("best", "words"),
    [
        ({"score": 2.3, "failed": 0.3}, ["labels fail in 30% of the held-out samples"]),
        (
            {"score": 3.5, "failed": 0.0, "held_out_budget": MOVED},
            ["labels move further than they may (95%: iris 2.5 px)"],
        ),
        ({"score": 0.4, "failed": 0.01, "held_out_budget": MOVED}, []),
        ({"score": 4.0, "failed": 0.0, "held_out_budget": {"gaze": MOVED["gaze"]}}, []),  # only its realism is bad
    ],
)
def test_a_run_whose_best_refiner_does_not_hold_the_labels_says_so(best, words):
    sentence = delivery_sentence({"step": 7, **best}, MAX_FAILED)
    assert bool(sentence) is bool(words)
    assert all(word in sentence for word in words)


# Sentences

COUNTS = {"pass": 0, "fail": 0, "abstain": 0, "not_checkable": 0}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"flat": 3}, "of 3 of 40 samples nothing is left"),
        ({"not_finite": 2}, "NaN or infinite pixels: 2 of 40"),
        ({"verdicts": {**COUNTS, "abstain": 40}}, "no label was judged: in all 40 samples"),
        ({"verdicts": {**COUNTS, "not_checkable": 30, "abstain": 10}}, "no label was judged: in all 40 samples"),
    ],
)
def test_a_breakdown_is_one_sentence(result, words):
    (sentence,) = breakdown_sentences({"samples": 40, "verdicts": {**COUNTS, "pass": 40}, **result})
    assert words in sentence


def test_a_job_that_judged_its_labels_and_one_that_was_told_not_to_say_nothing():
    assert not breakdown_sentences({"samples": 40, "verdicts": {**COUNTS, "pass": 1, "abstain": 39}})
    assert not breakdown_sentences({"samples": 40, "verdicts": COUNTS})


@pytest.mark.parametrize(
    ("counts", "row"),
    [
        ({"fail": 7, "abstain": 3}, "failed in 7 of 10, and none could be measured"),
        ({"abstain": 10}, "not judged: the checks were not sure in 10 of 10"),
        ({"not_checkable": 10}, "not checkable: too small"),
    ],
)
def test_a_label_without_a_measure_is_not_called_unchecked_when_it_failed(counts, row):
    drift = {"median": None, "not_checkable_reason": "too small", "verdicts": {**COUNTS, **counts}}
    assert drift_rows({"disc": drift}) == {"disc": row}
