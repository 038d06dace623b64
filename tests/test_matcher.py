"""The matcher's training: scenes whose motion is known, a loss that falls, graphs that say what the networks say."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
import torch

from refinery.checks._outlines import OFFSETS_PX, POSITIONS, area_offsets
from refinery.matcher.export import write_graphs
from refinery.matcher.network import FEATURES, Features, Sectors
from refinery.matcher.random_numbers import RandomNumbers
from refinery.matcher.scenes import SIDE_PX, SceneDrawer, _moved_points, _unmoved
from refinery.matcher.shapes import linear_of, random_shape
from refinery.matcher.train import Matcher, loss_of, precision_of, rows_of


def test_scenes_are_the_same_for_a_seed_and_others_for_another():
    first, again, other = (SceneDrawer(seed).draw(4) for seed in (0, 0, 1))
    assert torch.equal(first.source, again.source)
    assert torch.equal(first.motion, again.motion)
    assert not torch.equal(first.source, other.source)


def test_scenes_have_the_shapes_that_they_say_and_finite_values():
    scenes = SceneDrawer(0).draw(3)
    assert scenes.source.shape == scenes.refined.shape == (3, 3, SIDE_PX, SIDE_PX)
    assert scenes.points_xy.shape == (3, POSITIONS, len(OFFSETS_PX), 2)
    assert scenes.motion.shape == (3, 6)
    assert scenes.shown.shape == (3, POSITIONS)
    for values in vars(scenes).values():
        assert torch.isfinite(values).all()


def test_no_thing_stays_exactly_where_it_was():
    """A quarter of things that do not move at all would teach the network to recognise identity."""
    motion = SceneDrawer(0)._motion(200)
    assert (motion[:, :2].norm(dim=1) > 0).all()
    assert (motion[:, :2].norm(dim=1) < 0.3).float().mean() > 0.1
    assert motion[:, :2].abs().max() < 5


def test_without_a_crowd_nothing_covers_a_thing():
    scenes = SceneDrawer(0).draw(50, crowded=0.0)
    inside = (
        ((scenes.points_xy > -0.5) & (scenes.points_xy < SIDE_PX - 0.5)).all(-1).float()[:, :, OFFSETS_PX.index(0.0)]
    )
    assert torch.equal(scenes.shown, inside)
    assert (scenes.mine == 1).all()
    assert SceneDrawer(0).draw(50, crowded=1.0).shown.mean() < scenes.shown.mean()


def test_a_shape_s_outline_lies_on_it_with_normals_that_point_out():
    shape = random_shape(RandomNumbers(0), 40, SIDE_PX, (5.0, 20.0), 6.0)
    points, normals = shape.outline()
    assert shape.distance(points).abs().max() < 0.05
    assert (shape.distance(points + 0.5 * normals) > 0).float().mean() > 0.97
    assert (shape.distance(shape.centre[:, None]) < 0).all()
    steps = (points.roll(-1, 1) - points).norm(dim=-1)
    assert (steps.std(1) / steps.mean(1)).max() < 0.2


def test_what_moved_is_found_where_it_was():
    scenes = SceneDrawer(3).draw(5)
    moved = _moved_points(scenes.points_xy, scenes.centre, scenes.motion)
    assert torch.allclose(_unmoved(moved, scenes.centre, scenes.motion), scenes.points_xy, atol=1e-3)


def test_a_motion_s_matrix_grows_turns_and_stretches():
    growth, turn = linear_of(torch.tensor([[0, 0, 0.1, 0, 0, 0], [0, 0, 0, 0.1, 0, 0]]))
    assert torch.allclose(growth, 0.1 * torch.eye(2))
    assert torch.allclose(turn, torch.tensor([[0.0, -0.1], [0.1, 0.0]]))


def test_points_of_a_box_fill_it_from_the_middle_to_its_sides():
    filled, around = area_offsets()
    assert filled.shape == (POSITIONS, len(OFFSETS_PX), 2)
    assert np.abs(filled[:, -1]).max(axis=1) == pytest.approx(1.0)
    assert np.hypot(*around.T) == pytest.approx(1.0)


def test_features_are_of_length_one_in_flat_images_too_and_do_not_know_contrast():
    torch.manual_seed(0)
    features = Features().eval()
    image = torch.rand(1, 3, 20, 30) * 2 - 1
    with torch.no_grad():
        found, flatter, flat = features(image), features(0.5 * image - 0.2), features(torch.zeros(1, 3, 20, 30))
    assert found.shape == (1, FEATURES + 2, 20, 30)
    assert found[:, :FEATURES].norm(dim=1).max() == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(found, flatter, atol=0.02)
    assert torch.isfinite(flat).all()


def test_precision_is_positive_whatever_the_factors():
    precision = precision_of(torch.randn(50, 3))
    assert (torch.linalg.eigvalsh(precision) > -1e-5).all()


def test_a_sector_without_points_that_count_has_no_say():
    torch.manual_seed(0)
    scenes = SceneDrawer(0).draw(2)
    hidden = torch.zeros_like(scenes.mine)
    motion, precision, *_ = Matcher()(type(scenes)(**{**vars(scenes), "mine": hidden}))
    assert motion.abs().max() < 1e-4
    assert torch.allclose(precision, precision[:1].expand_as(precision), atol=1e-3)


@pytest.mark.slow
def test_some_steps_of_training_make_the_loss_smaller():
    torch.manual_seed(0)
    matcher, drawer = Matcher(), SceneDrawer(0)
    optimiser = torch.optim.AdamW(matcher.parameters(), 2e-3)
    held_out = SceneDrawer(9).draw(32, 0.0)
    losses = []
    for _ in range(40):
        with torch.no_grad():
            losses.append(float(loss_of(matcher(held_out), held_out)[0]))
        optimiser.zero_grad()
        scenes = drawer.draw(16, 0.0)
        loss_of(matcher(scenes), scenes)[0].backward()
        torch.nn.utils.clip_grad_norm_(matcher.parameters(), 1.0)
        optimiser.step()
    assert losses[-1] < losses[0] - 0.5
    assert math.isfinite(losses[-1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_graphs_say_what_the_networks_say(tmp_path):
    torch.manual_seed(0)
    features, sectors = Features().eval(), Sectors().eval()
    write_graphs(features, sectors, tmp_path)
    sessions = {name: onnxruntime.InferenceSession(tmp_path / f"{name}.onnx") for name in ("features", "sectors")}
    image = torch.rand(3, 3, 31, 45) * 2 - 1
    with torch.no_grad():
        found = features(image)
    assert np.allclose(sessions["features"].run(None, {"image": image.numpy()})[0], found.numpy(), atol=1e-4)
    scenes = SceneDrawer(1).draw(5)
    source_at, refined_at, inside = rows_of(scenes.points_xy, (SIDE_PX, SIDE_PX))
    width = SIDE_PX + 10
    inputs = {
        "source": torch.randn(5 * SIDE_PX**2, FEATURES + 2),
        "refined": torch.randn(5 * width**2, FEATURES),
        "source_at": source_at,
        "refined_at": refined_at,
        "steps": (torch.arange(11)[:, None] * width + torch.arange(11)).reshape(-1),
        "counts": inside,
        "away": scenes.points_xy - scenes.centre[:, None, None],
        "normals": scenes.normals,
        "is_area": scenes.is_area,
    }
    with torch.no_grad():
        expected = sectors(*inputs.values())
    said = sessions["sectors"].run(None, {name: values.numpy() for name, values in inputs.items()})
    for ours, theirs in zip(said, expected, strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=1e-3)
