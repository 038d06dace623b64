"""Images in tiles: what comes out is what one piece gives, to the bit for local networks, nearly for others."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photo
from hypothesis import given, settings
from hypothesis import strategies as st
from models import blur, model, write_artifact
from stream import manifest, refine_json, tree_of, write_scenes

from refinery import artifact
from refinery.artifact import Artifact, Manifest
from refinery.errors import ModelError
from refinery.networks.resnet_refiner import ResnetRefiner
from refinery.networks.unet import UNet
from refinery.onnx_export import to_onnx
from refinery.runtime import tiling
from refinery.runtime.batching import refine_images
from refinery.runtime.fit import Fit
from refinery.runtime.session import Session, open_session
from refinery.runtime.tiling import plan
from refinery.training.refining import fit_of

SIDES = st.integers(8, 3000)


def session_of(network: torch.nn.Module, channels: int, provider: str = "cpu", threads: int = 1) -> Session:
    data = to_onnx(network, channels, "simgan")
    known = fit_of(network)
    about = Manifest(
        channels=channels,
        size_multiple=known.multiple,
        min_side_px=known.least_px,
        receptive_field_px=known.receptive_px,
        cell_px=known.cell_px,
        latent=int(getattr(network, "latent", 0)),
    )
    return open_session(Artifact(Path("refiner.onnx"), about, data), provider, "fp32", threads)


def whole_and_cut(session: Session, image: np.ndarray, tile_px: int, latent: np.ndarray | None = None):
    """The refined image in one piece and in tiles, and how many tiles there were."""
    latents = None if latent is None else [latent]
    (whole,) = refine_images(session.run, [image], 1, latents=latents, fit=Fit(session.fit.multiple))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "TILE_PX", tile_px)
        patch.setattr(tiling, "WHOLE_PX", tile_px)
        calls: list[tuple[int, ...]] = []

        def counted(*given):
            calls.append(given[0].shape)
            return session.run(*given)

        (cut,) = refine_images(counted, [image], 1, latents=latents, fit=session.fit)
    assert len(set(calls)) == 1, "all tiles of one size"
    assert calls[0][2] * calls[0][3] <= tile_px * 1.05
    return whole, cut, len(calls)


# Local networks

RESNETS = {
    "gray": {"channels": 1},
    "colour": {"channels": 3},
    "zeros": {"channels": 1, "padding": "zeros"},
    "latent channels and tone": {"channels": 3, "latent": 4, "tone": True},
    "modulation and tone": {"channels": 3, "latent": 4, "latent_as": "modulation", "tone": True},
    "batch modulation": {"channels": 3, "latent": 4, "latent_as": "batch_modulation"},
    "7x7, as published": {"channels": 3, "kernel": 7, "head": "tanh", "padding": "zeros"},
    "odd width": {"channels": 1, "width": 21, "blocks": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("given_settings", RESNETS.values(), ids=RESNETS)
def test_a_resnet_refiner_gives_the_same_bits_in_tiles(given_settings):
    torch.manual_seed(0)
    network = ResnetRefiner(**{"width": 16, "blocks": 2, **given_settings}).eval()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    if network.tone is not None:
        torch.nn.init.normal_(network.tone.last.weight, std=0.1)
    channels, random = given_settings["channels"], np.random.default_rng(0)
    session = session_of(network, channels)
    for size_hw in ((96, 128), (131, 97), (40, 333), (301, 40)):
        image = random.uniform(-1, 1, (*size_hw, channels)).astype(np.float32)
        latent = random.standard_normal(network.latent, dtype=np.float32) if network.latent else None
        whole, cut, count = whole_and_cut(session, image, 4000, latent)
        assert count >= 4
        assert np.array_equal(whole, cut), size_hw


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_the_default_refiner_gives_the_same_bits_in_tiles_of_any_size(provider):
    if provider == "openvino":
        pytest.importorskip("openvino")
    torch.manual_seed(0)
    network = ResnetRefiner(3, latent=4, tone=True).eval()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    session = session_of(network, 3, provider, threads=2)
    image, latent = photo(0, 150, 203, 3).astype(np.float32) / 127.5 - 1, np.float32([1, -1, 0.5, 0])
    for tile_px in (2500, 5000, 7001, 20_000):
        whole, cut, count = whole_and_cut(session, image, tile_px, latent)
        assert count > 1
        assert np.array_equal(whole, cut), tile_px


@settings(deadline=None)
@given(st.tuples(SIDES, SIDES), st.integers(0, 20), st.integers(20_000, 400_000))
def test_every_pixel_comes_from_one_tile_that_sees_all_it_depends_on(size_hw, halo, tile_px):
    tiles = plan(size_hw, Fit(1, 8, 2 * halo + 1, 1), tile_px)
    if size_hw[0] * size_hw[1] <= tile_px:
        assert tiles is None
        return
    for spans, side, tile in zip((tiles.rows, tiles.columns), size_hw, tiles.tile_hw, strict=True):
        assert [span.first for span in spans] == [0, *(span.last for span in spans[:-1])]
        assert spans[-1].last == side
        for span in spans:
            assert 0 <= span.start <= side - tile
            assert span.start == 0 or span.first - span.start >= halo
            assert span.start + tile == side or span.start + tile - span.last >= halo
    assert tiles.tile_hw[0] * tiles.tile_hw[1] <= tile_px * 1.02


# Other networks


@cache
def unet(norm: str, statistics: str = "running", noise: bool = False) -> Session:
    """A small U-Net that has learnt to bend the contrast of 64 px patches."""
    torch.manual_seed(0)
    network = UNet(1, width=8, levels=4, norm=norm, statistics=statistics, noise=noise).train()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, (0.5, 0.999))
    photos = torch.from_numpy(np.stack([scene(seed, 256, 256)[:, :, 0] for seed in range(16)]))
    for step in range(60):
        y, x = 64 * (step % 4), 64 * (step // 4 % 4)
        patches = photos[step % 2 :: 2, None, y : y + 64, x : x + 64]
        loss = (network(patches) - 0.8 * torch.sin(2 * patches)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return session_of(network.eval(), 1)


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """(H, W, 1) in [-1, 1]: a photo of which one side is darker than the other, as scenes are."""
    light = np.linspace(0.6, 1.0, width, dtype=np.float32)[:, None]
    return (photo(seed, height, width, 1).reshape(height, width, 1).astype(np.float32) / 255 * light) * 2 - 1


@pytest.mark.slow
@pytest.mark.parametrize("size_hw", [(704, 896), (701, 907)])
def test_a_unet_with_running_statistics_gives_the_whole_image_up_to_rounding(size_hw):
    whole, cut, count = whole_and_cut(unet("batch"), scene(0, *size_hw), 512 * 512)
    assert count > 3
    assert np.abs(cut - whole).max() < 1e-5


UNETS = {
    "statistics of the image": ("batch", "image", False, 0.5, 0.05),
    "instance norm": ("instance", "running", False, 0.5, 0.05),
    "noise": ("batch", "running", True, 0.15, 0.012),
}
"""Norm, statistics, noise; largest and mean difference in [-1, 1] units, about twice what was measured."""


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "statistics", "noise", "most", "mean"), UNETS.values(), ids=UNETS)
def test_a_unet_in_tiles_is_near_one_in_one_piece_and_has_no_seams(norm, statistics, noise, most, mean):
    session = unet(norm, statistics, noise)
    latent = np.random.default_rng(0).standard_normal(session.latent, dtype=np.float32) if noise else None
    whole, cut, count = whole_and_cut(session, scene(1, 700, 900), 512 * 512, latent)
    off = cut - whole
    assert count > 3
    assert np.abs(off).max() < most
    assert np.abs(off).mean() < mean
    for axis in (0, 1):
        steps = [np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2)) for image in (off, whole)]
        assert (steps[0] < 0.2 * np.median(steps[1])).all(), "a line that the whole image does not have"


def test_where_the_cell_is_not_known_tiles_lie_on_the_coarsest_grid():
    tiles = plan((3000, 4000), Fit(receptive_px=94))
    assert tiles is not None
    assert {side % 256 for side in tiles.tile_hw} == {0}
    assert {(b.start - a.start) % 256 for a, b in pairwise(tiles.columns)} == {0}
    assert np.prod(tiles.tile_hw) <= tiling.TILE_PX


@settings(deadline=None)
@given(st.tuples(SIDES, SIDES), st.integers(1, 400), st.sampled_from([1, 4, 16, 96, 256]), st.sampled_from([1, 8]))
def test_weights_are_one_everywhere_and_nothing_where_a_border_was_seen(size_hw, halo, cell, multiple):
    fit = Fit(multiple, 8, 2 * halo + 1, 0 if cell == 1 else cell)
    tiles = plan(size_hw, fit, 700_000)
    for spans, side, tile in zip((tiles.rows, tiles.columns), size_hw, tiles.tile_hw, strict=True) if tiles else ():
        total = np.zeros(side, np.float32)
        for span in spans:
            total[span.first : span.last] += span.weights
            assert span.first == 0 or span.first - span.start >= min(halo, 192)
            assert span.last == side or span.start + tile - span.last >= min(halo, 192)
            assert (span.start - spans[0].start) % multiple == tile % multiple == 0
        assert (total == 1).all()


def test_nothing_is_cut_whose_reach_is_not_known():
    assert plan((5000, 6000), Fit()) is None
    assert not tiling.takes((5000, 6000), Fit())
    assert tiling.takes((3000, 3000), Fit())
    assert tiling.takes((5000, 6000), Fit(receptive_px=19))
    assert not tiling.takes((5000, 6000), Fit(receptive_px=10**9, cell_px=1))


# The command line


def test_refine_cuts_large_images_and_delivers_what_one_piece_gives(tmp_path, monkeypatch):
    source = write_scenes(tmp_path / "in", 3)
    model = write_artifact(tmp_path / "model", blur(), receptive_field_px=3, cell_px=1)
    assert refine_json(source, tmp_path / "whole", model)[0] == 0
    monkeypatch.setattr(tiling, "TILE_PX", 1000)
    monkeypatch.setattr(tiling, "WHOLE_PX", 1000)
    code, result = refine_json(source, tmp_path / "cut", model)
    assert (code, result["refined"]) == (0, 3)
    assert tree_of(tmp_path / "cut") == tree_of(tmp_path / "whole")


def test_a_large_image_is_rejected_where_the_reach_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(tiling, "WHOLE_PX", 2500)
    source = write_scenes(tmp_path / "in", 2)
    write_scenes(tmp_path / "in" / "few", 1, size_hw=(40, 50))
    code, result = refine_json(source, tmp_path / "out", write_artifact(tmp_path / "model", model()))
    assert (code, result["refined"], result["rejected"]) == (3, 1, 2)
    error = manifest(tmp_path / "out")["0000.png"]["error"]
    assert error.startswith("0000.png: 64x48 px; more than 2,500 pixels are refined in tiles")
    assert error.endswith("export it with `refinery export`, or cut the image into tiles first")
    assert tree_of(tmp_path / "out")["0000.png"] == tree_of(source)["0000.png"]


@pytest.mark.parametrize("changes", [{"cell_px": -1}, {"cell_px": 2000}, {"receptive_field_px": -1}, {"cell_px": "1"}])
def test_a_manifest_with_a_reach_that_cannot_be_is_refused(tmp_path, changes):
    with pytest.raises(ModelError, match="not a refinery manifest"):
        artifact.load(write_artifact(tmp_path / "model", model(), **changes))
