"""The examples' simulators: images depend on seed and index alone, and every label says what was rendered."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("REFINERY_DATA", ROOT.parent / "shared" / "data"))
TOLERANCE_PX = 0.05


def load(example: str, script: str = "simulate") -> ModuleType:
    """Import an example's script, which is not part of any package."""
    name = f"examples_{example}_{script}"
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / example / f"{script}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


eyes, signs, coins = load("eyes"), load("signs"), load("coins")


@pytest.fixture
def pictograms(tmp_path: Path) -> Path:
    """Two tiny signs: a disc and an upright triangle, wider than high and off-centre in its file."""
    folder = tmp_path / "pictograms"
    folder.mkdir()
    disc, triangle = (Image.new("RGBA", (96, 96), (0, 0, 0, 0)) for _ in range(2))
    ImageDraw.Draw(disc).ellipse((0, 0, 95, 95), fill=(200, 20, 30, 255))
    ImageDraw.Draw(triangle).polygon([(48, 20), (90, 80), (6, 80)], fill=(200, 20, 30, 255))
    disc.save(folder / "03_disc.png")
    triangle.save(folder / "11_triangle.png")
    return folder


def run(module: ModuleType, out: Path, *arguments: object) -> dict[str, bytes]:
    """Run a script's command line and return the files it wrote."""
    module.main([str(out), *map(str, arguments)])
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def centroid(weight: np.ndarray) -> np.ndarray:
    """Weighted mean position [x, y] in px."""
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def mean_position(polygon: np.ndarray) -> np.ndarray:
    """Centroid [x, y] of the area inside a polygon (N, 2)."""
    (x, y), (next_x, next_y) = polygon.T, np.roll(polygon, -1, axis=0).T
    cross = x * next_y - next_x * y
    return np.array([((x + next_x) * cross).sum(), ((y + next_y) * cross).sum()]) / 3 / cross.sum()


EVERY_SIMULATOR = pytest.mark.parametrize("module", [eyes, signs, coins], ids=["eyes", "signs", "coins"])


@EVERY_SIMULATOR
def test_images_depend_on_seed_and_index_alone(module: ModuleType, tmp_path: Path, pictograms: Path) -> None:
    extra = ["--pictograms", pictograms] if module is signs else []
    few = run(module, tmp_path / "few", "--count", 2, "--seed", 7, *extra)
    many = run(module, tmp_path / "many", "--count", 4, "--seed", 7, *extra)
    other = run(module, tmp_path / "other", "--count", 2, "--seed", 8, *extra)
    assert few == {name: many[name] for name in few}
    assert len(many) == 2 * len(few)
    assert not set(few.values()) & set(other.values())


@EVERY_SIMULATOR
def test_every_image_has_its_sidecar(module: ModuleType, tmp_path: Path, pictograms: Path) -> None:
    extra = ["--pictograms", pictograms] if module is signs else []
    names = set(run(module, tmp_path / "out", "--count", 3, *extra))
    images = {name for name in names if name.endswith(".png") and "_mask" not in name}
    assert images == {"00000.png", "00001.png", "00002.png"}
    assert {name.replace(".png", ".json") for name in images} <= names


@EVERY_SIMULATOR
def test_unwritable_output_is_one_line(module: ModuleType, tmp_path: Path, pictograms: Path) -> None:
    (tmp_path / "file").write_text("")
    extra = ["--pictograms", pictograms] if module is signs else []
    with pytest.raises(SystemExit, match=r"^cannot write to [^\n]*$"):
        run(module, tmp_path / "file", "--count", 1, *extra)


def sample_eyes(count: int) -> list:
    return [eyes.sample_eye(np.random.default_rng([0, index])) for index in range(count)]


def wide_open(eye):
    """The same eye with lids that hide nothing of the iris, and nothing on the iris but its gray."""
    lids = replace(eye.lids, upper_height=40.0, lower_height=40.0, half_width=60.0, shadow=0.0)
    ball = replace(eye.eyeball, glint_gray=0.0, pupil_ratio=0.3, sclera_gray=0.6)
    return replace(eye, eyeball=ball, lids=lids, skin=replace(eye.skin, grain=0.0))


def with_iris_gray(eye, gray: float):
    return replace(eye, eyeball=replace(eye.eyeball, iris_gray=gray))


@pytest.mark.parametrize("index", range(6))
def test_iris_label_is_the_rendered_iris(index: int) -> None:
    eye = wide_open(sample_eyes(index + 1)[-1])
    # The darkening towards the limbus is symmetric, so the difference's centroid is the disc's centre.
    difference = eyes.render(with_iris_gray(eye, 0.9)).astype(float) - eyes.render(with_iris_gray(eye, 0.1))
    label = eyes.labels(eye)
    assert centroid(difference) == pytest.approx(np.array(label["iris_center"]), abs=TOLERANCE_PX)
    contour = np.array(label["iris_contour"]) - label["iris_center"]
    assert np.hypot(*contour.T).max() == pytest.approx(label["iris_radius"], abs=1e-3)


@pytest.mark.parametrize("index", range(6))
def test_iris_contour_has_the_rendered_iris_area(index: int) -> None:
    eye = sample_eyes(index + 1)[-1]
    x, y = eyes.pixel_grid()
    rendered = eyes.coverage(eyes.iris_distance(eye.eyeball, x, y)[1]).sum() / eyes.SUPERSAMPLE**2
    radius, (_, _, z) = eye.eyeball.iris_radius, eye.eyeball.gaze_vector
    assert rendered == pytest.approx(np.pi * radius**2 * abs(z), rel=0.005)


@pytest.mark.parametrize("index", range(6))
def test_eyelid_contour_lies_on_the_rendered_lids(index: int) -> None:
    eye = sample_eyes(index + 1)[-1]
    x, y = np.array(eyes.labels(eye)["eyelid_contour"]).T
    upper, lower = eyes.lid_distances(eye, *eyes.to_lid_frame(eye, x, y))
    assert np.maximum(upper, lower) == pytest.approx(np.zeros(16), abs=TOLERANCE_PX)
    signed_area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
    assert signed_area > 100
    assert x[0] < x[8]


def test_both_eyes_occur_and_nose_is_on_the_named_side() -> None:
    for eye in sample_eyes(40):
        inner_x = eyes.from_lid_frame(eye, np.array([-1.0]), np.array([0.0]))[0, 0]
        assert (inner_x < eye.lids.center[0]) == (eye.side == "left")
    assert 10 <= sum(eye.side == "left" for eye in sample_eyes(40)) <= 30


def test_gaze_moves_the_iris_the_way_it_says() -> None:
    label = [eyes.labels(eye) for eye in sample_eyes(200)]
    (yaw, pitch), (x, y) = (np.array([each[key] for each in label]).T for key in ("gaze", "iris_center"))
    assert np.corrcoef(yaw, x)[0, 1] > 0.9
    assert np.corrcoef(pitch, y)[0, 1] < -0.9
    vector = np.array([each["gaze_vector"] for each in label])
    assert np.arctan2(vector[:, 0], -vector[:, 2]) == pytest.approx(yaw, abs=1e-4)
    assert -np.arcsin(vector[:, 1]) == pytest.approx(pitch, abs=1e-4)


def test_iris_stays_in_the_frame_and_partly_visible() -> None:
    for eye in sample_eyes(100):
        contour = np.array(eyes.labels(eye)["iris_contour"])
        assert (contour >= -0.5).all()
        assert (contour <= [eyes.WIDTH - 0.5, eyes.HEIGHT - 0.5]).all()
        x, y = eyes.pixel_grid()
        iris = eyes.coverage(eyes.iris_distance(eye.eyeball, x, y)[1])
        opening = eyes.coverage(np.maximum(*eyes.lid_distances(eye, *eyes.to_lid_frame(eye, x, y))))
        assert (iris * opening).sum() > 0.4 * iris.sum()


def sample_signs(folder: Path, count: int, size: int = 48) -> list:
    loaded = signs.load_pictograms(folder, None, size * signs.SUPERSAMPLE)
    return [signs.sample_scene(np.random.default_rng([0, index]), loaded, size) for index in range(count)]


def magnified(scene, factor: int):
    """The same scene with `factor` times as many pixels a side."""
    zoom = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])
    return replace(scene, size=scene.size * factor, homography=zoom @ scene.homography)


@pytest.mark.slow
def test_sign_box_is_tight_around_the_rendered_sign(pictograms: Path) -> None:
    factor = 6
    for scene in sample_signs(pictograms, 6):
        y, x = np.nonzero(signs.warp_sign(magnified(scene, factor))[..., 3] > 0.5)
        edges = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
        rendered = edges / (signs.SUPERSAMPLE * factor) - 0.5
        half_step = 0.5 / (signs.SUPERSAMPLE * factor)
        assert np.array(signs.labels(scene)["box"]) == pytest.approx(rendered, abs=TOLERANCE_PX + half_step)


def test_sign_fills_the_frame_but_for_a_margin(pictograms: Path) -> None:
    for scene in sample_signs(pictograms, 60):
        x0, y0, x1, y1 = signs.labels(scene)["box"]
        assert min(x0, y0) >= -0.5
        assert max(x1, y1) <= scene.size - 0.5
        assert 0.65 * scene.size < max(x1 - x0, y1 - y0) < 0.92 * scene.size


def test_sign_corners_bound_the_rendered_rectangle(pictograms: Path) -> None:
    square = signs.Pictogram(0, "0_square", np.ones((60, 60, 4), np.float32))
    shrink = np.diag([0.6, 0.6, 1.0])  # keeps the whole square in the frame
    for scene in sample_signs(pictograms, 12):
        scene = replace(scene, pictogram=square, homography=scene.homography @ shrink)
        alpha = signs.warp_sign(scene)[..., 3]
        corners = np.array(signs.labels(scene)["corners"])
        rendered = (centroid(alpha) + 0.5) / signs.SUPERSAMPLE - 0.5
        assert rendered == pytest.approx(mean_position(corners), abs=TOLERANCE_PX)
        (x, y), (next_x, next_y) = corners.T, np.roll(corners, -1, axis=0).T
        assert alpha.sum() / signs.SUPERSAMPLE**2 == pytest.approx((x * next_y - next_x * y).sum() / 2, rel=0.01)
        assert x[0] < x[1]
        assert y[0] < y[3]


def test_sign_classes_can_be_restricted(tmp_path: Path, pictograms: Path) -> None:
    files = run(signs, tmp_path / "out", "--pictograms", pictograms, "--classes", 11, "--count", 5)
    labels = [json.loads(content) for name, content in files.items() if name.endswith(".json")]
    assert {(label["class_id"], label["class_name"]) for label in labels} == {(11, "11_triangle")}
    with pytest.raises(SystemExit, match=r"has no class \[5\]; it has \[3, 11\]"):
        run(signs, tmp_path / "out", "--pictograms", pictograms, "--classes", 5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", r"^no pictograms in [^\n]*: expected PNG files [^\n]*$"),
        ("stop.png", b"", r"^[^\n]*stop.png: the name must start with the class id[^\n]*$"),
        ("01_stop.png", b"no image", r"^[^\n]*01_stop.png: cannot be read as an image$"),
    ],
)
def test_unusable_pictograms_are_one_line(tmp_path: Path, name: str | None, content: bytes, message: str) -> None:
    folder = tmp_path / "pictograms"
    if name:
        folder.mkdir()
        (folder / name).write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        run(signs, tmp_path / "out", "--pictograms", folder)
    assert not (tmp_path / "out").exists()


def test_official_pictograms_render() -> None:
    folder = DATA / "signs" / "pictograms"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set REFINERY_DATA to the data folder")
    scenes = sample_signs(folder, 20)
    assert len({scene.pictogram.class_id for scene in scenes}) > 5
    for scene in scenes:
        assert scene.pictogram.class_name.startswith(f"{scene.pictogram.class_id:02d}_")
        assert signs.render(scene).shape == (48, 48, 3)


def sample_coins(count: int, size: int = 64) -> list:
    return [coins.sample_scene(np.random.default_rng([0, index]), size) for index in range(count)]


def test_coin_label_is_the_rendered_coin() -> None:
    for scene in sample_coins(6, size=160):
        whole = [coin for coin in scene.coins if min(coin.box(160)) > 0 and max(coin.box(160)) < 159]
        assert whole
        for coin in whole:
            flat = replace(coin, relief=0.0, rim_height=0.0)
            dark, bright = (
                coins.render(replace(scene, coins=(replace(flat, gray=gray),))).astype(float) for gray in (0.2, 0.9)
            )
            share = (bright - dark) / (bright - dark).max()
            assert centroid(share) == pytest.approx(np.array(coin.center), abs=TOLERANCE_PX)
            assert np.sqrt(share.sum() / np.pi) == pytest.approx(coin.radius, abs=TOLERANCE_PX)


def test_mask_ids_follow_the_list_of_coins(tmp_path: Path) -> None:
    files = run(coins, tmp_path / "out", "--count", 12)
    for index in range(12):
        labels = json.loads(files[f"{index:05d}.json"])["coins"]
        mask = np.asarray(Image.open(tmp_path / "out" / f"{index:05d}_mask.png"))
        assert set(np.unique(mask)) - {0} == set(range(1, len(labels) + 1))
        for identity, label in enumerate(labels, start=1):
            y, x = np.nonzero(mask == identity)
            edges = np.array([x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5])
            assert edges == pytest.approx(np.array(label["box"]), abs=1.0)
            assert np.hypot(x - label["center"][0], y - label["center"][1]).max() <= label["radius"] + 1e-3


def test_coins_lie_apart_with_centers_and_boxes_in_the_frame() -> None:
    counts = set()
    for scene in sample_coins(60):
        counts.add(len(scene.coins))
        for index, coin in enumerate(scene.coins):
            assert not coins.overlaps(coin, list(scene.coins[:index]))
            assert min(coin.center) >= 0
            assert max(coin.center) <= 63
            x0, y0, x1, y1 = coin.box(64)
            assert -0.5 <= x0 < x1 <= 63.5
            assert -0.5 <= y0 < y1 <= 63.5
    assert {1, 2} <= counts


def test_real_coins_are_crops_of_the_photograph(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    real = load("coins", "real")
    few = run(real, tmp_path / "few", "--count", 2, "--size", 32)
    many = run(real, tmp_path / "many", "--count", 3, "--size", 32)
    assert few == {name: many[name] for name in few}
    windows = np.lib.stride_tricks.sliding_window_view(data.coins(), (32, 32))
    crop = np.asarray(Image.open(tmp_path / "few" / "00000.png"))
    turned = [np.rot90(mirrored, k) for mirrored in (crop, crop[:, ::-1]) for k in range(4)]
    candidates = [windows[windows[..., 0, 0] == each[0, 0]] for each in turned]
    assert any((found == each).all(axis=(1, 2)).any() for found, each in zip(candidates, turned, strict=True))


def test_missing_scikit_image_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit, match=r"^[^\n]*pip install 'refinery\[examples\]'$"):
        run(load("coins", "real"), tmp_path / "out", "--count", 1)
