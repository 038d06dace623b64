"""The label probe: what it looks at, how it learns, what it may judge, and what is refused in its files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from models import write_artifact
from onnx import TensorProto, helper

from refinery.artifact import MANIFEST_FILE, PROBE_FILES, load, write_probe
from refinery.checks import CheckBatch, CheckContext, run_checks
from refinery.checks import probe as check_probe
from refinery.checks._answers import changes, doubts
from refinery.checks._prober import Answers, ProbedLabel, power_at
from refinery.errors import ModelError
from refinery.image import to_float
from refinery.onnx_export import export_probe
from refinery.runtime.probe_session import open_probe
from refinery.runtime.probe_views import canvas_scale, canvas_size, cut_out, fold_of, on_canvas
from refinery.sample import Label, Pair, Sample
from refinery.training.appearance import augment
from refinery.training.label_edits import shift_all, shift_disc, transplant
from refinery.training.probe import ProbeSettings, measure_probe, train_probe
from refinery.training.probe_rows import split_views
from refinery.training.probe_skill import smallest_found
from refinery.training.probe_targets import (
    place_points,
    plan_probe,
    probe_drift,
    probe_loss,
    region_targets,
    target_values,
)

torch.set_num_threads(1)
SIZE_HW = (16, 24)
CONTEXT = CheckContext(max_drift={"": 2.0, "*deg": 25.0})


def scene(x: float, y: float, kind: str) -> np.ndarray:
    """A bright disc or a dark square on gray: (16, 24, 1) uint8."""
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    away = np.hypot(columns - x, rows - y) if kind == "disc" else np.maximum(abs(columns - x), abs(rows - y))
    cover = np.clip(3.5 - away, 0, 1)
    return (120 + (100 if kind == "disc" else -100) * cover)[..., None].astype(np.uint8)


def labels_of(x: float, y: float, kind: str, seed: float) -> tuple[Label, ...]:
    """What a sidecar would say, and a number that nobody can see."""
    look = np.array([x - 12.0, y - 8.0, 12.0])
    return (
        Label("centre", "keypoint", np.array([x, y]), extent_px=3.0),
        Label("box", "box", np.array([x - 3, y - 3, x + 3, y + 3])),
        Label("class", "class", np.zeros(0), "flip", text=kind),
        Label("look", "vector", look / np.linalg.norm(look), "deg"),
        Label("seed", "number", np.array([seed]), ""),
    )


def dataset(count: int, seed: int = 0):
    """Images, keys and labels."""
    rng = np.random.default_rng(seed)
    drawn = [(rng.uniform(5, 18), rng.uniform(5, 10), str(rng.choice(["disc", "square"]))) for _ in range(count)]
    labels = [labels_of(*place, rng.uniform(0, 1)) for place in drawn]
    return [scene(*place) for place in drawn], [f"{seed}-{i}" for i in range(count)], labels


NEVER = (np.inf, np.inf)
SETTINGS = ProbeSettings(steps=150, batch_size=32, judged=100)


@pytest.fixture(scope="module")
def trained():
    return train_probe(*dataset(240), SETTINGS, CONTEXT, seed=0)


def pairs_of(images, refined, keys, labels) -> list[Pair]:
    return [
        Pair(Sample(key, f"{key}.png"), to_float(a), to_float(b), own)
        for a, b, key, own in zip(images, refined, keys, labels, strict=True)
    ]


def verdicts(probe, images, refined, keys, labels, context=CONTEXT) -> dict[str, list[str]]:
    """Verdicts by label name."""
    context = dataclasses.replace(context, probe=probe)
    found: dict[str, list[str]] = {}
    for own in check_probe.check(CheckBatch(pairs_of(images, refined, keys, labels)), context):
        for finding in own:
            found.setdefault(finding.label, []).append(finding.verdict)
    return found


def share(found: list[str], verdict: str) -> float:
    return found.count(verdict) / len(found)


# answers


def test_changes_are_in_the_unit_of_the_label():
    assert changes("point", np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]])) == pytest.approx([5.0])
    assert changes("edges", np.zeros((1, 4)), np.array([[1.0, 0, 3, 4]])) == pytest.approx([5.0])
    assert changes("direction", np.array([[0.0, 0, 2]]), np.array([[0.0, 3, 3]])) == pytest.approx([45.0])
    assert changes("class", np.array([[0.9, 0.1]] * 2), np.array([[0.6, 0.4], [0.4, 0.6]])).tolist() == [0, 1]
    one, other = np.array([[1.0, 1, 0, 0], [0, 0, 0, 0]]), np.array([[0.0, 1, 1, 0], [0, 0, 0, 0]])
    assert changes("region", one, other) == pytest.approx([2 / 3, 0])
    assert np.isnan(changes("number", np.array([[np.nan]]), np.array([[1.0]])))


def test_doubt_is_how_far_networks_disagree():
    assert doubts("point", np.array([[[0.0, 0], [3.0, 4]]])) == pytest.approx([2.5])
    assert doubts("point", np.array([[[1.0, 1]]])) == pytest.approx([0.0])


def test_power_lies_between_what_was_measured():
    label = ProbedLabel("a", "keypoint", "px", "point", power=((1.0, 0.5), (2.0, 0.9)))
    assert [power_at(label, size) for size in (0.5, 1.0, 1.5, 9.0)] == pytest.approx([0.0, 0.5, 0.7, 0.9])
    assert smallest_found(label) == 2.0
    assert power_at(dataclasses.replace(label, power=()), 1.0) == 0.0


# views


def test_folds_depend_on_the_key_alone():
    assert [fold_of(key) for key in ("a", "b", "c", "d")] == [fold_of(key) for key in ("a", "b", "c", "d")]
    assert 400 < sum(fold_of(str(i)) for i in range(1000)) < 600
    assert fold_of("\udcff") in (0, 1)


@pytest.mark.parametrize(("size_hw", "canvas_hw"), [((16, 24), (16, 24)), ((100, 50), (64, 32)), ((4, 300), (8, 64))])
def test_points_keep_their_place_on_the_canvas(size_hw, canvas_hw):
    assert canvas_size(size_hw) == canvas_hw
    ramp = np.broadcast_to(np.arange(size_hw[1], dtype=np.float32), size_hw)[None, :, :, None]
    canvas = on_canvas(ramp, canvas_hw)[0, 0]
    x = canvas_hw[1] // 2
    assert canvas[0, x] == pytest.approx((x + 0.5) / canvas_scale(size_hw, canvas_hw) - 0.5, abs=0.1)


def test_objects_are_cut_out_about_their_box():
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (80, 100, 1))
    crop = cut_out(ramp, [np.array([40.0, 30, 60, 40])])[0, 0]
    assert crop.shape == (32, 32)
    assert crop.mean() == pytest.approx(50, abs=0.01)
    assert crop[0, -1] - crop[0, 0] == pytest.approx(1.35 * 20 * 31 / 32, abs=0.01)


# appearance and edits


def test_looks_are_random_but_repeatable_and_differentiable():
    images = (torch.rand(4, 3, 18, 22, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_(True)
    first, again = (augment(images, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert first.abs().max() <= 1
    assert (first - images).abs().mean() > 0.1
    first.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert torch.allclose(augment(images, torch.Generator(), 0.0), images, atol=0.01)


def test_edits_move_by_what_they_say():
    rows, columns = torch.arange(24.0)[:, None], torch.arange(32.0)
    blob = torch.exp(-((columns - 15) ** 2 + (rows - 11) ** 2) / 8)[None, None] - 0.5

    def centre(image: torch.Tensor) -> list[float]:
        weight = (image[0, 0] + 0.5).clamp(min=0.02) - 0.02
        return [float((weight * axis).sum() / weight.sum()) for axis in (columns, rows)]

    move = torch.tensor([[2.0, -1.0]])
    for moved in (
        shift_all(blob, move),
        shift_disc(blob, move, torch.tensor([[15.0, 11.0]]), torch.tensor([6.0])),
    ):
        assert centre(moved) == pytest.approx([17.0, 10.0], abs=0.1)
    away = shift_disc(blob, move, torch.tensor([[31.0, 23.0]]), torch.tensor([3.0]))
    assert centre(away) == pytest.approx([15.0, 11.0], abs=0.1)


def test_a_transplanted_look_moves_nothing():
    images = torch.rand(6, 1, 20, 20, generator=torch.Generator().manual_seed(0)) - 0.5
    darker = 0.5 * images - 0.1
    done = transplant(images, images.roll(1, 0), darker.roll(1, 0), torch.Generator().manual_seed(0))
    assert torch.allclose(done, darker, atol=0.02)


# targets


def test_a_plan_names_what_a_network_can_answer():
    _, _, labels = dataset(40)
    odd = [
        (*own, *(Label("spot", "keypoint", np.zeros(2), item=k) for k in range(i % 3))) for i, own in enumerate(labels)
    ]
    same = [(*own, Label("camera", "class", np.zeros(0), "flip", text="one")) for own in odd]
    plan = plan_probe(same, SIZE_HW)
    assert [(p.name, p.form) for p in plan.parts] == [
        ("centre", "point"),
        ("box", "edges"),
        ("class", "class"),
        ("look", "direction"),
        ("seed", "number"),
    ]
    assert (plan.points, plan.dense, plan.regions) == (5, 2 + 3 + 1, 0)
    assert any("spot: its number varies" in line for line in plan.skipped)
    assert any("camera: the same in every image" in line for line in plan.skipped)
    assert [p.name for p in plan_probe(same, SIZE_HW, frozenset({"point"})).parts] == ["centre"]


def test_targets_follow_crops_and_scales():
    labels = [labels_of(10.0, 8.0, "disc", 0.5), labels_of(4.0, 8.0, "square", 0.1)]
    plan = plan_probe([*labels, *dataset(20)[2]], SIZE_HW)
    values, known = target_values(plan, labels)
    assert known.all()
    whole = place_points(plan, values, known, 0.5, np.zeros((2, 2)), (8, 12))
    assert whole.values[0, :2].tolist() == pytest.approx([4.75, 3.75])
    cut = place_points(plan, values, known, 1.0, np.array([[4.0, 2.0]] * 2), (12, 12), whole=False)
    assert cut.values[0, :2].tolist() == pytest.approx([6.0, 6.0])
    assert cut.known[0, :2].all()
    assert not cut.known[1, 1], "its box is cut by the border"
    assert not cut.known[:, 2:].any(), "a part of an image does not show its class"


def test_drift_is_zero_for_equal_answers_and_has_a_gradient():
    _, _, labels = dataset(30)
    plan = plan_probe(labels, SIZE_HW)
    answers = torch.randn(3, 2 * plan.points + plan.dense, generator=torch.Generator().manual_seed(0))
    moved = answers.clone().requires_grad_(True)
    assert torch.allclose(probe_drift(plan, answers, moved), torch.zeros(3, len(plan.parts)), atol=1e-4)
    other = moved + torch.tensor([3.0, 4.0] + [0.0] * (answers.shape[1] - 2))
    drift = probe_drift(plan, answers, other)
    assert drift[:, 0].tolist() == pytest.approx([5.0] * 3)
    drift.sum().backward()
    assert torch.isfinite(moved.grad).all()


def test_masks_are_regions_of_half_the_size():
    mask = np.zeros(SIZE_HW, bool)
    mask[4:10, 6:16] = True
    labels = [(Label("mask", "semantic_mask", mask, "iou", text="sky"),)] * 3
    plan = plan_probe(labels, SIZE_HW)
    truth = region_targets(plan, labels)
    assert (plan.regions, plan.points, plan.dense) == (2, 0, 0)
    assert np.array_equal(truth[0].numpy(), mask[::2, ::2].astype(int))
    right = torch.nn.functional.one_hot(truth, 2).permute(0, 3, 1, 2).flatten(1) * 40.0
    values, known = target_values(plan, labels)
    targets = dataclasses.replace(place_points(plan, values, known, 1.0, np.zeros((3, 2)), SIZE_HW), regions=truth)
    assert probe_loss(plan, right, targets) < 1e-3
    assert probe_drift(plan, right, right).max() < 1e-3
    assert probe_drift(plan, right, right.roll(4, 1)).min() > 0.1


def test_objects_have_a_view_of_their_own():
    coin = [Label("coins.box", "box", np.array([10.0 * k, 0, 10 * k + 8, 8]), item=k) for k in range(2)] + [
        Label("coins.class", "class", np.zeros(0), "flip", item=k, text=str(k)) for k in range(2)
    ]
    views = split_views([tuple(coin), tuple(coin)])
    assert list(views) == ["object"]
    assert views["object"].samples == (0, 0, 1, 1)
    assert [own[0].text for own in views["object"].labels] == ["0", "1", "0", "1"]
    assert views["object"].boxes[1].tolist() == [10, 0, 18, 8]


# a trained probe


def test_a_probe_is_competent_at_what_can_be_seen(trained):
    known = trained.labels
    assert known["centre"].competent, known["centre"]
    assert known["class"].competent, known["class"]
    assert known["look"].competent, known["look"]
    assert not known["seed"].competent
    assert "tolerance" in known["seed"].reason
    assert known["centre"].bounds["0.95"] <= known["centre"].bounds["0.99"] < 2.0
    for name in ("centre", "look"):
        sizes, least = np.array(known[name].details["reach"]).T
        assert np.all(np.diff(sizes) > 0), name
        assert np.all(least < sizes), name
    sure, found = np.array(known["class"].details["found"]).T
    assert np.all(np.diff(sure) > 0)
    assert np.all(np.diff(found) <= 0)
    assert len(trained.sentences()) == len(known)


def test_networks_never_judge_what_they_were_trained_on(monkeypatch):
    from refinery.training import probe as module

    images, keys, labels = dataset(160)
    seen: list[tuple[int, set[int]]] = []
    real = module.batch_of
    monkeypatch.setattr(
        module, "batch_of", lambda rows, chosen: seen.append((len(seen), set(rows.folds[chosen]))) or real(rows, chosen)
    )
    steps = 3
    train_probe(images, keys, labels, ProbeSettings(steps=steps, batch_size=8, hopeless=NEVER), CONTEXT, 0)
    training = [folds for _, folds in seen[: 4 * steps]]
    assert training == [{1}] * (2 * steps) + [{0}] * (2 * steps)


def test_what_did_not_move_passes_in_another_look(trained):
    images, keys, labels = dataset(60, seed=9)
    brighter = [np.clip(0.8 * image.astype(float) + 30, 0, 255).astype(np.uint8) for image in images]
    found = verdicts(trained.prober(), images, brighter, keys, labels)
    for name in ("centre", "class", "look"):
        assert share(found[name], "fail") <= 0.02, name
        assert share(found[name], "pass") >= 0.85, name
    assert set(found["seed"]) == {"not_checkable"}


def test_what_moved_fails(trained):
    images, keys, labels = dataset(60, seed=9)
    other = {"disc": "square", "square": "disc"}
    places = [(own[0].value, own[2].text) for own in labels]
    moved = [scene(x + (5 if x < 12 else -5), y, kind) for (x, y), kind in places]
    found = verdicts(trained.prober(), images, moved, keys, labels)
    assert share(found["centre"], "fail") >= 0.8
    assert share(found["centre"], "pass") == 0
    swapped = [scene(x, y, other[kind]) for (x, y), kind in places]
    found = verdicts(trained.prober(), images, swapped, keys, labels)
    assert share(found["class"], "fail") >= 0.8
    assert share(found["class"], "pass") == 0


def test_findings_have_bounds_and_signed_shifts(trained):
    images, keys, labels = dataset(30, seed=9)
    moved = [np.roll(image, 3, axis=1) for image in images]
    context = dataclasses.replace(CONTEXT, probe=trained.prober())
    found = check_probe.check(CheckBatch(pairs_of(images, moved, keys, labels)), context)
    points = [f for own in found for f in own if f.label == "centre" and f.drift is not None]
    assert len(points) > 15
    assert all(f.lower <= f.drift <= f.upper for f in points)
    assert np.median([f.shift_px[0] for f in points]) == pytest.approx(3.0, abs=0.6)
    boxes = [f for own in found for f in own if f.label == "box" and f.drift is not None]
    assert all(0.0 <= f.iou < 0.9 for f in boxes)


def test_a_tolerance_below_its_power_cannot_be_checked(trained):
    images, keys, labels = dataset(8, seed=9)
    found = verdicts(trained.prober(), images, images, keys, labels, CheckContext(max_drift={"": 0.05}))
    assert set(found["centre"]) == {"not_checkable"}


def test_images_of_another_kind_are_not_answered(trained):
    large = [np.kron(image, np.ones((3, 3, 1), np.uint8)) for image in dataset(4)[0]]
    found = verdicts(trained.prober(), large, large, ["a", "b", "c", "d"], dataset(4)[2])
    assert set(found["centre"]) == {"not_checkable"}
    colour = [np.repeat(image, 3, axis=2) for image in dataset(4)[0]]
    assert trained.prober().ask(["a"], [to_float(colour[0])], [{}]) == {}


def test_the_probe_speaks_among_the_checks(trained):
    images, keys, labels = dataset(8, seed=9)
    found = run_checks(pairs_of(images, images, keys, labels), dataclasses.replace(CONTEXT, probe=trained.prober()))
    judged = {f.label: f for f in found[0]}
    assert judged["class"].check == "probe"
    assert judged["seed"].verdict == "not_checkable"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_probe():
    images, keys, labels = dataset(160)
    first, again, other = (
        train_probe(
            images, keys, labels, ProbeSettings(steps=3, batch_size=8, judged=40, hopeless=NEVER), CONTEXT, seed
        )
        for seed in (0, 0, 1)
    )
    ask = [to_float(image) for image in images[:6]]
    answers = [probe.prober().ask(keys[:6], ask, [{}] * 6)["centre"].values for probe in (first, again, other)]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    assert first.labels == again.labels


def test_a_refiner_gives_the_looks_that_must_not_be_noticed(trained):
    images, keys, labels = dataset(120, seed=3)
    noise = np.random.default_rng(0)

    def refine(given):
        return [0.7 * image + noise.normal(0, 0.4, image.shape).astype(np.float32) for image in given]

    measured = measure_probe(trained, images, keys, labels, CONTEXT, 0, SETTINGS, refine)
    calm = measure_probe(trained, images, keys, labels, CONTEXT, 0, SETTINGS, lambda given: given)
    assert measured.labels["centre"].bounds["0.95"] > 2 * calm.labels["centre"].bounds["0.95"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([()] * 20, "have no labels"),
        ([(Label("a", "depth", np.zeros((16, 24))),)] * 20, "no probe for a depth"),
        ([labels_of(10, 8 + i / 10, "disc", 0.0) for i in range(20)], "fewer than 128 images"),
    ],
)
def test_nothing_to_learn_is_said(labels, reason):
    said: list[str] = []
    images = dataset(20)[0]
    assert train_probe(images, [str(i) for i in range(20)], labels, SETTINGS, CONTEXT, 0, said.append) is None
    assert len(said) == 1
    assert reason in said[0]


@pytest.mark.slow
def test_labels_that_the_first_network_cannot_judge_get_no_others(monkeypatch):
    from refinery.training import probe as module

    trained_for: list[int] = []
    real = module._train_network
    monkeypatch.setattr(module, "_train_network", lambda *given: trained_for.append(given[2]) or real(*given))
    images, keys, labels = dataset(240)
    unreadable = [tuple(label for label in own if label.name == "seed") for own in labels]
    said: list[str] = []
    assert train_probe(images, keys, unreadable, SETTINGS, CONTEXT, 0, said.append) is None
    assert trained_for == [0]
    assert said[0].startswith("no label probe: seed: the probe's own error is ")


# files


@pytest.fixture(scope="module")
def small():
    """A probe that is quick to export."""
    return train_probe(
        *dataset(160), ProbeSettings(steps=5, batch_size=8, networks=1, judged=40, hopeless=NEVER), CONTEXT, seed=0
    )


@pytest.fixture(scope="module")
def files(small):
    return export_probe(small)


@pytest.fixture
def folder(files, tmp_path):
    """An artifact with a probe."""
    return write_artifact(tmp_path / "artifact", probe=write_folder(tmp_path / "artifact", files))


def write_folder(folder, files):
    folder.mkdir()
    return write_probe(folder, files)


def test_an_exported_probe_answers_alike(small, folder):
    images, keys, _ = dataset(10, seed=5)
    ask = [to_float(image) for image in images]
    opened = open_probe(load(folder))
    ours, theirs = (probe.ask(keys, ask, [{}] * 10) for probe in (small.prober(), opened))
    assert opened.labels == dict(small.labels)
    for name in ours:
        assert np.allclose(ours[name].values, theirs[name].values, atol=1e-2), name
        assert np.array_equal(ours[name].owners, theirs[name].owners)


def test_an_artifact_may_have_no_probe(tmp_path):
    assert open_probe(load(write_artifact(tmp_path / "artifact"))) is None


@pytest.mark.slow
def test_objects_are_answered_one_by_one():
    rng = np.random.default_rng(0)
    images, labels = [], []
    for _ in range(120):
        kinds = rng.choice(["disc", "square"], 2)
        images.append(np.concatenate([scene(12, 8, str(kind)) for kind in kinds], axis=1))
        own = [Label("things.class", "class", np.zeros(0), "flip", k, str(kind)) for k, kind in enumerate(kinds)]
        own += [Label("things.box", "box", np.array([24 * k + 9, 5, 24 * k + 15, 11.0]), item=k) for k in range(2)]
        labels.append(tuple(own))
    keys = [str(i) for i in range(120)]
    settings = ProbeSettings(steps=40, batch_size=16, networks=1, judged=100)
    probe = train_probe(images, keys, labels, settings, CONTEXT, 0)
    assert list(probe.views) == ["object"]
    swapped = [np.concatenate([image[:, 24:], image[:, :24]], axis=1) for image in images]
    different = [i for i, own in enumerate(labels) if own[0].text != own[1].text][:20]
    chosen = [[x[i] for i in different] for x in (images, swapped, keys, labels)]
    found = verdicts(probe.prober(), *chosen)["things.class"]
    assert len(found) == 2 * len(different)
    assert share(found, "pass") == 0
    assert share(found, "fail") > 0.5


def edited(folder, change) -> None:
    """Change the manifest's probe in place."""
    path = folder / MANIFEST_FILE
    raw = json.loads(path.read_text())
    change(raw["probe"])
    path.write_text(json.dumps(raw))


def replaced(folder, data: bytes) -> None:
    (folder / PROBE_FILES["image"]).write_bytes(data)
    edited(folder, lambda probe: probe["views"]["image"].update(sha256=hashlib.sha256(data).hexdigest()))


HOSTILE = {
    "no folds": lambda probe: probe.pop("folds"),
    "a thousand folds": lambda probe: probe.update(folds=1000),
    "true folds": lambda probe: probe.update(folds=True),
    "views in a list": lambda probe: probe.update(views=[1]),
    "a view elsewhere": lambda probe: probe["views"].update({"../../etc/passwd": {}}),
    "a view that is a number": lambda probe: probe["views"].update(image=3),
    "no labels": lambda probe: probe.pop("labels"),
    "labels of a wrong kind": lambda probe: probe.update(labels=7),
    "a label without a name": lambda probe: probe["labels"][0].pop("name"),
    "a name that is a number": lambda probe: probe["labels"][0].update(name=7),
    "an unknown form": lambda probe: probe["labels"][0].update(form="crystal"),
    "competent by a string": lambda probe: probe["labels"][0].update(competent="yes"),
    "a bound that is text": lambda probe: probe["labels"][0].update(bounds={"0.99": "low"}),
    "a bound that is infinite": lambda probe: probe["labels"][0].update(bounds={"0.99": float("inf")}),
    "a share that is text": lambda probe: probe["labels"][0].update(bounds={"most": 1.0}),
    "power without a share": lambda probe: probe["labels"][0].update(power=[[1.0]]),
    "power out of order": lambda probe: probe["labels"][0].update(power=[[2.0, 1.0], [1.0, 0.0]]),
    "competent without power": lambda probe: probe["labels"][0].update(competent=True, power=[]),
    "a detail that is text": lambda probe: probe["labels"][0].update(details={"doubt": "none"}),
    "a huge canvas": lambda probe: probe["views"]["image"].update(canvas_hw=[10**9, 10**9]),
    "a canvas of one side": lambda probe: probe["views"]["image"].update(canvas_hw=[16]),
    "two channels": lambda probe: probe["views"]["image"].update(channels=2),
    "a part beyond the answers": lambda probe: probe["views"]["image"]["parts"][0].update(answer=10**6),
    "a part before the answers": lambda probe: probe["views"]["image"]["parts"][0].update(answer=-4),
    "fewer classes than answers": lambda probe: probe["labels"][2].update(classes=["disc"]),
    "another form than its part": lambda probe: probe["labels"][0].update(form="region"),
    "no parts": lambda probe: probe["views"]["image"].update(parts=[]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_from_a_stranger_is_refused_in_one_line(folder, name):
    edited(folder, HOSTILE[name])
    with pytest.raises(ModelError) as error:
        open_probe(load(folder))
    assert "\n" not in str(error.value)
    assert "export the run again" in str(error.value)


def test_a_model_from_a_stranger_is_refused(folder):
    path = folder / PROBE_FILES["image"]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match="hash differs"):
        load(folder)
    replaced(folder, b"garbage")
    with pytest.raises(ModelError, match="not an ONNX file"):
        load(folder)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load(folder)


def stranger(*nodes, outputs=("fold0", "fold1"), domains=("",)) -> bytes:
    """A model with a probe's input and outputs."""
    shape = ["batch", 1, *SIZE_HW]
    graph = helper.make_graph(
        list(nodes),
        "probe",
        [helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    opsets = [helper.make_opsetid(domain, 18 if domain == "" else 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def copies(**options) -> list:
    return [helper.make_node("Identity", ["synthetic"], [name], **options) for name in ("fold0", "fold1")]


def test_foreign_operators_and_outputs_are_refused(folder):
    custom = helper.make_node("Evil", ["synthetic"], ["fold0"], domain="com.stranger")
    replaced(folder, stranger(custom, copies()[1], domains=("", "com.stranger")))
    with pytest.raises(ModelError, match=r"uses operators of com\.stranger"):
        load(folder)
    replaced(folder, stranger(copies()[0], outputs=("fold0",)))
    with pytest.raises(ModelError, match="a label probe has one input and outputs fold0, fold1"):
        load(folder)


def test_answers_of_another_shape_are_refused(folder):
    replaced(folder, stranger(*copies()))
    images, keys, _ = dataset(3)
    with pytest.raises(ModelError, match="its manifest says"):
        open_probe(load(folder)).ask(keys, [to_float(image) for image in images], [{}] * 3)


def test_answers_that_are_no_numbers_never_pass(trained):
    class Broken:
        labels = trained.labels
        by_object = frozenset()

        def ask(self, keys, images, regions):  # noqa: ARG002
            values = np.full((len(keys), 2, 2), np.nan, np.float32)
            return {"centre": Answers(np.arange(len(keys)), np.zeros(len(keys), np.intp), values)}

    images, keys, labels = dataset(4)
    found = verdicts(Broken(), images, images, keys, labels)
    assert set(found["centre"]) == {"abstain"}
    assert set(found["class"]) == {"not_checkable"}


def test_what_cannot_be_read_is_given_up_after_a_fifth_of_the_steps_of_one_network(monkeypatch) -> None:
    images, keys, labels = dataset(160)
    noise = np.random.default_rng(1)
    unreadable = [[Label("seed", "number", noise.uniform(0, 100, 1), unit="")] for _ in labels]
    trained: list[int] = []
    module = sys.modules[train_probe.__module__]
    real = module._train_network
    monkeypatch.setattr(module, "_train_network", lambda *given: trained.append(given[3].steps) or real(*given))
    told: list[str] = []
    settings = ProbeSettings(steps=50, batch_size=16, judged=160)
    assert train_probe(images, keys, unreadable, settings, CONTEXT, 0, told.append) is None
    assert trained == [10]
    assert "seed: the probe's own error is" in told[0]
    train_probe(images, keys, labels, settings, CONTEXT, 0)
    assert trained[:3] == [10, 50, 50], "one of these labels is a class, which is not told by a glance"
