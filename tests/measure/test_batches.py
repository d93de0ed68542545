"""When memory runs out, batches halve, rows are marked, and nothing else is caught."""

import pytest

from netgain.measure.batches import Answer, in_batches


class OutOfMemoryError(RuntimeError):
    """Named and worded as torch's own, which needs a device to be raised by."""


def squares(limit: int, calls: list[list[int]]):
    def run(rows: list[int]) -> list[int]:
        calls.append(rows)
        if len(rows) > limit:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [row * row for row in rows]

    return run


def measure(lengths: list[int], batch: int, run) -> tuple[list[Answer[int]], list[int]]:
    seen: list[int] = []
    return in_batches(lengths, batch, run, release=lambda: None, progress=seen.append), seen


def test_every_row_is_answered_in_its_place() -> None:
    calls: list[list[int]] = []
    answers, seen = measure([3, 1, 2, 9, 5], 2, squares(8, calls))
    assert answers == [Answer(i * i, False) for i in range(5)]
    assert calls == [[3, 4], [0, 2], [1]]
    assert sum(seen) == 5


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_batches_halve_until_they_fit_and_the_rows_are_marked(limit: int) -> None:
    calls: list[list[int]] = []
    released: list[None] = []
    answers = in_batches(
        [1] * 10, 8, squares(limit, calls), release=lambda: released.append(None), progress=lambda n: None
    )
    assert [answer.value for answer in answers] == [i * i for i in range(10)]
    assert [answer.retried for answer in answers] == [True] * 8 + [False] * 2
    assert len(released) == sum(len(rows) > limit for rows in calls) > 0


def test_a_row_that_never_fits_is_missing_alone() -> None:
    def run(rows: list[int]) -> list[int]:
        if 2 in rows:
            raise OutOfMemoryError("CUDA out of memory.")
        return rows

    answers, seen = measure([1, 1, 1, 1], 4, run)
    assert [answer.value for answer in answers] == [0, 1, None, 3]
    assert answers[2].retried
    assert sum(seen) == 4


@pytest.mark.parametrize("words", ["not enough memory: you tried", "can't allocate memory: you tried"])
def test_the_hosts_memory_counts_too(words: str) -> None:
    def run(rows: list[int]) -> list[int]:
        if len(rows) > 1:
            raise RuntimeError(f"[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: {words}")
        return rows

    assert [answer.value for answer in measure([1, 1], 2, run)[0]] == [0, 1]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("x")])
def test_any_other_error_is_raised(error: Exception) -> None:
    def run(rows: list[int]) -> list[int]:
        raise error

    with pytest.raises(type(error)):
        measure([1, 1], 2, run)
