"""A look at the range of a refiner's answers before anything is delivered."""

from __future__ import annotations

from collections.abc import Callable

from refinery.artifact import Artifact
from refinery.chunk import prepare, refine_chunk
from refinery.dataset import spread
from refinery.errors import ModelError
from refinery.formats._source import Source
from refinery.runtime.session import Session
from refinery.runtime.value_range import range_problem
from refinery.work import RefineOptions

LOOKED_AT = 4


def require_range(
    source: Source, session: Session, options: RefineOptions, model: Artifact, say: Callable[[str], None]
) -> None:
    """Refine a few samples and look at the values. Raises ModelError where they are plainly not in [-1, 1].

    Where that is likely and not certain, it is said. NaN is another matter: its sample is rejected.
    """
    works = [prepare(source, sample, options) for sample in spread(source, min(LOOKED_AT, options.chunk_samples))]
    works = [work for work in works if not work.error]
    if not works:
        return
    refined = [(work.synthetic, work.refined) for work in refine_chunk(session, works, options)]
    pairs = [(before, after) for before, after in refined if before is not None and after is not None]
    problem = range_problem([before for before, _ in pairs], [after for _, after in pairs])
    if problem is not None and problem.certain:
        raise ModelError(f"{model.path}: {problem.clause}")
    if problem is not None:
        say(f"{model.path}: {problem.clause}")
