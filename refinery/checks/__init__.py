"""Label checks: is what the annotation says about the synthetic image still true of the refined one?

A check is one file with `check(batch: CheckBatch, context: CheckContext) -> list[list[Finding]]`, one list per pair.
"""

from refinery.checks._batch import CheckBatch
from refinery.checks._context import CheckContext
from refinery.checks._power import measure_power
from refinery.checks._run import overall, run_checks
from refinery.checks._summary import DriftSummary

__all__ = ["CheckBatch", "CheckContext", "DriftSummary", "measure_power", "overall", "run_checks"]
