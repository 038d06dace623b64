"""`--require`: which labels decide a sample's verdict, and what keeps samples open."""

from __future__ import annotations

import pytest
from stream import error_of, manifest, refine, refine_json, refinery, tree_of, write_refiner, write_scenes

from refinery.checks import CheckContext, deciding, overall
from refinery.config import parse_require
from refinery.errors import ConfigError
from refinery.jobs._summary import open_labels_of
from refinery.sample import Finding


def finding(label: str, verdict: str, kind: str = "box") -> Finding:
    return Finding(label, kind, verdict)


BOX, MASK, POINT = finding("car.box", "pass"), finding("car.mask", "abstain"), finding("nose", "fail", "keypoint")


@pytest.mark.parametrize(
    ("require", "verdict"),
    [
        ("", "fail"),
        ("box", "pass"),
        ("car.box", "pass"),
        ("box,mask", "abstain"),
        ("nose", "fail"),
        ("x", "not_checkable"),
    ],
)
def test_a_sample_has_the_worst_verdict_of_the_labels_that_are_required(require, verdict):
    context = CheckContext(require=parse_require(require))
    assert overall([BOX, MASK, POINT], context) == verdict


def test_what_is_said_of_the_image_as_a_whole_always_decides():
    context = CheckContext(require=frozenset({"box"}))
    whole = finding("image", "fail"), finding("content", "fail", "content"), finding("pairing", "fail", "pairing")
    for other in whole:
        assert overall([BOX, MASK, other], context) == "fail"
        assert other in deciding([BOX, other], context)


def test_what_keeps_a_sample_open_is_named_and_nothing_else():
    all_decide, box_alone = CheckContext(), CheckContext(require=frozenset({"box"}))
    assert open_labels_of([BOX, MASK], "abstain", all_decide) == {"car.mask"}
    assert open_labels_of([BOX, MASK, POINT], "fail", all_decide) == set()
    assert open_labels_of([BOX, MASK], "pass", box_alone) == set()


@pytest.mark.parametrize("text", ["box,,mask", ",", "box, "])
def test_an_empty_name_cannot_be_meant(text):
    with pytest.raises(ConfigError, match=r"--require: got .*, expected names of labels such as box,center"):
        parse_require(text)


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Scenes whose points move by 3 px, and whose radii nobody can judge without a probe."""
    folder = tmp_path_factory.mktemp("moved")
    return write_scenes(folder / "in", 6), write_refiner(folder, "moved")


def test_a_label_that_does_not_decide_is_told_and_changes_nothing(moved, tmp_path):
    source, model = moved
    code, result = refine_json(source, tmp_path / "out", model, "--require", "radius")
    assert (code, result["softened"], result["failures"]) == (0, 0, {"disc.center": 6})
    assert result["verdicts"] == {"pass": 0, "fail": 0, "abstain": 0, "not_checkable": 6}
    assert {line["status"] for line in manifest(tmp_path / "out").values()} == {"refined"}
    told = refine(source, tmp_path / "out", model, "--require", "radius")
    assert "no label was judged" in told.stdout
    assert refine(source, tmp_path / "other", model, "--require", "radius", "--on-drift", "fail").exit_code == 0


def test_required_by_its_last_name_or_not_at_all_is_the_same_where_it_alone_is_judged(moved, tmp_path):
    source, model = moved
    for name, options in {"all": (), "center": ("--require", "center")}.items():
        assert refine(source, tmp_path / name, model, "--on-drift", "keep", *options).exit_code == 3
    assert tree_of(tmp_path / "all") == tree_of(tmp_path / "center")


def test_a_name_that_no_label_has_is_an_error_before_anything_is_written(moved, tmp_path):
    source, model = moved
    done = refine(source, tmp_path / "out", model, "--require", "centre")
    assert done.exit_code == 2
    assert "--require centre: none of 6 samples has a label of this name; did you mean 'center'?" in error_of(done)
    assert not (tmp_path / "out").exists()
    done = refine(source, tmp_path / "out", model, "--require", "wheel")
    assert "labels: disc.center, disc.radius" in error_of(done)


def test_another_choice_of_labels_is_another_job(moved, tmp_path):
    source, model = moved
    assert refine(source, tmp_path / "out", model, "--require", "radius").exit_code == 0
    assert refine(source, tmp_path / "out", model).exit_code == 1


def test_parts_and_an_audit_ask_the_same_labels(moved, tmp_path):
    source, model = moved
    for part in ("1/2", "2/2"):
        options = ("--require", "radius", "--shard", part)
        assert refine(source, tmp_path / "out", model, *options).exit_code == 0
    report = refinery("inspect", tmp_path / "out", "--json")
    assert '"not_checkable": 6' in report.stdout
    assert refinery("inspect", source, tmp_path / "out").exit_code == 3
    audit = refinery("inspect", source, tmp_path / "out", "--require", "radius")
    assert (audit.exit_code, "0 fail" in audit.stdout) == (0, True)


UNMEASURED = {"median": None, "unit": "px", "verdicts": None}


def test_what_is_open_is_said_with_what_closes_it():
    from refinery.report.text import refine_text

    counts = {"pass": 326, "fail": 0, "abstain": 674, "not_checkable": 0}
    result = {"out": "o", "samples": 1000, "images_per_s": 9.0, "refined": 1000, "rejected": 0, "quarantined": 0}
    counted = {"verdicts": counts, "open": {"mask": 656, "content": 3}, "drift": {"mask": UNMEASURED}}
    assert (
        "open       mask in 656, content in 3 (samples): the checks were not sure; allow more (--max-drift "
        "mask=...px), or name the labels that decide (--require)"
    ) in refine_text({**result, **counted})
    flipped = {"open": {"kind": 5}, "drift": {"kind": {**UNMEASURED, "unit": "flip"}}}
    assert "not sure; name the labels that decide (--require)\n" in refine_text({**result, **counted, **flipped})
    whole = refine_text({**result, **counted, "open": {"pairing": 2}})
    assert "open       pairing in 2 (samples): the checks were not sure\n" in whole
