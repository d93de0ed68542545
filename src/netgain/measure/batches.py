"""Running many rows through a model in batches, and giving way when memory runs out.

    width <- width / 2 after every failure for lack of memory; what fails alone is missing, for the reason "oom"

The longest rows go first, so that a width that is too large fails at once and not near the end.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from netgain.errors import UserError

T = TypeVar("T")

SIGNS = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a row gave, None when it alone was too much; whether it was in a batch that had to be halved."""

    value: T | None
    retried: bool


_UNYIELDING: ContextVar[bool] = ContextVar("unyielding", default=False)


@contextmanager
def unyielding(on: bool = True) -> Iterator[None]:
    """Inside, nobody gives way when memory runs out: other processes are in the same pass, and would wait for ever."""
    if not on:
        yield
        return
    token = _UNYIELDING.set(True)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        raise UserError(
            f"memory ran out in a pass that all processes make together ({str(error).splitlines()[0]}); run again with "
            "more of them, with --checkpointing or a smaller --micro-batch: it goes on from its last checkpoint."
        ) from error
    finally:
        _UNYIELDING.reset(token)


def out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether an error says that memory ran out, and nothing else, where this process may do with less."""
    return not _UNYIELDING.get() and _lacks_memory(error)


def _lacks_memory(error: RuntimeError | MemoryError) -> bool:
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
