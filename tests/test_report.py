"""What people look at: pictures that open, tables that hold any path, lines that say what happened."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from refinery.errors import OutputError
from refinery.report import terminal, text
from refinery.report.curves import draw_curves
from refinery.report.page import write_page
from refinery.report.picture import labelled_rows, save_png

LOSSES = {
    "phase": "adversarial",
    "refiner_adversarial": 0.7,
    "discriminator": 0.6,
    "regularization": 0.1,
    "change": 0.05,
}
DRIFT = {"iris [1]": {"unit": "px", "median": 0.1, "p95": 0.4}, "gaze": {"unit": "deg", "median": None}}
REALISM = {"patch_kid": {"synthetic": 2.0, "refined": 1.0, "floor": 0.1, "ci95": [0.9, 1.1]}}


def step(number: int, **more) -> dict:
    return {"step": number, **LOSSES, "discriminator_accuracy": 0.5, **more}


@pytest.mark.parametrize(
    ("records", "panels"),
    [
        ([], 1),
        ([step(1)], 2),
        ([step(1), step(2), {"step": 2, "drift": DRIFT, "realism": REALISM}, step(3)], 4),
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
    lines = text.train_text({**RESULT, "best_step": 800, "drift": drift, "realism": REALISM}).splitlines()
    assert lines[1] == "steps      1,200 (steps), 1,000 images/s"
    assert lines[3].startswith("label      iris: moved 0.10 px (median), 0.40 (95%)")
    assert lines[3].endswith("judged 90%; finds moves from 0.5 px")
    assert lines[4] == "realism    patch_kid: synthetic 2 -> refined 1 [0.9, 1.1]; real against real 0.1"


def test_train_text_of_a_stopped_run():
    assert text.train_text({**RESULT, "artifact": None}) == "run runs/a stopped at step 1200"


def test_a_label_that_nobody_could_check():
    assert text.drift_rows({"gaze": DRIFT["gaze"]}) == {"gaze": "not checkable"}


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


def test_the_page_is_one_file_that_runs_and_loads_nothing(tmp_path):
    save_png(np.zeros((8, 8, 1), np.uint8), tmp_path / "curves.png")
    name = "<script>alert(1)</script>"
    found = {
        "kind": "run",
        "run": name,
        "steps": 3,
        "curves": str(tmp_path / "curves.png"),
        "grid": None,
        "summary": None,
    }
    write_page(found, tmp_path / "deep" / "page.html")
    html = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert html.count("src=") == html.count('src="data:image/png;base64,') == 1
    assert "http" not in html


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
