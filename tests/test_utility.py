"""Utility: students of several mixes on labelled photos, and the advice that follows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import model, write_artifact
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from stream import error_of, refine, refinery, write_refiner
from tiny import Recorder

from refinery.config import InspectConfig
from refinery.dataset import open_dataset
from refinery.errors import UsageError
from refinery.jobs._utility_data import Canvas, grouped, read_rendered
from refinery.jobs._utility_looks import more_looks, the_model
from refinery.labels import open_labels
from refinery.runtime.probe_answers import EDGES
from refinery.sample import Label, Sample
from refinery.training.probe_targets import ProbePlan, Targets, plan_probe, target_values
from refinery.utility.arms import AUGMENTED, MIXED, REAL_MIXED, REFINED, SYNTHETIC, Pool, Trial, folds_of, gathered
from refinery.utility.augmentation import Augmentation, recoloured
from refinery.utility.compare import Photos, difference_of, mean_of, score_of
from refinery.utility.datasets import Labelled, canvases, masks_on, targets_of, targets_on
from refinery.utility.matching import Side, match_labels, unseen_classes
from refinery.utility.student import Recipe, Source, draw, errors_of
from refinery.utility.things import Things, as_regions
from refinery.utility.verdict import Results, _advice, judge

torch.set_num_threads(1)
SIDE = 24
RECIPE = Recipe(steps=40, batch=32, width=16)


def write_noisy(folder: Path) -> Path:
    """A refiner that adds the first of its two latent numbers to the whole image."""
    nodes = [
        helper.make_node("Slice", ["latent", "starts", "ends", "axes"], ["first"]),
        helper.make_node("Reshape", ["first", "shape"], ["added"]),
        helper.make_node("Add", ["synthetic", "added"], ["refined"]),
    ]
    constants = {
        "starts": np.array([0]),
        "ends": np.array([1]),
        "axes": np.array([1]),
        "shape": np.array([-1, 1, 1, 1]),
    }
    inputs = [
        helper.make_tensor_value_info("synthetic", TensorProto.FLOAT, ["batch", 1, "height", "width"]),
        helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 2]),
    ]
    initialisers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return write_artifact(folder, model(nodes, inputs=inputs, initialisers=initialisers), latent=2)


def disc(x: float, y: float, inside: float, around: float) -> np.ndarray:
    """(24, 24) in [0, 1]: a disc of radius 5 px about (x, y)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    cover = np.clip(5.5 - np.hypot(columns - x, rows - y), 0, 1)
    return around + (inside - around) * cover


def write_discs(folder: Path, count: int, seed: int) -> Path:
    """Noisy discs with their centre and whose they are."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for i in range(count):
        x, y = random.uniform(6, SIDE - 7, 2)
        pixels = np.clip(disc(x, y, 0.8, 0.3) + random.normal(0, 0.03, (SIDE, SIDE)), 0, 1)
        Image.fromarray(np.uint8(255 * pixels)).save(folder / f"{i:03d}.png")
        (folder / f"{i:03d}.json").write_text(json.dumps({"center": [x, y], "person": f"p{i % 12}"}))
    return folder


def utility(tmp_path: Path, refined: Path, real: Path, *options: object) -> dict:
    """`utility` of what `refinery inspect --json` prints, with models that learn next to nothing."""
    (tmp_path / "c.toml").write_text("[inspect]\nutility_seeds = 1\nutility_steps = 10\n")
    done = refinery("inspect", refined, "--utility", real, "--json", "--config", tmp_path / "c.toml", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["utility"]


def side(name: str, points: np.ndarray) -> Side:
    return Side(name, [(Label("center", "keypoint", point),) for point in points], [(SIDE, SIDE)] * len(points))


def advice(draw_synthetic, draw_refined, draw_real) -> dict:
    """What students say of discs that are drawn by three functions of their centre and a generator."""
    random = np.random.default_rng(0)
    rendered, real = random.uniform(6, SIDE - 7, (100, 2)), random.uniform(6, SIDE - 7, (36, 2))
    synthetic, refined, photos = (
        canvases([np.float32(draw_one(x, y, random))[:, :, None] * 2 - 1 for x, y in points], (SIDE, SIDE))
        for draw_one, points in ((draw_synthetic, rendered), (draw_refined, rendered), (draw_real, real))
    )
    found = match_labels(side("synth", rendered), side("real", real), (SIDE, SIDE))
    pool = Pool(synthetic, [refined], targets_of(found.plan, found.synthetic, [(SIDE, SIDE)] * 100)[0])
    targets, fits = targets_of(found.plan, found.real, [(SIDE, SIDE)] * 36)
    trial = Trial(found.plan, pool, Photos(photos, targets, fits, [f"p{i % 12}" for i in range(36)]), RECIPE, [0])
    errors = {name: gathered(name, list(trial.run(name))) for name in trial.names()}
    return judge(Results(found.plan, errors, trial.photos.groups))


# The whole thing


@pytest.mark.slow
def test_a_refiner_that_makes_them_look_right_is_recommended():
    """Real discs are dark with a bright spot beside them, rendered ones bright: no augmentation bridges that."""

    def as_real(x, y, random):
        pixels = disc(x, y, 0.2, 0.7)
        left, top = random.integers(0, SIDE - 4, 2)
        pixels[top : top + 4, left : left + 4] = 0.95
        return pixels

    found = advice(lambda x, y, _: disc(x, y, 0.8, 0.3), as_real, as_real)
    assert found["verdict"] == "use"
    best, rival = (found["arms"][found[key]]["labels"]["center"] for key in ("best", "rival"))
    assert best["mean"] < 0.7 * rival["mean"]
    assert best["difference"]["ci95"][1] < 0
    assert found["recommendation"].startswith(("use refined images alone", "mix refined and synthetic 1:1"))
    assert f"center off by {best['mean']:.2f} px" in found["recommendation"]


@pytest.mark.slow
def test_a_refiner_that_moves_things_is_not():
    found = advice(*(lambda x, y, _, by=by: disc(x + by, y, 0.8, 0.3) for by in (0, 5, 0)))
    assert found["verdict"] == "do not use"
    assert found["arms"][found["best"]]["difference"]["ci95"][0] > 0
    assert found["recommendation"].startswith("do not use the refined images")


@pytest.mark.slow
def test_several_looks_come_from_the_refiner_that_made_them(tmp_path):
    synthetic = write_discs(tmp_path / "synthetic", 30, seed=1)
    real = write_discs(tmp_path / "real", 40, seed=2)
    model = write_noisy(tmp_path / "model")
    assert refine(synthetic, tmp_path / "refined", model, "--no-check").exit_code == 0
    found = utility(tmp_path, tmp_path / "refined", real, "--model", model)
    assert found["groups"] == {"by": "person", "count": 12}
    assert found["labels"] == {"center": "px"}
    assert list(found["arms"])[-3:] == [f"{MIXED}, 3 variants", "real + augmentation", REAL_MIXED]
    job = json.loads((tmp_path / "refined" / ".refinery" / "job.json").read_text())
    assert "is not under ./runs (--model)" in the_model(InspectConfig(), job)[1]
    assert "is not the model that refined" in the_model(InspectConfig(model=str(write_refiner(tmp_path))), job)[1]


@pytest.mark.slow
def test_the_variants_of_the_dataset_are_its_looks(tmp_path):
    synthetic = write_discs(tmp_path / "synthetic", 30, seed=1)
    real = write_discs(tmp_path / "real", 40, seed=2)
    model = write_noisy(tmp_path / "model")
    assert refine(synthetic, tmp_path / "refined", model, "--no-check", "--variants", 2).exit_code == 0
    found = utility(tmp_path, tmp_path / "refined", real)
    assert f"{MIXED}, 2 variants" in found["arms"]
    assert found["samples"] == 30


def test_looks_made_in_memory_are_those_of_variants(tmp_path):
    source = open_dataset(write_discs(tmp_path / "synthetic", 20, seed=1))
    model = write_noisy(tmp_path / "model")
    canvas, labels = Canvas(1, (SIDE, SIDE)), open_labels(source)
    looks = {}
    for variants in (1, 3):
        out = tmp_path / f"refined-{variants}"
        assert refine(source.root, out, model, "--no-check", "--variants", variants).exit_code == 0
        refined, job = open_dataset(out), json.loads((out / ".refinery" / "job.json").read_text())
        rendered = read_rendered(source, refined, labels, 100, canvas)
        config = InspectConfig(model=str(model))
        looks[variants], _ = more_looks(config, job, rendered, source, refined, canvas, Recorder())
    for made, stored in zip(looks[1], looks[3], strict=True):
        torch.testing.assert_close(made, stored, atol=0.01, rtol=0)  # by another provider, perhaps
    assert not torch.equal(looks[3][0], looks[3][1])


def test_the_advice_names_the_option():
    assert _advice(f"{MIXED}, 3 variants").endswith("augmentation, 3 variants of each (refinery refine --variants 3)")


@pytest.mark.slow
def test_things_whose_number_varies_are_scored_by_iou(tmp_path):
    def write(folder: Path, count: int) -> Path:
        write_discs(folder, count, seed=count)
        for i, file in enumerate(sorted(folder.glob("*.json"))):
            x, y = json.loads(file.read_text())["center"]
            box = [x - 5, y - 5, x + 5, y + 5]
            file.write_text(json.dumps({"things": [{"box": box}] * (1 + i % 2)}))
        return folder

    synthetic = write(tmp_path / "synthetic", 20)
    found = utility(tmp_path, synthetic, write(tmp_path / "real", 12), "--synthetic", synthetic)
    assert found["labels"] == {"things.box": "iou"}
    shown = found["arms"][SYNTHETIC]["labels"]["things.box"]
    assert 0 <= shown["ci95"][0] <= shown["mean"] <= shown["ci95"][1] <= 1
    assert found["recommendation"].startswith("no difference that 12 photos can show")
    assert "IoU" in found["recommendation"]


# Errors


def test_no_label_that_both_have(tmp_path):
    synthetic = write_discs(tmp_path / "synthetic", 20, seed=1)
    real = write_discs(tmp_path / "real", 10, seed=1)
    for file in real.glob("*.json"):
        file.write_text(json.dumps({"class": "disc", "box": [1, 2, 9, 9]}))
    done = refinery("inspect", synthetic, "--synthetic", synthetic, "--utility", real)
    line = error_of(done)
    assert done.exit_code == 1
    for words in ("no label that both datasets have", "center (keypoint)", "class (class), box (box)", "[labels.NAME]"):
        assert words in line


def refused(code: int, *arguments: object) -> str:
    """The error line of an inspection that ends with this code."""
    done = refinery("inspect", *arguments)
    assert done.exit_code == code
    return error_of(done)


def test_errors_say_what_to_do(tmp_path):
    synthetic = write_discs(tmp_path / "synthetic", 20, seed=1)
    real = write_discs(tmp_path / "real", 9, seed=1)
    few = write_discs(tmp_path / "few", 5, seed=1)
    both = (synthetic, "--synthetic", synthetic, "--utility")
    assert "refinery did not refine it; give the synthetic dataset" in refused(2, synthetic, "--utility", real)
    assert "--group track: no photo has it" in refused(2, *both, real, "--group", "track")
    assert "5 photos with labels; expected 8 or more" in refused(1, *both, few)
    assert "5 images that" in refused(1, few, "--synthetic", synthetic, "--utility", real)
    assert "a run or an artifact; expected a refined dataset" in refused(2, write_refiner(tmp_path), "--utility", real)


# Labels that both sides have


def labelled(count: int, *makers) -> list[tuple[Label, ...]]:
    """Labels of `count` images; each maker gives one label for an image's number, or several."""
    return [tuple(label for make in makers for label in np.atleast_1d(make(i)).tolist()) for i in range(count)]


def kind(i: int) -> Label:
    return Label("class_id", "class", np.zeros(0), "flip", text=str(i % 3))


def boxes(i: int) -> list[Label]:
    """One or two boxes."""
    return [Label("box", "box", np.array([2.0, 3, 8 + k, 9]), item=k) for k in range(1 + i % 2)]


def matched(synthetic, real):
    sizes = [(16, 16)] * len(synthetic)
    return match_labels(Side("synth", synthetic, sizes), Side("real", real, sizes[: len(real)]), (16, 16))


def test_only_labels_of_the_same_name_and_type_are_used():
    def number(i):
        return Label("turn", "number", np.array([float(i)]), "")

    def vector(i):
        return Label("turn", "vector", np.array([float(i), 1.0, 2.0]), "")

    found = matched(labelled(40, kind, number), labelled(20, kind, vector, lambda _: Label("box", "box", np.ones(4))))
    assert [part.name for part in found.plan.parts] == ["class_id"]
    assert found.left_out == ("turn: a number in synth, a vector in real", "box: not in synth")


def test_boxes_whose_number_varies_become_a_region():
    found = matched(labelled(40, boxes), labelled(20, boxes))
    assert [(part.name, part.form, part.classes) for part in found.plan.parts] == [("box", "region", ("box",))]
    (region,) = found.real[0]
    assert region.value.shape == (16, 16)
    assert region.value[3:9, 2:8].all()
    assert not region.value[:3].any()


def test_one_box_each_stays_a_box():
    def one(i):
        return Label("box", "box", np.array([2.0 + i % 3, 3, 8 + i % 4, 9]))

    assert [part.form for part in matched(labelled(40, one), labelled(20, one)).plan.parts] == ["edges"]


def test_things_of_several_kinds_are_several_regions():
    own = [
        *(Label("objects.class", "class", np.zeros(0), "flip", item=i, text="ab"[i]) for i in range(2)),
        *(Label("objects.box", "box", np.array([8.0 * i, 0, 8 * i + 7, 15]), item=i) for i in range(2)),
    ]
    left, right = as_regions(own, Things("objects.box", ("a", "b")), (16, 16), (8, 8))
    assert (left.text, right.text) == ("a", "b")
    assert left.value[:, :4].all()
    assert not left.value[:, 4:].any()
    assert right.value[:, 4:].all()
    assert not right.value[:, :4].any()


def test_the_only_mask_is_the_same_whatever_its_value():
    def mask(text):
        return lambda i: Label("mask", "semantic_mask", np.eye(16, k=i % 4) > 0, text=text)

    (part,) = matched(labelled(40, mask("1")), labelled(20, mask("255"))).plan.parts
    assert (part.name, part.form) == ("mask", "region")


def test_classes_that_are_not_rendered_are_said():
    found = matched(
        labelled(40, kind), labelled(20, lambda i: Label("class_id", "class", np.zeros(0), text=str(i % 4)))
    )
    assert unseen_classes(found) == ["class_id: 5 photos of classes that no synthetic image has: 3"]


def test_masks_of_smaller_photos_lie_where_their_image_does():
    value = np.zeros((8, 8), bool)
    value[2:5, 1:4] = True
    (placed,) = masks_on([Label("mask", "semantic_mask", value)], (8, 8), (16, 16))
    image = canvases([value[:, :, None].astype(np.float32)], (16, 16))[0, 0].numpy()
    assert ((image > 0.5) == placed.value).all()


# Groups


def test_groups_by_the_usual_names():
    fields = [{"subject_id": str(i % 3), "track_width": str(i), "folder": "a"} for i in range(9)]
    name, groups = grouped(fields, "")
    assert name == "subject_id"
    assert len(set(groups)) == 3
    assert grouped([{"person": "p"}] * 4, "") == ("", [f"photo {i}" for i in range(4)])
    name, groups = grouped([*fields, {}], "subject_id")
    assert groups[-1] == "photo 9"
    with pytest.raises(UsageError, match="--group folder: all photos have the same"):
        grouped(fields, "folder")


def test_a_column_that_is_no_label_is_a_field(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,class_id,track\na.png,11,11_00024\n")
    (tmp_path / "a.json").write_text('{"person": "p1", "deep": {"x": 1}, "hidden": true}')
    source = open_dataset(tmp_path)
    fields = open_labels(source).fields(Sample("a", "a.png", ("a.json",)))
    assert fields == {"folder": "", "class_id": "11", "track": "11_00024", "person": "p1"}


def test_folds_keep_groups_together_and_are_of_about_one_size():
    groups = [f"g{i // 5}" for i in range(60)]
    folds = folds_of(groups)
    assert np.bincount(folds).tolist() == [20, 20, 20]
    assert all(len({fold for fold, g in zip(folds.tolist(), groups, strict=True) if g == name}) == 1 for name in groups)


# Students


def points_plan(points: np.ndarray) -> tuple[ProbePlan, Targets]:
    labels = [(Label("p", "keypoint", point),) for point in points]
    plan = plan_probe(labels, (SIDE, SIDE))
    values, known = target_values(plan, labels)
    return plan, Targets(torch.from_numpy(values), torch.from_numpy(known))


def test_a_batch_has_each_source_by_its_share():
    targets = Targets(torch.zeros(4, 1), torch.ones(4, 1, dtype=torch.bool))
    looks = [torch.full((4, 1, 2, 2), value) for value in (0.0, 1.0, 2.0)]
    mix = [Source(looks[:2], targets, share=3.0), Source(looks[2:], targets)]
    images, drawn = draw(mix, 4000, torch.Generator().manual_seed(0))
    shares = torch.bincount(images[:, 0, 0, 0].long()) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.375, 0.375, 0.25]), atol=0.03, rtol=0)
    assert len(drawn.values) == 4000


@settings(max_examples=25, deadline=None)
@given(st.floats(9, 14), st.floats(9, 14), st.integers(0, 1000))
def test_points_move_with_the_pixels(x, y, seed):
    """The middle of a small disc, found again after it was shifted and scaled."""
    plan, targets = points_plan(np.array([[x, y], [x + 1, y - 1]]))  # a place that never changes is no label
    rows, columns = np.mgrid[:SIDE, :SIDE]
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)
    images = torch.from_numpy(np.stack([blob, blob])[:, None])
    moved, placed = Augmentation(0.0, 0.08, 0.12).apply(plan, images, targets, torch.Generator().manual_seed(seed))
    seen = moved[0, 0].numpy()
    centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
    np.testing.assert_allclose(placed.values[0].numpy(), centre, atol=0.25)
    assert not torch.equal(images, moved)


def test_colours_change_each_channel_by_itself_and_stay_in_range():
    images = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = recoloured(images, 1.0, torch.Generator().manual_seed(1))
    assert float(changed.abs().max()) <= 1
    apart = (changed - images).mean((2, 3))
    assert float((apart[:, 0] - apart[:, 1]).abs().mean()) > 0.05
    assert torch.allclose(recoloured(images, 0.0, torch.Generator().manual_seed(1)), images, atol=2e-3)


def test_errors_of_answers_made_by_hand():
    def each(i):
        return [
            Label("kind", "class", np.zeros(0), "flip", text="ab"[i % 2]),
            Label("p", "keypoint", np.array([5.0 + i, 6.0])),
            Label("box", "box", np.array([1.0, 2, 5 + i, 9])),
            Label("look", "vector", np.array([np.cos(i), np.sin(i), 0.0]), "deg"),
            Label("n", "number", np.array([float(i)]), ""),
        ]

    labels = labelled(8, each)
    plan = plan_probe(labels, (16, 16))
    targets, fits = targets_on(plan, Labelled(["k"] * 8, [np.zeros((16, 16, 1), np.float32)] * 8, labels))
    assert fits.tolist() == [1.0] * 8
    parts = {part.name: p for p, part in enumerate(plan.parts)}
    answers = torch.zeros(8, 2 * plan.points + plan.dense)
    for part in plan.parts:
        truth = targets.values[:, part.target_slice]
        own = torch.nn.functional.one_hot(truth[:, 0].long(), 2).float() if part.form == "class" else truth
        own = (own - torch.tensor(part.centre)) / part.scale if part.centre else own
        answers[:, part.answer_slice] = own
    assert errors_of(plan, answers, targets).abs().max() < 1e-3

    wrong = answers.clone()
    wrong[:, plan.parts[parts["kind"]].answer_slice] = torch.tensor([1.0, 0.0])
    wrong[:, plan.parts[parts["p"]].answer_slice] += torch.tensor([3.0, 4.0])
    wrong[:, plan.parts[parts["box"]].answer_slice.start + EDGES[2]] += 2  # the right edge
    look = plan.parts[parts["look"]]
    wrong[:, look.answer_slice] = (-targets.values[:, look.target_slice] - torch.tensor(look.centre)) / look.scale
    errors = errors_of(plan, wrong, targets)
    assert errors[:, parts["kind"]].tolist() == [0.0, 1.0] * 4
    torch.testing.assert_close(errors[:, parts["p"]], torch.full((8,), 5.0))
    torch.testing.assert_close(errors[:, parts["box"]], torch.full((8,), 2.0))
    torch.testing.assert_close(errors[:, parts["look"]], torch.full((8,), 180.0), atol=0.1, rtol=0)
    targets.known[0, parts["p"]] = False
    assert errors_of(plan, wrong, targets)[0, parts["p"]].isnan()


# Intervals


def test_the_interval_covers_the_mean_of_groups_and_seeds():
    """Errors with an effect of each group and of each student: 95% of such intervals should hold the truth, 1."""
    random = np.random.default_rng(0)
    groups = [f"g{i // 6}" for i in range(120)]
    held = []
    for _ in range(200):
        of_group = np.repeat(random.normal(0, 0.5, 20), 6)
        errors = 1 + of_group + random.normal(0, 0.1, (3, 1)) + random.normal(0, 0.4, (3, 120))
        errors[random.random(errors.shape) < 0.1] = np.nan
        found = mean_of(errors, groups)
        held.append(found.low <= 1 <= found.high)
    assert 0.88 <= np.mean(held) <= 0.99


def test_a_difference_is_paired_and_a_score_has_no_unit():
    random = np.random.default_rng(0)
    hard = random.exponential(1.0, (3, 60))
    groups = [str(i) for i in range(60)]
    found = difference_of(hard + 0.1, hard, groups)
    assert (found.low, found.mean, found.high) == pytest.approx((0.1, 0.1, 0.1))
    one, other = score_of([hard], [1.0], groups), score_of([hard, 50 * hard], [1.0, 50.0], groups)
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))


# Verdicts


def results(**means: float) -> Results:
    """Errors of 60 photos about one number, around these means."""
    plan = plan_probe(labelled(40, lambda i: Label("n", "number", np.array([i % 7.0]), "mm")), (16, 16))
    random = np.random.default_rng(0)
    names = {"synthetic": SYNTHETIC, "augmented": AUGMENTED, "refined": REFINED, "mixed": MIXED}
    errors = {names[name]: random.normal(mean, 0.3, (3, 60, 1)) for name, mean in means.items()}
    return Results(plan, errors, [str(i) for i in range(60)])


def test_the_rival_is_the_better_synthetic_arm():
    found = judge(results(synthetic=1.0, augmented=2.0, refined=3.0, mixed=1.5))
    assert (found["rival"], found["best"], found["verdict"]) == (SYNTHETIC, MIXED, "do not use")
    assert found["arms"][AUGMENTED]["score"]["mean"] == pytest.approx(1.0)


def test_no_difference_is_said_as_such():
    found = judge(results(synthetic=1.5, augmented=1.0, refined=1.5, mixed=1.0))
    assert found["verdict"] == "no difference"
    assert found["recommendation"].startswith("no difference that 60 photos can show: the best with refined images")
    assert f"n off by {found['arms'][MIXED]['labels']['n']['mean']:.2f} mm" in found["recommendation"]
