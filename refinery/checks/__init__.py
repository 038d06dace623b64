"""Label checks: is what the annotation says about the synthetic image still true of the refined one?

A check is one file with `check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]`, one list per pair,
`TYPES`, the label types it speaks of, and `GRANTS`: whether its pass says that the label holds (others only object).
One with `ASKED_LAST` is shown the pairs only that have labels with a place which the others did not all pass.
"""

from refinery.checks._batch import CheckBatch
from refinery.checks._calibration import calibrate
from refinery.checks._context import CheckContext
from refinery.checks._gone import is_gone
from refinery.checks._power import describe_power, measure_power, power_sentence
from refinery.checks._reach import flips_found
from refinery.checks._run import run_checks
from refinery.checks._summary import DriftSummary
from refinery.checks._verdict import deciding, overall

__all__ = [
    "CheckBatch",
    "CheckContext",
    "DriftSummary",
    "calibrate",
    "deciding",
    "describe_power",
    "flips_found",
    "is_gone",
    "measure_power",
    "overall",
    "power_sentence",
    "run_checks",
]
