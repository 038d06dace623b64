"""The label budget: what measures drift, what brakes, and that the brake follows the measure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_train import log, same_tensors, state
from tiny import SIMGAN, Recorder, train_config

from refinery.checks import CheckContext
from refinery.dataset import open_dataset
from refinery.jobs.train import train
from refinery.losses.label_consistency import label_consistency
from refinery.report.curves import draw_curves
from refinery.sample import Label, Sample
from refinery.training.budget import AIM, LabelBudget, Multiplier
from refinery.training.data import Batches, ImageSet, as_tensor, layout
from refinery.training.drift_meter import Control, Drift, DriftMeter, worst
from refinery.training.guide import new_guide, plan_guide, reading_slopes, targets_of, train_guide
from refinery.training.loading import load
from refinery.training.prepare_budget import set_aside
from refinery.training.sampling import Chance
from refinery.training.stats import read_stats

CPU = torch.device("cpu")
SIZE_HW = (24, 32)
CONTEXT = CheckContext(max_drift={"": 1.0})


def discs(count: int, seed: int, shift_px: float = 0.0) -> tuple[np.ndarray, list[tuple[Label, ...]]]:
    """A dark disc somewhere on a bright ground, moved right by `shift_px`: (N, H, W, 1) float32; where it was."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]].astype(np.float32)
    centres = rng.uniform((9, 8), (SIZE_HW[1] - 10, SIZE_HW[0] - 9), (count, 2))
    far = np.hypot(x - centres[:, 0, None, None] - shift_px, y - centres[:, 1, None, None])
    images = np.tanh(far - 5.0).astype(np.float32)[..., None] * 0.7
    return images, [(Label("centre", "keypoint", centre, extent_px=5.0),) for centre in centres]


def as_batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def control(count: int = 24) -> Control:
    images, labels = discs(count, seed=5)
    return Control([Sample(str(i), f"{i}.png") for i in range(count)], list(images), labels)


@pytest.fixture(scope="module")
def guides() -> list:
    """Two trained networks that read where the disc is."""
    images, labels = discs(300, seed=1)
    plan = plan_guide(labels, SIZE_HW, CONTEXT)
    found = []
    for seed in (1, 2):
        guide = new_guide(plan, 1, seed, CPU)
        train_guide(guide, as_batch(images), targets_of(plan, labels), seed, steps=100)
        held_out = control()
        guide.look_over(held_out.batch(CPU), targets_of(plan, held_out.labels))
        found.append(guide)
    return found


class Shifts(torch.nn.Module):
    """A refiner that moves the image right by whole pixels."""

    def __init__(self, by_px: int) -> None:
        super().__init__()
        self.by_px = by_px

    def forward(self, images):
        return torch.roll(images, self.by_px, dims=3) * 0.9


def test_the_multiplier_follows_the_drift_within_its_bounds():
    multiplier = Multiplier()
    values = []
    for ratio in (3.0,) * 20 + (AIM,) + (0.1,) * 60:
        multiplier.update(ratio)
        values.append(multiplier.value)
    assert values[0] > 1
    assert values[:20] == sorted(values[:20])
    assert values[19] == pytest.approx(100)
    assert values[-1] == pytest.approx(1 / 2)
    kept = Multiplier()
    kept.load_state(multiplier.state())
    assert kept.value == multiplier.value


def test_the_multiplier_stays_where_the_drift_is_what_was_aimed_at():
    multiplier = Multiplier()
    multiplier.update(2.0)
    multiplier.update(AIM)
    before = multiplier.value
    multiplier.update(AIM)
    assert multiplier.value == before > 1


def test_a_brake_pulls_only_when_needed(guides):
    meter = DriftMeter(guides, control(), CONTEXT, CPU)
    budget = LabelBudget(guides[0], meter)
    assert (budget.lambda_reg, budget.consistency_weight) == (2.0, 0.0)
    for _ in range(3):
        numbers = budget.update(Shifts(0))
    assert numbers["budget"]["centre"]["p95"] < 0.5
    assert budget.lambda_reg < 2.0
    assert budget.consistency_weight == 0.0
    for _ in range(5):
        numbers = budget.update(Shifts(3))
    assert numbers["budget"]["centre"]["p95"] == pytest.approx(3, abs=0.7)
    assert budget.lambda_reg > 2.0
    assert budget.consistency_weight == pytest.approx(budget.multiplier.value - 1)


class Lights(torch.nn.Module):
    """A refiner that only lights the image: it turns bright and dark about, which no network has learnt to read."""

    latent = 1

    def __init__(self) -> None:
        super().__init__()
        self.tone = torch.nn.Identity()

    def toned(self, images, latent):  # noqa: ARG002
        return -images

    def forward(self, images, latent):
        return self.toned(images, latent)


def test_light_alone_is_no_drift(guides):
    """Networks answer otherwise in other light; held-out images once counted that against the best checkpoints."""
    meter = DriftMeter(guides, control(), CONTEXT, CPU)
    assert worst(meter.measure(-meter.batch)) > 1
    assert worst(meter.measure_refiner(Lights())) < 0.5


def test_without_a_guide_lambda_is_the_only_brake():
    budget = LabelBudget(None, DriftMeter((), control(), CONTEXT, CPU))
    for _ in range(5):
        budget.update(Shifts(3))
    assert budget.consistency_weight == 0.0
    assert budget.lambda_reg == pytest.approx(2 * budget.multiplier.value)
    with pytest.raises(ValueError, match="no guide"):
        budget.consistency(torch.zeros(1), torch.zeros(1), torch.Generator())


def test_without_labels_the_geometry_of_the_whole_image_is_measured():
    unlabelled = replace(control(), labels=[()] * 24)
    drifts = DriftMeter((), unlabelled, CONTEXT, CPU).measure(Shifts(2)(unlabelled.batch(CPU)))
    assert list(drifts) == ["image"]
    assert drifts["image"].p95 > 1.5
    assert worst(drifts) == drifts["image"].ratio
    assert worst({}) == 0


@pytest.mark.parametrize("by_px", [1, 2])
def test_two_networks_agree_on_a_move_and_hardly_on_noise(guides, by_px):
    meter = DriftMeter(guides, control(), CONTEXT, CPU)
    batch = meter.batch
    noisy = batch + 0.05 * torch.randn(batch.shape, generator=torch.Generator().manual_seed(0))
    assert meter._watched(noisy)["centre"].p95 < 0.4
    assert meter._watched(Shifts(by_px)(batch))["centre"].p95 == pytest.approx(by_px, abs=0.45)


def test_the_consistency_reaches_back_to_the_image_and_is_small_for_what_did_not_move(guides):
    guide, images = guides[0], control().batch(CPU)
    same = guide.consistency(images, images, torch.Generator().manual_seed(0))
    moved = torch.roll(images, 2, dims=3).requires_grad_(True)
    loss = guide.consistency(moved, images, torch.Generator().manual_seed(0))
    loss.backward()
    assert float(same) < 1e-6
    assert float(loss.detach()) > 0.5
    assert float(moved.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in guide.network.parameters())


def test_the_consistency_is_quadratic_within_the_tolerance_and_linear_beyond():
    losses = [float(label_consistency(torch.full((1, 1), drift))) for drift in (0.5, 1.0, 2.0, 3.0)]
    assert losses == pytest.approx([0.125, 0.5, 1.5, 2.5])


def test_what_a_network_cannot_read_is_not_heeded():
    _, labels = discs(300, seed=1)
    plan = plan_guide(labels, SIZE_HW, CONTEXT)
    targets = targets_of(plan, labels)
    truth = targets.values
    assert reading_slopes(plan, truth, targets).tolist() == pytest.approx([1.0], rel=1e-4)
    middle = truth.mean(0, keepdim=True)
    assert reading_slopes(plan, middle + 0.5 * (truth - middle), targets).tolist() == pytest.approx([0.5], rel=1e-4)
    assert reading_slopes(plan, middle.expand_as(truth), targets).tolist() == [0.0]


def test_numbers_of_their_own_unit_steer_only_when_named():
    labels = [(Label("radius", "number", np.array([float(i)]), unit=""),) for i in range(40)]
    assert plan_guide(labels, SIZE_HW, CONTEXT) is None
    named = plan_guide(labels, SIZE_HW, CheckContext(max_drift={"radius": 2.0}))
    assert named.tolerances == (2.0,)
    assert plan_guide(labels, (512, 512), CheckContext(max_drift={"radius": 2.0})) is None


def test_a_network_is_the_same_for_the_same_seed_and_leaves_chance_alone():
    images, labels = discs(40, seed=1)
    plan = plan_guide(labels, SIZE_HW, CONTEXT)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    pair = [new_guide(plan, 1, 4, CPU) for _ in range(2)]
    for guide in pair:
        train_guide(guide, as_batch(images), targets_of(plan, labels), 4, steps=3)
    assert torch.equal(before, torch.get_rng_state())
    assert same_tensors(pair[0].state()["network"], pair[1].state()["network"])


def test_drift_is_told_in_tolerances():
    assert Drift(0.75, 0.5, "px").ratio == pytest.approx(1.5)
    assert math.isfinite(Drift(1.0, 0.0, "px").ratio)


@pytest.mark.parametrize(("count", "aside"), [(4, 2), (5, 2), (8, 4), (9, 4), (200, 20)])
def test_setting_images_aside_leaves_some_to_train_on(count, aside):
    images = [np.zeros((8, 8, 1), np.uint8)] * count
    kept, control = set_aside(ImageSet(images, [Sample(str(i), f"{i}.png") for i in range(count)], 1, 8), 128)
    assert (len(kept.images), len(control.images)) == (count - aside, aside)


def test_images_set_aside_are_of_one_shape_and_no_longer_trained_on():
    images = [np.zeros((8, 8 + 4 * (i % 3 == 0), 1), np.uint8) for i in range(60)]
    whole = ImageSet(images, [Sample(str(i), f"{i}.png") for i in range(60)], 1, 8)
    kept, aside = set_aside(whole, 128)
    assert (len(kept.images), len(aside.images)) == (54, 6)
    assert {image.shape for image in aside.images} == {(8, 8, 1)}
    assert not {s.key for s in kept.samples} & {s.key for s in aside.samples}


def test_real_images_are_matched_to_the_layout_of_the_synthetic_ones():
    images, _ = discs(200, seed=2)
    pixels = [((image + 1) * 127).astype(np.uint8) for image in images]
    drawn = Batches(ImageSet(pixels, [], 1, 8), SIZE_HW, 6, Chance(0, "real"), CPU)
    wanted = as_tensor(np.stack(pixels[:6]), CPU) * 0.3 - 0.4

    def apart(batch: torch.Tensor) -> float:
        return float((layout(batch) - layout(wanted)).square().sum(1).mean())

    assert drawn.draw_like(wanted, 16).shape == wanted.shape
    assert apart(drawn.draw_like(wanted, 16)) < 0.5 * apart(drawn.draw())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A labelled synthetic dataset and a real one, and a run under a budget."""
    folder = tmp_path_factory.mktemp("budget")
    images, labels = discs(60, seed=3)
    for kind, contrast in (("synthetic", 1.0), ("real", 0.6)):
        (folder / kind).mkdir()
        for i, (image, own) in enumerate(zip(images, labels, strict=True)):
            pixels = ((image[:, :, 0] * contrast + 1) * 127).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{i:03d}.png")
            if kind == "synthetic":
                annotation = {"centre": own[0].value.tolist()}
                (folder / kind / f"{i:03d}.json").write_text(json.dumps(annotation))
    train(budget_config(folder, "undisturbed"), BUDGET)
    return folder


BUDGET = {**SIMGAN, "lambda_reg": 0.0, "consistency": 0.5}


def budget_config(root: Path, out: str, **changes):
    paths = {"synthetic": str(root / "synthetic"), "real": str(root / "real")}
    return train_config(root, out, **{**paths, "guide_steps": 20, "budget_every": 2, "match_real": 2, **changes})


def test_the_log_holds_the_drift_and_the_brake(root):
    records = [record for record in read_stats(root / "undisturbed") if "budget" in record]
    assert [record["step"] for record in records] == [4, 6, 8, 10, 12]
    assert all(record["budget"]["centre"]["tolerance"] == 1.0 for record in records)
    assert {"multiplier", "lambda_reg", "consistency_weight"} <= records[0].keys()
    evaluations = [record for record in read_stats(root / "undisturbed") if "held_out_budget" in record]
    assert [record["step"] for record in evaluations] == [4, 8, 12]
    panels = [draw_curves(r).size[1] for r in (read_stats(root / "undisturbed"), [{"step": 1, "change": 0.1}])]
    assert panels[0] > panels[1]


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [3, 7])
def test_a_budgeted_run_stopped_and_resumed_is_the_undisturbed_run(root, stop_at):
    out = f"stopped-{stop_at}"
    train(budget_config(root, out), BUDGET, observer=Recorder(stop_at=stop_at))
    said = Recorder()
    train(budget_config(root, out), BUDGET, resume=True, observer=said)
    for name in ("last", "best"):
        assert same_tensors(state(root, out, name), state(root, "undisturbed", name))
    assert log(root, out) == log(root, "undisturbed")


@pytest.mark.slow
def test_what_follows_the_budget_is_said(root):
    observer = Recorder(stop_at=1)
    train(budget_config(root, "said"), BUDGET, observer=observer)
    assert next(iter(observer.tables.values()))["psi, lambda"].startswith("identity, follows the label budget")
    assert any(sentence.startswith("label budget: ") for sentence in observer.said)
    observer = Recorder(stop_at=1)
    train(budget_config(root, "fixed"), {**SIMGAN, "lambda_reg": 3.0}, observer=observer)
    assert next(iter(observer.tables.values()))["psi, lambda"] == "identity, 3 x mean L1"
    assert not any(sentence.startswith("label budget: ") for sentence in observer.said)


def test_without_networks_the_geometry_check_steers(root):
    observer = Recorder(stop_at=6)
    train(budget_config(root, "no-networks", guide_steps=0), {**SIMGAN, "lambda_reg": 0.0}, observer=observer)
    assert any("lambda is the brake" in sentence for sentence in observer.said)
    assert "centre" in next(r for r in read_stats(root / "no-networks") if "budget" in r)["budget"]


def test_the_dataset_of_the_fixture_is_read_as_it_was_written(root):
    images = load(open_dataset(root / "synthetic"), 16, "synthetic")
    assert len(images.images) == 60
    assert images.smallest_hw == SIZE_HW
