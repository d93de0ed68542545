"""Running many rows through a model in batches, and giving way when memory runs out.

    width <- width / 2 after every failure for lack of memory; what fails alone is missing, for the reason "oom"

The longest rows go first, so that a width that is too large fails at once and not near the end.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

SIGNS = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a row gave, None when it alone was too much; whether it was in a batch that had to be halved."""

    value: T | None
    retried: bool


def out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether an error says that the device or the host has no memory left, and nothing else."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)


def free_memory() -> None:
    """Drop what nothing refers to, and give the device back what torch keeps for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_batches(
    lengths: Sequence[int],
    batch: int,
    run: Callable[[list[int]], Sequence[T]],
    *,
    release: Callable[[], object],
    progress: Callable[[int], object],
) -> list[Answer[T]]:
    """The answer of every row, in the order of `lengths`; `run` takes rows' numbers and returns their values.

    `release` frees what a failed batch left behind; `progress` hears how many rows are newly done. An error that is not
    about memory is raised.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    answers: dict[int, Answer[T]] = {}
    retried: set[int] = set()
    at, width = 0, batch
    while at < len(order):
        rows = order[at : at + width]
        values = _attempt(run, rows)
        if values is None:
            release()
            retried.update(rows)
            if len(rows) > 1:
                width = len(rows) // 2
                continue
            values = [None]
        for i, value in zip(rows, values, strict=True):
            answers[i] = Answer(value, i in retried)
        at += len(rows)
        progress(len(rows))
    return [answers[i] for i in range(len(lengths))]


def _attempt(run: Callable[[list[int]], Sequence[T]], rows: list[int]) -> Sequence[T | None] | None:
    """The values of some rows, None when memory ran out. The error is dropped here: its traceback holds the tensors."""
    try:
        return run(rows)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None
