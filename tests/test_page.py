"""The HTML page of refine, train and inspect: what it says, that it is one file, and that it runs nothing of others."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pages import HOSTILE, filled, findings_of, pair_of, result_of
from stream import refine, refine_json, write_refiner, write_scenes
from tiny import SIMGAN, train_config

from refinery.checks import CheckContext
from refinery.errors import OutputError
from refinery.jobs.train import train
from refinery.report.charts import curve_panel, drift_histogram, realism_bars, verdict_bar
from refinery.report.gallery import COUNT, WINDOW_HW, Gallery
from refinery.report.page import write_page
from refinery.report.summary import summary_sentences

LIMIT_BYTES = 50_000_000
VOID = {"meta", "img", "input", "rect", "polyline", "link", "br"}


class Reading(HTMLParser):
    """Reads a page: its scripts, attributes and tags, and whether all of them are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.data = ""
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.scripts += [dict(attrs)] if tag == "script" else []
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.data += data if self.scripts[-1].get("type") == "application/json" else ""
        else:
            self.texts.append(data.strip())


def page_of(path: Path, *arguments, **more) -> Reading:
    write_page(*arguments[:1], path, *arguments[1:], **more)
    reading = Reading(path.read_text(encoding="utf-8"))
    assert not reading.open
    return reading


def test_the_page_says_and_shows_what_a_job_came_to(tmp_path):
    page = page_of(tmp_path / "page.html", result_of(100), None, filled(100), {"iris": 1.0})
    text = " ".join(page.texts)
    assert "20 of 100 samples (20.0%) fail their label check; 60 pass, and 20 could not be judged for certain." in text
    assert "a move of 0.5 px would have been noticed." in text
    assert "detects 0.5 px and more, 90% power, 92% of objects" in page.texts
    for row in (["60", "20", "20", "0"], ["iris[2]", "fail", "1.60", "1.20", "px"]):
        assert ",".join(row) in ",".join(filter(None, page.texts))
    names = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert "samples: 60 pass, 20 fail, 20 abstain, 0 not checkable" in names
    assert any("it may move by 1 px; a move of 0.5 px would be noticed" in name for name in names)
    shown = json.loads(page.data)
    assert len(shown) == COUNT
    assert {sample["verdict"] for sample in shown} == {"pass", "fail", "abstain"}


def test_the_page_is_one_file_that_loads_nothing_and_runs_its_own_script_alone(tmp_path):
    page = page_of(tmp_path / "deep" / "page.html", result_of(100), {"picture": b"png"}, filled(100))
    assert [script.get("type") for script in page.scripts] == ["application/json", None]
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src 'none'" in value)
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style", (tag, name)
        if name in ("src", "href", "data", "action", "srcset"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value)
    html = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'`)]+", html)) == {"http://www.w3.org/2000/svg"}


def test_what_files_say_is_text_and_nothing_else(tmp_path):
    found = result_of(30, HOSTILE, label=HOSTILE)
    gallery = filled(30, HOSTILE)
    page = page_of(tmp_path / "page.html", found, {HOSTILE: b"png"}, gallery, {HOSTILE: 1.0})
    assert len(page.scripts) == 2
    assert not any(name == "onerror" for _, name, _ in page.attributes)
    assert json.loads(page.data)[0]["key"].startswith(HOSTILE)
    assert any(text.startswith(HOSTILE) for text in page.texts)


@pytest.mark.parametrize("text", ["\udcff", "\x00", "x" * 1_000_000, "{{ 7 * 7 }}", "\u202egnp", "<!--"])
def test_odd_and_huge_strings_are_shown_and_cut(tmp_path, text):
    found = result_of(20, text, label=text)
    page = page_of(tmp_path / "page.html", found, None, filled(20, text), {text: 1.0})
    assert (tmp_path / "page.html").stat().st_size < 600_000
    assert len(json.loads(page.data)) == 20
    assert "49" not in unescape(" ".join(page.texts)).split()


@pytest.mark.slow
def test_a_page_of_100_000_samples_stays_below_its_limit(tmp_path):
    page = page_of(tmp_path / "page.html", result_of(100_000), None, filled(100_000, size_hw=(800, 1200)))
    assert (tmp_path / "page.html").stat().st_size < LIMIT_BYTES
    shown = json.loads(page.data)
    assert 8 < len(shown) < COUNT
    text = " ".join(page.texts)
    assert f"{len(shown)} of 100,000 samples are in this file" in text
    assert f"{COUNT - len(shown)} more were chosen and left out" in text
    assert {(sample["height"], sample["width"]) for sample in shown} == {WINDOW_HW}
    assert {tuple(sample["of"]) for sample in shown} == {(1200, 800)}


def test_the_same_result_gives_the_same_bytes(tmp_path):
    for name in ("a.html", "b.html"):
        write_page(result_of(300), tmp_path / name, None, filled(300), {"iris": 1.0})
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_gallery_has_what_moved_most_what_is_least_certain_and_every_verdict_and_label():
    gallery = Gallery(CheckContext())
    for number in range(5000):
        findings = findings_of(number)
        gallery.add(f"{number}", "", findings, "pass" if number != 77 else "not_checkable")
    chosen = gallery.chosen()
    assert len(chosen) == len({entry.key for entry in chosen}) == COUNT
    assert "77" in {entry.key for entry in chosen}
    assert chosen[0].findings[0].verdict == "fail"
    assert any(entry.findings[0].verdict == "abstain" for entry in chosen)
    assert any(entry.findings[0].drift < 0.5 for entry in chosen)


def test_samples_are_sorted_by_both_ranks():
    shown = filled(200).as_json()["samples"]
    for name in ("moved", "unsure"):
        assert sorted(sample[name] for sample in shown) == list(range(len(shown)))
    first = {name: next(sample for sample in shown if sample[name] == 0) for name in ("moved", "unsure")}
    assert first["moved"]["labels"][0]["verdict"] == "fail"
    assert "abstain" in {label["verdict"] for label in first["unsure"]["labels"]}


def test_numbers_that_json_has_not_become_nothing():
    gallery = Gallery()
    point, _ = findings_of(3)
    broken = type(point)("iris", "keypoint", "fail", float("inf"), "px", shift_px=(float("nan"), 0.0), lower=0.1)
    gallery.add("a", "a.png", [broken], "fail")
    gallery.draw(gallery.chosen()[0], pair_of("a"))
    label = json.loads(json.dumps(gallery.as_json(), allow_nan=False))["samples"][0]["labels"][0]
    assert (label["drift"], label["shift"], label["lower"]) == (None, None, 0.1)


# Charts


def test_a_bar_is_as_wide_as_its_share():
    bars = verdict_bar("a", {"pass": 3, "fail": 1, "abstain": 0, "not_checkable": 0}).bars
    assert [(bar.style, bar.x, bar.width) for bar in bars] == [("pass", 0, 750), ("fail", 750, 250)]
    assert not verdict_bar("a", {}).bars


@pytest.mark.parametrize("scale", [1e-3, 1.0, 400.0])
def test_a_histogram_counts_every_object_in_the_label_s_unit(scale):
    found = result_of(500)["drift"]["iris"]
    bins = {"bin": 0.1 * scale, "counts": found["histogram"]["counts"]}
    assert sum(bins["counts"]) == 500
    chart = drift_histogram("iris", found | {"histogram": bins}, 1.0 * scale, 0.5 * scale)
    counted = sum(int(bar.text.rpartition(": ")[2].replace(",", "")) for bar in chart.bars)
    assert counted == 500
    assert all(0 <= bar.x <= chart.width and 0 <= bar.y <= chart.height for bar in chart.bars)
    tolerance, power = (next(line for line in chart.lines if line.style == style) for style in ("tolerance", "power"))
    x = {line.style: float(line.points.split(",")[0]) - 50 for line in (tolerance, power)}
    assert x["tolerance"] == pytest.approx(2 * x["power"], rel=0.01)


def test_a_label_that_never_moved_has_a_histogram_of_one_bar():
    still = {"histogram": {"bin": 5e-05, "counts": [7] + [0] * 29}, "unit": "px", "median": 0.0, "p95": 0.0}
    assert [bar.text.rpartition(": ")[2] for bar in drift_histogram("a", still, None, None).bars] == ["7"]


def test_realism_bars_have_the_interval_and_the_floor():
    measure = {"synthetic": 2.0, "refined": 1.0, "floor": 0.1, "ci95": [0.9, 1.1]}
    chart = realism_bars("patch_kid", measure)
    assert [bar.style for bar in chart.bars] == ["synthetic", "refined", "floor"]
    assert chart.bars[0].width == pytest.approx(2 * chart.bars[1].width, rel=0.01)
    assert {line.style for line in chart.lines} == {"interval", "limit"}
    assert len(realism_bars("patch_kid", measure | {"refined": None}).bars) == 2


@pytest.mark.parametrize("line", [[(0, 0.0)], [(1, 5.0), (2, float("nan")), (3, 4.0)], [(i, i) for i in range(9999)]])
def test_curves_of_any_length_are_drawn(line):
    chart = curve_panel("losses", {"discriminator": line})
    drawn = chart.lines[-1].points.split()
    assert 1 < len(drawn) <= 401
    assert np.isfinite([float(n) for point in drawn for n in point.split(",")]).all()


# The sentence


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(("pass", "fail", "abstain", "not_checkable"), numbers, strict=True))


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (counts(10, 0, 0, 0), "All 10 samples keep their labels."),
        (counts(9, 0, 1, 0), "No label was found to have moved: 9 of 10 samples pass, and 1 could not be judged"),
        (counts(8, 1, 0, 0), "1 of 9 samples (11.1%) fails its label check; 8 pass."),
        (counts(0, 0, 5, 5), "No sample could be judged for certain, so nothing is known"),
        (counts(0, 0, 0, 0), "No sample could be judged for certain, so nothing is known"),
    ],
)
def test_the_first_sentence_says_whether_the_labels_hold(verdicts, sentence):
    assert summary_sentences({"kind": "report", "verdicts": verdicts})[0].startswith(sentence)


# Written by the commands


def test_refine_writes_its_page_and_says_where(tmp_path):
    source, model = write_scenes(tmp_path / "synth", 12), write_refiner(tmp_path)
    code, result = refine_json(source, tmp_path / "out", model)
    assert code == 0
    page = Path(result["page"])
    assert page == tmp_path / "out" / ".refinery" / "report.html"
    reading = Reading(page.read_text(encoding="utf-8"))
    shown = json.loads(reading.data)
    assert {sample["key"] for sample in shown} == {f"{number:04d}" for number in range(12)}
    assert all(sample["synthetic"] != sample["refined"] for sample in shown)
    assert f"page       {page}" in refine(source, tmp_path / "out", model).output


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"the page cannot be written.*run the same command again"):
        write_page(result_of(5), tmp_path / "file" / "page.html")


@pytest.mark.slow
def test_train_writes_its_page_into_the_run_folder(tmp_path):
    result = train(train_config(tmp_path, "run"), SIMGAN)
    page = Path(result["page"])
    assert page == Path(result["run"]) / "report.html"
    reading = Reading(page.read_text(encoding="utf-8"))
    assert {"losses of the two opponents", "Last grid", "Realism"} <= set(reading.texts)
    assert any(text.startswith("After ") and "was the best one." in text for text in reading.texts)


def test_samples_that_were_softened_are_shown_as_the_refiner_made_them(tmp_path):
    source = write_scenes(tmp_path / "synth", 20)
    done = refine(source, tmp_path / "out", write_refiner(tmp_path, "moved"))
    assert done.exit_code in (0, 3)
    page = Reading((tmp_path / "out" / ".refinery" / "report.html").read_text(encoding="utf-8"))
    softened = [sample for sample in json.loads(page.data) if sample["status"] == "softened"]
    assert 0 < len(softened) <= 12
    assert all(sample["synthetic"] != sample["refined"] for sample in softened)
