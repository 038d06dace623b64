"""How far a label may have moved at most, given a probe's answer, and how sure a flip must be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from refinery.checks import CheckBatch, CheckContext, calibrate
from refinery.checks import probe as check_probe
from refinery.checks._calibration import within_limits
from refinery.checks._prober import Answers, ProbedLabel
from refinery.checks._reach import flips_found, found_share, least_sure, table, upper_bound
from refinery.sample import Label, Pair, Sample
from refinery.training.probe_skill import weaker

REACH = [[1.0, 0.3], [5.0, 2.0], [10.0, 4.0]]
GAZE = ProbedLabel(
    "gaze", "vector", "deg", "direction", competent=True, bounds={"0.95": 0.5, "0.99": 1.0}, errors={"0.99": 2.0},
    power=((1.0, 0.2), (5.0, 0.99), (10.0, 1.0)), details={"doubt": 9.0, "reach": REACH},
)  # fmt: skip
KIND = ProbedLabel(
    "kind", "class", "flip", "class", ("a", "b"), competent=True, power=((1.0, 0.98),),
    details={"sure": 0.5, "found": [[0.301, 0.98], [1.0, 0.95], [2.0, 0.9], [3.0, 0.5]]},
)  # fmt: skip


class Told:
    """A probe that answers what it is told: (N, D) of the synthetic images, then of the refined ones."""

    by_object: frozenset[str] = frozenset()

    def __init__(self, known: ProbedLabel, answers: np.ndarray) -> None:
        self.labels, self.answers = {known.name: known}, answers

    def ask(self, keys, images, regions):  # noqa: ARG002
        """See `Prober.ask`; the images say by their first pixel which answer is theirs."""
        rows = [round(float(image[0, 0, 0])) for image in images]
        values = np.float32(self.answers)[rows][:, None]
        everyone = np.arange(len(rows))
        return {name: Answers(everyone, np.zeros(len(rows), np.intp), values) for name in self.labels}


def pairs_told(labels: list[Label]) -> list[Pair]:
    """Pairs whose images are answered by the rows 0 to N - 1, and N to 2 N - 1."""
    shown = np.arange(2 * len(labels), dtype=np.float32)[:, None, None, None] * np.ones((1, 8, 8, 1), np.float32)
    count = len(labels)
    return [Pair(Sample(f"{i}", f"{i}.png"), shown[i], shown[count + i], (own,)) for i, own in enumerate(labels)]


def turned(degrees: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(np.radians(degrees)), 0 * degrees, np.cos(np.radians(degrees))], axis=1)


def found(known: ProbedLabel, labels: list[Label], answers: np.ndarray, context: CheckContext):
    told = dataclasses.replace(context, probe=Told(known, answers))
    return [own[0] for own in check_probe.check(CheckBatch(pairs_told(labels)), told)]


def test_the_upper_bound_is_the_largest_move_that_answers_so_little():
    assert upper_bound(GAZE, 2.0, 0.5) == pytest.approx(5.0)
    assert upper_bound(GAZE, 3.0, 0.5) == pytest.approx(7.5)
    assert upper_bound(GAZE, 9.0, 0.5) == pytest.approx(15.0)
    assert upper_bound(GAZE, 0.0, 0.5) == 0.5
    assert upper_bound(dataclasses.replace(GAZE, details={}), 2.0, 0.5) == 2.5


def test_a_larger_move_that_answers_less_widens_the_bound():
    bent = dataclasses.replace(GAZE, details={"reach": [[1.0, 0.8], [5.0, 0.4], [10.0, 4.0]]})
    assert upper_bound(bent, 0.5, 0.1) > 5.0


@pytest.mark.parametrize("wrong", ["x", 7, None, [[1]], [[1, "x"]], [[1, float("nan")]], [[2, 1], [1, 1]]])
def test_a_table_that_is_none_is_left_out(wrong):
    assert len(table({"reach": wrong}, "reach", 2)) == 0


def test_a_probe_that_answers_half_of_a_turn_holds_the_truth():
    """It failed before: bounds were those of answers about images that had not moved."""
    true = np.tile([0.0, 2.0, 5.0, 10.0], 8)
    labels = [Label("gaze", "vector", row, "deg") for row in turned(0 * true)]
    told = np.concatenate((turned(0 * true), turned(0.5 * true)))
    findings = found(GAZE, labels, told, CheckContext())
    assert all(f.lower <= t <= f.upper for f, t in zip(findings, true, strict=True))
    verdicts = {t: f.verdict for f, t in zip(findings, true, strict=True)}
    assert verdicts[0.0] == "pass"
    assert verdicts[10.0] != "pass"


def test_calibration_measures_what_looks_flip():
    """A probe whose answer flips under every look must be surer of them."""
    images = np.random.default_rng(0).uniform(-0.8, 0.8, (12, 8, 8, 1)).astype(np.float32)

    class Trembling(Told):
        def ask(self, keys, images, regions):  # noqa: ARG002
            half = len(images) // 2
            kind = np.array([[0.95, 0.05]] * half + [[0.02, 0.98]] * half)
            everyone, none = np.arange(len(images)), np.zeros(len(images), np.intp)
            return {"kind": Answers(everyone, none, np.float32(kind)[:, None])}

    probe = Trembling(KIND, np.zeros(0))
    own = (Label("kind", "class", np.zeros(0), "flip", text="a"),)
    pairs = [Pair(Sample(f"{i}", f"{i}.png"), image, image, own) for i, image in enumerate(images)]
    context = calibrate(pairs, CheckContext(probe=probe))
    assert least_sure(KIND, context) == pytest.approx(0.98, abs=1e-3)


def test_thresholds_from_elsewhere_leave_the_probe_its_caution():
    assert within_limits({"probe.flip:kind": 0.0}) == {"probe.flip:kind": check_probe.LIMITS["flip"][0]}


def test_an_unsure_flip_is_no_fail_and_no_pass():
    labels = [Label("kind", "class", np.zeros(0), "flip", text="a")] * 3
    told = np.array([[0.9, 0.1]] * 3 + [[0.9, 0.1], [0.3, 0.7], [0.05, 0.95]])
    findings = found(KIND, labels, told, CheckContext())
    assert [f.verdict for f in findings] == ["pass", "abstain", "fail"]
    assert [f.drift for f in findings] == [0.0, None, 1.0]
    surer = CheckContext(thresholds={"probe.flip:kind": 2.0})
    assert [f.verdict for f in found(KIND, labels, told, surer)] == ["pass", "abstain", "abstain"]


def test_demanding_surer_flips_costs_power():
    context = CheckContext(probe=Told(KIND, np.zeros(0)))
    assert flips_found(context) == {"kind": pytest.approx(0.95)}
    surer = dataclasses.replace(context, thresholds={"probe.flip:kind": 2.5})
    assert flips_found(surer)["kind"] == pytest.approx(0.7)
    assert found_share(KIND, 0.0, dataclasses.replace(context, thresholds={"probe.flip": 6.0})) == 0.0


def test_of_several_items_the_weaker_table_holds():
    other = dataclasses.replace(GAZE, details={"doubt": 1.0, "reach": [[1.0, 0.4], [5.0, 1.0]]})
    details = weaker(GAZE, other).details
    assert details["doubt"] == 1.0
    assert details["reach"] == [[1.0, 0.3], [5.0, 1.0]]
    surer = dataclasses.replace(KIND, details={"sure": 0.9, "found": [[1.0, 0.8]]})
    assert weaker(KIND, surer).details == {"sure": 0.9, "found": [[1.0, 0.8]]}
