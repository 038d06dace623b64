"""Settings from TOML and options: what is refused, what wins, and the way back to TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

import pytest

from refinery.config import (
    ExportConfig,
    InspectConfig,
    RefineConfig,
    TrainConfig,
    build,
    check_tables,
    load_toml,
    parse_max_drift,
    to_toml,
)
from refinery.errors import ConfigError
from refinery.training.methods.simgan import Settings


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        (TrainConfig, {"batch_sise": 4}, "c.toml: unknown key 'batch_sise'; did you mean 'batch_size'?"),
        (RefineConfig, {"qqq": 4}, "c.toml: unknown key 'qqq'; known: source, out, "),
        (TrainConfig, {"seed": "0"}, "c.toml: seed: got '0' (str), expected int"),
        (TrainConfig, {"seed": True}, "c.toml: seed: got True (bool), expected int"),
        (TrainConfig, {"seed": 1.5}, "c.toml: seed: got 1.5 (float), expected int"),
        (RefineConfig, {"check": 1}, "c.toml: check: got 1 (int), expected bool"),
        (TrainConfig, {"device": "gpu"}, "c.toml: device: got 'gpu', expected one of auto, cpu, cuda"),
        (TrainConfig, {"log_every": 0}, "c.toml: log_every: got 0, expected 1 or more"),
        (TrainConfig, {"eval_every": 0}, "c.toml: eval_every: got 0, expected 1 or more"),
        (TrainConfig, {"checkpoint_every": -1}, "c.toml: checkpoint_every: got -1, expected 1 or more"),
        (TrainConfig, {"crop": -4}, "c.toml: crop: got -4, expected 0 or more"),
        (TrainConfig, {"minutes": float("nan")}, "c.toml: minutes: got nan, expected 0 or more"),
        (Settings, {"refiner_steps": 0}, "c.toml: refiner_steps: got 0, expected 1 or more"),
        (Settings, {"lambda_reg": -1}, "c.toml: lambda_reg: got -1.0, expected 0 or more"),
    ],
)
def test_a_bad_table_is_one_line(kind, table, message):
    with pytest.raises(ConfigError) as caught:
        build(kind, table, {}, "c.toml")
    assert str(caught.value).startswith(message)


def test_a_bad_option_is_named_as_the_option():
    with pytest.raises(
        ConfigError, match=r"^--on-drift: got 'ignore', expected one of soften, quarantine, keep, fail$"
    ):
        build(RefineConfig, {}, {"on_drift": "ignore"}, "None")


@pytest.mark.parametrize(
    ("table", "options", "seed"),
    [({}, {}, 0), ({"seed": 1}, {}, 1), ({"seed": 1}, {"seed": 2}, 2), ({"seed": 1}, {"seed": None}, 1)],
)
def test_option_wins_over_toml_wins_over_default(table, options, seed):
    assert build(TrainConfig, table, options, "c.toml").seed == seed


def test_a_whole_number_serves_as_a_float():
    minutes = build(TrainConfig, {"minutes": 3}, {}, "c.toml").minutes
    assert isinstance(minutes, float)
    assert minutes == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1px", {"": 1.0}),
        ("0", {"": 0.0}),
        ("0.5 px", {"": 0.5}),
        (".5px", {"": 0.5}),
        ("2.", {"": 2.0}),
        ("gaze=2deg", {"gaze*deg": 2.0}),
        ("1px,gaze=2deg", {"": 1.0, "gaze*deg": 2.0}),
        (" iris.center = 0.5px , gaze=2deg", {"iris.center": 0.5, "gaze*deg": 2.0}),
        ("mask=.1iou,2deg", {"mask*iou": 0.1, "*deg": 2.0}),
        ("a=b=1px", {"a=b": 1.0}),
    ],
)
def test_max_drift(text, expected):
    assert parse_max_drift(text) == expected


@pytest.mark.parametrize("text", ["", "px", "-1px", "1px,", "gaze=", "1e3px", "nan", "inf", "1 2px", "one", "1px;2px"])
def test_max_drift_that_says_nothing(text):
    with pytest.raises(ConfigError, match=r"^--max-drift: got .* expected a number and a unit such as 1px"):
        parse_max_drift(text)


@pytest.mark.parametrize("kind", [TrainConfig, RefineConfig, ExportConfig, InspectConfig, Settings])
def test_to_toml_and_back(kind):
    first = build(kind, {}, {}, "c.toml")
    tables = tomllib.loads(to_toml({"table": first}))
    assert build(kind, tables["table"], {}, "c.toml") == first


def test_toml_keeps_awkward_strings():
    config = TrainConfig(real='a "b"\\c [d] #é\n', minutes=0.1)
    assert build(TrainConfig, tomllib.loads(to_toml({"t": config}))["t"], {}, "c.toml") == config


def test_none_is_left_out_of_toml():
    @dataclass(frozen=True)
    class Optional:
        limit: int | None = None
        sizes: tuple[int, ...] = (1, 2)

    tables = tomllib.loads(to_toml({"t": Optional()}))
    assert tables == {"t": {"sizes": [1, 2]}}
    assert build(Optional, tables["t"], {}, "c.toml") == Optional()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[train\n", "not valid TOML"), (b"\xff\xfe", "not valid TOML"), (None, "cannot be read")],
)
def test_a_file_that_is_no_toml(tmp_path, content, message):
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_toml(path)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ({"trian": {}}, r"unknown table \[trian\]; did you mean 'train'\?"),
        ({"train": 3}, r"'train' stands outside a table; put it under one of \[train\], \[simgan\]"),
    ],
)
def test_a_table_that_nobody_reads(toml, message):
    with pytest.raises(ConfigError, match=message):
        check_tables(toml, ("train", "simgan"), "c.toml")
