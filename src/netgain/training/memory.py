"""When a step does not fit into memory: micro-batches of half the rows, and twice as many of them.

loss = sum over rows / D with D over the whole step, so the gradient is the same, to rounding, however the rows are cut.
A pack is not cut here: whoever made it takes it apart.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from netgain.measure.batches import free_memory, out_of_memory

if TYPE_CHECKING:
    from netgain.training.loop import Training

T = TypeVar("T")


def fitted(training: "Training", rows: int, work: Callable[[], T]) -> T:
    """What `work` makes of the micro-batches of so many rows, which are halved, from now on, until they fit.

    `work` begins with empty gradients, and is begun again. All processes of a run halve when one must.
    """
    while len(training.arms) == 1 and _rows_at_once(training, rows) > 1:
        made = _attempt(work)
        if not training.ranks.any(not made):
            return made[0]
        made.clear()
        training.student.zero_grad()
        free_memory()
        half = max(1, _rows_at_once(training, rows) // 2)  # the work may have halved them itself
        training.runtime = training.runtime.model_copy(update={"micro_batch": half})
    return work()


def _rows_at_once(training: "Training", rows: int) -> int:
    return min(rows, training.ranks.rows(rows, training.runtime.micro_batch) or rows)


def _attempt(work: Callable[[], T]) -> list[T]:
    """What the work made, nothing when memory ran out. The error is dropped here: its traceback holds the tensors."""
    try:
        return [work()]
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return []
