"""What people look at: pictures that open, tables that hold any path, lines that say what happened."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from refinery.errors import OutputError
from refinery.registry import find, names
from refinery.report import terminal, text
from refinery.report.curves import draw_curves
from refinery.report.picture import labelled_rows, save_png
from refinery.report.worst import AFTER, BEFORE, Row, draw_worst
from refinery.sample import Label, Pair, Sample
from refinery.training.device import Placement

LOSSES = {
    "phase": "adversarial",
    "refiner_adversarial": 0.7,
    "discriminator": 0.6,
    "regularization": 0.1,
    "change": 0.05,
}
DRIFT = {"iris [1]": {"unit": "px", "median": 0.1, "p95": 0.4}, "gaze": {"unit": "deg", "median": None}}
POWER = {"iris": {"detects": 0.5, "unit": "px", "power": 0.9, "coverage": 0.92}}
REALISM = {"patch_kid": {"synthetic": 2.0, "refined": 1.0, "floor": 0.1, "ci95": [0.9, 1.1]}}


def step(number: int, **more) -> dict:
    return {"step": number, **LOSSES, "discriminator_accuracy": 0.5, **more}


@pytest.mark.parametrize(
    ("records", "panels"),
    [
        ([], 1),
        ([step(1)], 3),
        ([step(1), step(2), {"step": 2, "drift": DRIFT, "realism": REALISM}, step(3)], 5),
        ([{"step": 4, "drift": {"gaze": DRIFT["gaze"]}, "realism": REALISM}], 1),
        ([{"step": 0, "discriminator": 0.0}], 1),
    ],
)
def test_curves_have_a_panel_for_each_kind_of_number(tmp_path, records, panels):
    save_png(draw_curves(records), tmp_path / "deep" / "curves.png")
    with Image.open(tmp_path / "deep" / "curves.png") as picture:
        picture.load()
        assert picture.size == (960, 240 * panels)
        assert (len(picture.getcolors(10**6)) > 1) == bool(records)


@pytest.mark.parametrize("method", names("method"))
def test_curves_show_every_loss_that_a_method_logs(method):
    module = find("method", method)
    settings, placement = module.scale(module.Settings(), (32, 32)), Placement(torch.device("cpu"), autocast=False)
    training = module.create(1, 1, settings, 100, placement, torch.Generator().manual_seed(0))
    logged = training.step(training.total_steps - 1, *[lambda: torch.rand(4, 1, 32, 32) * 2 - 1] * 2)
    for name in logged:
        assert len(draw_curves([{"step": 1, name: 0.5}]).getcolors(10**6)) > 1, name


def test_curves_go_where_the_numbers_go():
    rising = np.asarray(draw_curves([{"step": i, "discriminator": i / 10} for i in range(11)]))
    y, x = np.nonzero((rising == (31, 119, 180)).all(axis=2) & (np.indices(rising.shape[:2])[0] > 40))
    assert np.corrcoef(x, y)[0, 1] < -0.99


@pytest.mark.parametrize(
    ("shape", "size"), [((8, 16, 1), (960, 480)), ((8, 16, 3), (960, 480)), ((4, 2000, 3), (2000, 4))]
)
def test_small_images_are_enlarged_by_a_whole_factor(tmp_path, shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    save_png(pixels, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == size
        factor = size[0] // shape[1]
        assert (np.asarray(picture).reshape(*picture.size[::-1], -1)[::factor, ::factor] == pixels).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_rows_of_mixed_sizes_and_channels_share_one_grid():
    gray, colour = np.zeros((8, 16, 1), np.uint8), np.full((20, 20, 3), 200, np.uint8)
    picture = labelled_rows([("synthetic", [gray, colour, gray]), ("réal", [colour])], width=300)
    assert picture.mode == "RGB"
    assert picture.size == (300, 2 * (50 + 22))
    assert picture.getpixel((5, 40)) == (0, 0, 0)
    assert picture.getpixel((150, 40)) == (200, 200, 200)


def test_a_picture_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="the picture cannot be written"):
        save_png(np.zeros((8, 8, 1), np.uint8), tmp_path / "file" / "a.png")


@pytest.fixture
def observer() -> terminal.TerminalObserver:
    """An observer that writes into memory, as into a log."""
    watching = terminal.TerminalObserver()
    watching.console.file = io.StringIO()
    return watching


def shown(observer: terminal.TerminalObserver) -> str:
    return observer.console.file.getvalue()


@pytest.mark.parametrize("path", ["runs/[v2]/x", "a[/]b", "a :smile: b", "[red]", "é 日本", "C:\\x", "{x}"])
def test_paths_are_printed_as_they_are(observer, path):
    observer.table(f"run {path}", {"real": path})
    observer.say(f"go on with {path}")
    assert shown(observer).count(path) == 3


def test_a_log_has_a_line_now_and_then_and_at_the_end(observer):
    for done in range(1, 101):
        observer.progress({"done": done, "images_per_s": 1234.5, "eta_s": 61.0, **LOSSES}, 100)
    lines = shown(observer).splitlines()
    assert len(lines) == 2
    assert (
        lines[-1]
        == "100/100  1,234 images/s  refiner adversarial 0.700  discriminator 0.600  regularization 0.100  1:01 left"
    )


def test_a_terminal_has_a_bar():
    watching = terminal.TerminalObserver()
    watching.console._force_terminal = True
    watching.console.file = io.StringIO()
    with watching:
        watching.progress({"done": 1, "images_per_s": 5.0}, 2)
        watching.say("a [sentence]")
        watching.progress({"done": 2, "images_per_s": 5.0}, 2)
    assert "a [sentence]" in shown(watching)
    assert watching.bar is None


def test_asking_whether_to_stop_makes_it_polite(observer):
    assert not observer.stops_politely
    assert not observer.interrupted()
    assert observer.stops_politely


RESULT = {"run": "runs/a", "steps": 1200, "stopped_by": "steps", "images_per_s": 1000.0, "artifact": "runs/a/artifact"}


def test_train_text():
    drift = {"iris": {"unit": "px", "median": 0.1, "p95": 0.4, "mean": 0.05, "coverage": 0.9, "power": 0.5}}
    realism = {name: {**numbers, "gain_ci95": [-0.1, 0.2]} for name, numbers in REALISM.items()}
    result = {**RESULT, "best_step": 800, "drift": drift, "power": POWER, "realism": realism}
    lines = text.train_text(result).splitlines()
    assert lines[1] == "steps      1,200 (steps), 1,000 images/s"
    assert lines[3].startswith("label      iris: moved 0.10 px (median), 0.40 (95%)")
    assert lines[3].endswith("judged 90%")
    assert lines[4] == "power      iris: detects 0.5 px and more, 90% power, 92% of objects"
    assert lines[5] == "realism    patch_kid: synthetic 2 -> refined 1 [0.9, 1.1]; real against real 0.1"
    assert lines[-1].strip().startswith("no clear realism gain")


def test_train_text_of_a_stopped_run():
    assert text.train_text({**RESULT, "artifact": None}) == "run runs/a stopped at step 1200"


def test_a_label_that_nobody_could_check():
    assert text.drift_rows({"gaze": DRIFT["gaze"]}) == {"gaze": "not checkable"}
    why = {**DRIFT["gaze"], "not_checkable_reason": "no probe that can judge it came with this model"}
    assert text.drift_rows({"gaze": why}) == {"gaze": "not checkable: no probe that can judge it came with this model"}


def test_a_drift_with_all_its_numbers_in_one_line():
    iris = {"unit": "px", "median": 0.1, "p95": 0.4, "mean": 0.05, "ci95": [0.02, 0.08], "coverage": 0.9, "iou": 0.95}
    iris["mean_shift_px"] = [0.03, 0.04]
    kind = {"unit": "flip", "median": 0.0, "p95": 0.0, "mean": 0.012, "ci95": [0.01, 0.02], "coverage": 1.0}
    rows = text.drift_rows({"iris": iris | {"failed": 0.02, "failed_ci95": [0.01, 0.04]}, "kind": kind})
    assert rows["iris"] == (
        "moved 0.10 px (median), 0.40 (95%), 0.05 [0.02, 0.08] all one way; IoU 0.950; 2.0% failed [1.0%, 4.0%]; "
        "judged 90%"
    )
    assert rows["kind"] == "flipped in 1.2% [1.0%, 2.0%]; judged 100%"


def test_power_that_is_not_there_is_said():
    lost = {"lid": {"detects": None, "unit": "px", "power": 0.9, "coverage": 0.1}}
    assert text.power_rows(lost) == {
        "lid": "none of the moves tried is found with 90% power; measurable in 10% of objects"
    }


def test_the_power_over_a_class_is_the_share_of_flips_that_is_found():
    flips = {"kind": {"detects": 1.0, "unit": "flip", "power": 0.93, "coverage": 0.8}}
    assert text.power_rows(flips) == {"kind": "detects 93% of flips, in 80% of objects"}


def test_refine_text_says_what_was_softened():
    verdicts = {"pass": 10, "fail": 0, "abstain": 0, "not_checkable": 0}
    result = {"out": "out", "samples": 10, "refined": 10, "rejected": 0, "quarantined": 0, "images_per_s": 5.0}
    strengths = {"0.75": 2, "0": 1}
    told = text.refine_text({**result, "verdicts": verdicts, "drift": {}, "softened": 3, "strengths": strengths})
    assert (
        "softened   3 (30.0%) failed as refined; delivered 2 at strength 0.75, 1 as the synthetic image itself" in told
    )
    assert "manifest.jsonl" in told


def test_realism_of_a_dataset_alone():
    alone = {"patch_kid": {**REALISM["patch_kid"], "refined": None}}
    assert "refined" not in text.realism_rows(alone)["patch_kid"]


@pytest.mark.parametrize(("rejected", "failed", "pointed"), [(0, 0, False), (1, 0, True), (0, 2, True)])
def test_refine_text_points_to_what_failed(rejected, failed, pointed):
    verdicts = {"pass": 5, "fail": failed, "abstain": 0, "not_checkable": 1}
    result = {"out": "out", "samples": 10, "refined": 9, "rejected": rejected, "images_per_s": None}
    lines = text.refine_text({**result, "quarantined": 0, "verdicts": verdicts, "drift": {}})
    assert ("manifest.jsonl" in lines) == pointed
    assert "1 not checkable" in lines


# The worst samples


def worst_row(label: Label | None, shift=(1.5, -0.5), size_hw=(36, 60), channels=1, **entry) -> Row:
    pixels = np.random.default_rng(0).uniform(-0.2, 0.2, (*size_hw, channels)).astype(np.float32)
    told = {"image": "a.png", "label": "iris", "item": 0, "verdict": "fail", "drift": 1.6, "unit": "px"}
    told |= {"lower": 1.2, "upper": 2.0, "shift_px": shift, "reason": "moved by more than 1 px", "status": "kept"}
    return Row(told | entry, Pair(Sample("a", "a.png"), pixels, pixels), label)


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in picture.getcolors(10**7)}


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:36, :60]
    return np.hypot(rows - 18, columns - 30) < 8


OUTLINES = {
    "keypoint": Label("iris", "keypoint", np.array([30.0, 18.0]), extent_px=6.0),
    "box": Label("iris", "box", np.array([20.0, 10.0, 40.0, 26.0])),
    "oriented box": Label("iris", "box", np.array([[20, 10], [40, 14], [38, 26], [18, 22]], np.float64)),
    "polygon": Label("iris", "polygon", np.array([[20, 10], [40, 10], [30, 26]], np.float64)),
    "mask": Label("iris", "instance_mask", disc()),
}


@pytest.mark.parametrize("label", OUTLINES.values(), ids=OUTLINES)
def test_a_worst_sample_shows_its_label_where_it_was_and_where_it_is(label):
    picture = draw_worst([worst_row(label)], "worst")
    third = picture.crop((2 * 372, 130, picture.width, picture.height))
    assert {BEFORE, AFTER, (255, 255, 255)} <= colours(third)
    first = picture.crop((0, 130, 370, picture.height))
    assert not {BEFORE, AFTER} & colours(first)


def test_the_outline_lies_on_the_pixels_it_names():
    """A box around pixel (30, 18) alone, not moved: its outline is the rim of that pixel, enlarged six times."""
    row = worst_row(Label("iris", "box", np.array([25.5, 13.5, 34.5, 22.5])), shift=None)
    picture = np.asarray(draw_worst([row], "worst"))[128:, 16 + 2 * 372 :]
    y, x = np.nonzero((picture == AFTER).all(axis=2))
    assert (x.min() // 6, x.max() // 6, y.min() // 6, y.max() // 6) == pytest.approx((26, 35, 14, 23), abs=1)


@pytest.mark.parametrize("label", [None, Label("gaze", "vector", np.zeros(3))])
def test_a_worst_sample_without_a_place_shows_what_changed(label):
    row = worst_row(label, shift=None, drift=None, lower=None, upper=None, unit="deg")
    row.pair.refined[10:20, 10:20] += 0.5
    picture = draw_worst([replace(row, pair=replace(row.pair, synthetic=row.pair.synthetic - 0.1))], "worst")
    assert picture.size == (2 * 16 + 3 * 360 + 2 * 12, 84 + 44 + 216 + 16)


def test_a_small_label_in_a_large_image_is_cut_out_and_enlarged():
    label = Label("iris", "keypoint", np.array([1900.0, 1070.0]), extent_px=6.0)
    picture = draw_worst([worst_row(label, size_hw=(1080, 1920), channels=3)], "worst")
    assert picture.width > 700
    assert 200 < picture.height < 700


@pytest.mark.slow
def test_a_picture_of_many_rows_of_odd_shapes_has_eight_of_them():
    rows = [worst_row(OUTLINES["box"], size_hw=(64, 20 + 4 * i), image="é\n" * 200) for i in range(12)]
    picture = draw_worst(rows, "worst")
    assert picture.height == 84 + 8 * (44 + 256) + 16
    assert picture.width == 760


NONSENSE_LABELS = {
    "nan": Label("iris", "polygon", np.full((4, 2), np.nan)),
    "far": Label("iris", "keypoint", np.array([1e9, -1e9])),
    "an empty mask": Label("iris", "semantic_mask", np.zeros((36, 60), bool)),
}


@pytest.mark.parametrize("label", NONSENSE_LABELS.values(), ids=NONSENSE_LABELS)
def test_labels_that_cannot_be_drawn_are_no_crash(label):
    assert draw_worst([worst_row(label)], "worst").width > 700


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        ([[0.1, 0.2], [0.3, 0.4]], "refined images are nearer"),
        ([[0.1, 0.2], [-0.1, 0.4]], "no clear realism gain"),
        ([[0.1, 0.2], [-0.4, -0.1]], "no realism gain: by at least one measure"),
    ],
)
def test_realism_in_one_sentence(gains, sentence):
    measures = {str(i): {"refined": 1.0, "gain_ci95": gain} for i, gain in enumerate(gains)}
    assert text.realism_verdict(measures).startswith(sentence)
