"""Statistics of a dataset: intervals by sequence, failure shares, the worst samples first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refinery.checks import CheckContext, DriftSummary, _summary
from refinery.checks._clusters import BUCKETS, bootstrap_means, bucket, corrected_prevalence, sequence_of, wilson
from refinery.checks._worst import Worst
from refinery.sample import Finding


def found(
    drift: float | None = 0.5, verdict: str = "pass", shift: tuple[float, float] | None = None, **more
) -> Finding:
    return Finding("iris", "keypoint", verdict, drift, shift_px=shift, **more)


SEQUENCES = {
    "00017": "",
    "walk/frame_0012": "walk/frame",
    "walk/frame_0013": "walk/frame",
    "a/b/7": "a/b/",
    "gaze.h5/image/12": "gaze.h5/image/",
    "cats/tom": "cats",
    "tom": "",
    "two\nlines 5": "two\nlines",
}


@pytest.mark.parametrize(("key", "sequence"), SEQUENCES.items())
def test_a_key_without_its_frame_number_names_its_sequence(key, sequence):
    assert sequence_of(key) == sequence


def test_buckets_are_the_same_on_every_machine():
    assert [bucket("walk/frame"), bucket("\udce9")] == [2154, 3760]
    assert all(0 <= bucket(str(i)) < BUCKETS for i in range(1000))


def summary_of(shifts: np.ndarray, keys: list[str]) -> dict:
    summary = DriftSummary()
    for key, (dx, dy) in zip(keys, shifts.tolist(), strict=True):
        summary.add([found(float(np.hypot(dx, dy)), shift=(dx, dy))], key)
    return summary.as_dict()["iris"]


def test_the_interval_of_the_mean_knows_that_frames_of_a_sequence_err_alike():
    """40 sequences of 25 frames, an error each: the interval is that of 40 values, five times that of 1,000."""
    draw = np.random.default_rng(0)
    shifts = np.repeat(draw.normal((0.5, 0.0), 0.3, (40, 2)), 25, axis=0)
    of_sequences = summary_of(shifts, [f"walk{i // 25}x/{i % 25:04d}" for i in range(1000)])
    of_samples = summary_of(shifts[draw.permutation(1000)], [f"{i}/a" for i in range(1000)])
    widths = [high - low for low, high in (of_sequences["ci95"], of_samples["ci95"])]
    assert of_sequences["clusters"] == {"by": "sequence", "count": 40}
    assert widths[0] == pytest.approx(2 * 1.96 * 0.3 / np.sqrt(40), rel=0.3)
    assert widths[0] > 3 * widths[1]


def test_half_a_pixel_all_one_way_shows_at_200_samples_of_one_folder():
    shifts = np.random.default_rng(1).normal((0.5, 0.0), 0.4, (200, 2))
    one = summary_of(shifts, [f"{i:05d}" for i in range(200)])
    assert one["clusters"] == {"by": "block of 16 samples", "count": 13}
    assert one["ci95"][0] > 0.35
    assert one["ci95"][1] < 0.65
    (left, right), (top, bottom) = one["mean_shift_ci95_px"]
    assert 0.35 < left < right < 0.65
    assert top < 0 < bottom


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    hits = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        values = draw.normal(2.0, 1.0, (30, 1))
        means = bootstrap_means(np.concatenate((np.ones((30, 1)), values), axis=1))[:, 0]
        low, high = np.quantile(means, (0.025, 0.975))
        hits += low < 2.0 < high
    assert 51 <= hits <= 60


def test_the_same_findings_give_the_same_numbers():
    shifts = np.random.default_rng(3).normal(0, 1, (300, 2))
    keys = [f"s{i // 7}_{i}" for i in range(300)]
    assert summary_of(shifts, keys) == summary_of(shifts, keys)


def test_memory_does_not_grow_with_the_number_of_sequences():
    summary = DriftSummary()
    for i in range(20_000):
        summary.add([found(0.1, shift=(0.1, 0.0))], f"sequence{i}/0001")
    one = summary.as_dict()["iris"]
    assert one["clusters"]["count"] <= BUCKETS
    assert one["mean"] == pytest.approx(0.1)


def test_failures_are_counted_as_the_refiner_made_them_and_verdicts_as_delivered():
    summary = DriftSummary()
    for i in range(100):
        was = [found(2.0, "fail")] if i < 20 else []
        summary.add([found(0.1, "pass")], f"{i}", was)
    one = summary.as_dict({"iris": 1.0}, false_alarms=0.01)["iris"]
    assert one["verdicts"]["pass"] == 100
    assert one["as_refined"] == {"pass": 80, "fail": 20, "abstain": 0, "not_checkable": 0}
    assert one["failed"] == 0.2
    assert one["failed_ci95"] == [0.1334, 0.2888]
    assert one["moved"] == pytest.approx((0.2 - 0.01) / (0.9 - 0.01), abs=1e-4)


def test_the_interval_of_failures_counts_samples_however_many_labels_each_has():
    alone, crowded = DriftSummary(), DriftSummary()
    for at in range(50):
        verdict = "fail" if at < 10 else "pass"
        alone.add([found(2.0, verdict)], f"{at}")
        crowded.add([replace(found(2.0, verdict), item=item) for item in range(9)], f"{at}")
    one, many = (summary.as_dict()["iris"] for summary in (alone, crowded))
    assert many["failed"] == one["failed"] == 0.2
    assert many["failed_ci95"] == one["failed_ci95"] == [0.1124, 0.3304]


def test_what_could_not_be_measured_lowers_the_power_of_the_whole():
    summary = DriftSummary()
    for i in range(100):
        summary.add([found(2.0, "fail") if i < 20 else found(None, "abstain") if i < 60 else found()], f"{i}")
    one = summary.as_dict({"iris": 1.0})["iris"]
    assert one["moved"] == pytest.approx((0.2 - 0.01) / (0.9 * 0.6 - 0.01), abs=1e-4)


def test_a_label_without_power_has_no_corrected_share():
    summary = DriftSummary()
    summary.add([found(2.0, "fail")])
    assert summary.as_dict()["iris"]["moved"] is None


def test_flips_are_corrected_by_how_many_the_probe_finds():
    """Of 200 signs 30 were exchanged, of which 27 are noticed; of the others 1% flip by their looks."""
    summary = DriftSummary()
    for i in range(200):
        verdict = "fail" if i < 29 else "abstain" if i < 34 else "pass"
        summary.add(
            [Finding("kind", "class", verdict, None if verdict == "abstain" else float(i < 29), "flip")], f"{i}"
        )
    assert summary.as_dict(false_alarms=0.01)["kind"]["moved"] is None
    one = summary.as_dict(false_alarms=0.01, flips_found={"kind": 0.9})["kind"]
    assert one["failed"] == 0.145
    assert one["moved"] == pytest.approx((0.145 - 0.01) / (0.9 - 0.01), abs=1e-4)


def test_flips_and_overlaps():
    summary = DriftSummary()
    for i in range(50):
        flip = float(i < 5)
        summary.add(
            [
                Finding("kind", "class", "fail" if flip else "pass", flip, "flip"),
                Finding("sign", "box", "pass", 0.2, "px", iou=0.9 + 0.1 * (i % 2), shift_px=(0.2, 0.0)),
            ],
            f"{i}",
        )
    numbers = summary.as_dict()
    assert numbers["kind"]["mean"] == numbers["kind"]["failed"] == 0.1
    assert numbers["kind"]["iou"] is None
    assert numbers["sign"]["iou"] == 0.95


def test_a_number_without_a_unit_has_its_statistics_and_the_pairing_has_none():
    summary = DriftSummary()
    summary.add([Finding("size", "number", "pass", 0.2, ""), Finding("pairing", "pairing", "pass", unit="")])
    assert list(summary.as_dict()) == ["size"]


def test_wilson_and_rogan_gladen_against_published_values():
    """Newcombe (1998), table I: 81 of 263, and 0 of 20; below the false alarms nothing is left (Rogan & Gladen)."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert corrected_prevalence(0.2, 0.05, 0.8) == pytest.approx(0.2)
    assert corrected_prevalence(0.005, 0.01, 0.9) == 0.0
    assert corrected_prevalence(0.95, 0.01, 0.9) == 1.0


# Worst first


def test_the_worst_come_first_by_what_is_certain_and_in_units_of_the_tolerance():
    worst = Worst(CheckContext(max_drift={"": 1.0, "*deg": 5.0}))
    worst.add("a", "a.png", [found(3.0, "abstain", lower=0.2)])
    worst.add("b", "b.png", [found(1.5, "fail", lower=1.2), found(0.1)])
    worst.add("c", "c.png", [Finding("gaze", "vector", "fail", 9.0, "deg", lower=7.0)])
    worst.add("d", "d.png", [Finding("pairing", "pairing", "fail", unit="", reason="looks like another image (x)")])
    worst.add("e", "e.png", [found(None, "not_checkable")])
    assert [entry["key"] for entry in worst.entries()] == ["d", "c", "b", "a"]
    assert worst.entries()[2]["drift"] == 1.5


def test_only_sixteen_are_kept_and_the_earlier_one_of_equals_first():
    worst = Worst(CheckContext())
    for i in range(500):
        worst.add(f"{i:03d}", f"{i:03d}.png", [found(float(i % 5), "fail", lower=float(i % 5))])
    assert [entry["key"] for entry in worst.entries()] == [f"{5 * i + 4:03d}" for i in range(16)]


def test_a_label_has_one_column_however_many_findings_it_gets(monkeypatch):
    made = []
    column = _summary._Column
    monkeypatch.setattr(_summary, "_Column", lambda unit: made.append(unit) or column(unit))
    summary = DriftSummary()
    for place in range(3):
        summary.add([found(0.1 * place)], str(place))
    assert made == ["px"]
    assert summary.as_dict()["iris"]["verdicts"]["pass"] == 3


def test_variants_of_a_sample_stand_in_one_block():
    def summary(variants):
        drift = DriftSummary()
        for i in range(40):
            for _ in range(variants):
                drift.add(
                    [Finding("box", "box", "pass", drift=0.1 * (i % 7), shift_px=(0.1 * (i % 7), 0.0))], f"{i:03d}"
                )
        return drift.as_dict()["box"]

    once, thrice = summary(1), summary(3)
    assert once["ci95"] == thrice["ci95"]
    assert once["clusters"] == thrice["clusters"]
