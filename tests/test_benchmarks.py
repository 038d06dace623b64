"""Benchmark results keep their schema."""

import json
from pathlib import Path

import jsonschema
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def test_there_are_results() -> None:
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_keeps_the_schema_and_its_own_medians(path: Path) -> None:
    result = json.loads(path.read_text())
    jsonschema.validate(result, json.loads((BENCHMARKS / "schema.json").read_text()))
    for case in result["cases"].values():
        for rate in case.get("rates", {}).values():
            assert min(rate["values"]) <= rate["median"] <= max(rate["values"])
