"""Boxes, polygons and masks that changed their size: how far they went, between which bounds, how much overlaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refinery.checks import CheckContext, geometry, run_checks
from refinery.checks._affine import BOX_SIZE, OUTLINED, SIZE, fitted, outline_motions
from refinery.checks._affine_fit import MOTIONS, affine_design
from refinery.checks._batch import CheckBatch
from refinery.checks._measured import measured_labels
from refinery.checks._overlap import moved_iou
from refinery.sample import Finding, Label, Pair, Sample

SIDE = 64


def disc_pair(seed: int, scale: float, move_px: float = 0.0, noise: float = 0.03) -> tuple[Pair, float]:
    """A disc on a wavy ground, and the same grown, moved to the right, blurred and noisy; and its radius in px."""
    rng = np.random.default_rng(seed)
    x, y = (np.mgrid[0 : 4 * SIDE, 0 : 4 * SIDE][::-1] + 0.5) / 4 - 0.5
    centre, radius = SIDE / 2 + rng.uniform(-4, 4, 2), float(rng.uniform(12, 15))
    ground = 0.55 + 0.04 * np.sin(x / 5) + 0.04 * np.cos(y / 6)

    def drawn(factor: float, moved: float) -> np.ndarray:
        inside = np.hypot(x - centre[0] - moved, y - centre[1]) < factor * radius
        return np.where(inside, 0.15, ground).reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))[..., None]

    after = drawn(scale, move_px)
    padded = np.pad(after, ((1, 1), (1, 1), (0, 0)), mode="edge")
    after = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] + 4 * after) / 8
    after = after + rng.normal(0, noise, after.shape)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    labels = (
        Label("box", "box", np.concatenate((centre - radius, centre + radius))),
        Label("outline", "polygon", centre + radius * np.stack((np.cos(turn), np.sin(turn)), axis=-1)),
        Label("mask", "instance_mask", np.hypot(columns - centre[0], rows - centre[1]) < radius),
    )
    before = (2 * drawn(1.0, 0.0) - 1).astype(np.float32)
    return Pair(Sample("d", "d.png"), before, (2 * after - 1).astype(np.float32), labels), radius


def found(pairs: list[Pair], label: str) -> list[Finding]:
    return [next(f for f in one if f.label == label) for one in geometry.check(CheckBatch(pairs), CheckContext())]


@pytest.mark.parametrize("scale", [0.93, 0.95, 1.05, 1.06])
def test_growth_is_reported_in_px_and_iou(scale: float) -> None:
    cases = [disc_pair(seed, scale) for seed in range(10)]
    grown = np.array([abs(scale - 1) * radius for _, radius in cases])
    true_iou = min(scale, 1 / scale) ** 2
    for label, factor in (("box", np.sqrt(2)), ("outline", 1.0), ("mask", 1.0)):
        findings = found([pair for pair, _ in cases], label)
        measured = [(f, factor * true) for f, true in zip(findings, grown, strict=True) if f.drift is not None]
        assert len(measured) >= 8
        assert np.median([abs(f.drift - true) for f, true in measured]) < 0.2
        assert np.mean([f.lower <= true <= f.upper for f, true in measured]) >= 0.8
        overlaps = [f.iou for f, _ in measured if f.iou is not None]
        assert (label == "outline") == (not overlaps)
        assert not overlaps or abs(np.median(overlaps) - true_iou) < 0.03


def test_what_only_moved_gains_no_size() -> None:
    cases = [disc_pair(seed, 1.0, move_px) for seed in range(10) for move_px in (0.0, 1.0)]
    findings = found([pair for pair, _ in cases], "box")
    assert np.median([f.drift for f in findings[0::2]]) < 0.15
    assert np.median([abs(f.drift - 1.0) for f in findings[1::2]]) < 0.15
    assert sum(f.verdict == "pass" for f in findings[0::2]) >= 8


def test_a_blur_alone_is_no_growth() -> None:
    """What the fit says of size, all of it believed: how far it would move outlines and corners of boxes."""
    batch = CheckBatch([disc_pair(seed, 1.0, noise=0.0)[0] for seed in range(8)])
    outlined = [one for one in measured_labels(batch, 4) if one.kind in OUTLINED]
    assert {one.kind for one in outlined} == set(OUTLINED)
    for one in outlined:
        points, normals, fit = fitted(one, batch, np.arange(len(one.jobs)))
        size = fit.motion * np.isin(np.arange(MOTIONS), BOX_SIZE if normals is None else SIZE)
        moves = (affine_design(points.astype(float), fit.centre, fit.radius_px) @ size[:, None, :, None])[..., 0]
        if normals is None:
            bend_px = np.hypot(moves[..., 0], moves[..., 1]).max(axis=1)
        else:
            bend_px = np.quantile(np.abs((moves * normals).sum(axis=-1)), 0.95, axis=1)
        assert np.quantile(bend_px, 0.9) < 0.1


def test_a_finding_does_not_depend_on_the_batch() -> None:
    pairs = [disc_pair(seed, 1.06)[0] for seed in range(4)]
    together = run_checks(pairs, CheckContext())
    alone = [run_checks([pair], CheckContext())[0] for pair in pairs]
    for first, second in zip(together, alone, strict=True):
        assert [f.verdict for f in first] == [f.verdict for f in second]
        for f, g in zip(first, second, strict=True):
            assert (f.drift is None) == (g.drift is None)
            assert f.drift is None or f.drift == pytest.approx(g.drift, abs=2e-3)


def test_iou_of_what_grew_and_turned() -> None:
    box = Label("box", "box", np.array([0.0, 0.0, 20.0, 10.0]))
    assert moved_iou(box, (0.0, 0.0), 0.1 * np.eye(2)) == pytest.approx(1 / 1.21)
    assert moved_iou(box, (0.0, 0.0), -0.1 * np.eye(2)) == pytest.approx(0.81)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    square = Label("mask", "instance_mask", mask)
    assert moved_iou(square, (0.0, 0.0), 0.1 * np.eye(2)) == pytest.approx(1 / 1.21, abs=0.02)
    quarter = np.array([[-1.0, -1.0], [1.0, -1.0]])
    assert moved_iou(square, (0.0, 0.0), quarter) == pytest.approx(1.0, abs=0.02)
    far = Label("mask", "instance_mask", np.pad(mask, 400))
    assert moved_iou(far, (0.0, 0.0), 0.1 * np.eye(2)) == pytest.approx(1 / 1.21, abs=0.02)


def test_an_outline_that_is_not_found_again_has_no_upper_bound_and_changes_no_other() -> None:
    clear, _ = disc_pair(0, 1.05)
    noise = np.random.default_rng(1).uniform(-1, 1, clear.refined.shape).astype(np.float32)
    lost = replace(clear, refined=noise)
    together = outline_motions(CheckBatch([lost, clear]), 4)
    for both, alone in zip(together, outline_motions(CheckBatch([clear]), 4), strict=True):
        assert both is not None
        assert alone is not None
        assert both.upper_px[0] == np.inf
        assert both.support[0] == 0.0
        assert both.upper_px[1] == pytest.approx(alone.upper_px[0])
        assert both.linear[1] == pytest.approx(alone.linear[0])
