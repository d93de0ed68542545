"""The order of rows: every row once an epoch, the same after a restart, never decided by lengths."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.data.order import order
from netgain.spec.identity import stream

sizes = {"n": st.integers(1, 40), "batch": st.integers(1, 50), "seed": st.integers(0, 5)}


@given(**sizes)
def test_every_epoch_holds_every_row_once(n: int, batch: int, seed: int) -> None:
    steps = -(-3 * n // batch)
    found = list(order(n, batch, steps, stream(seed, "order")))
    assert all(len(rows) == batch for rows in found)
    chain = np.concatenate(found)
    epochs = [chain[e * n : (e + 1) * n] for e in range(3)]
    assert all(sorted(epoch.tolist()) == list(range(n)) for epoch in epochs)


@given(**sizes, start=st.integers(0, 20))
def test_a_resumed_order_is_the_rest_of_the_order(n: int, batch: int, seed: int, start: int) -> None:
    whole = islice(order(n, batch, 25, stream(seed, "order")), start, None)
    resumed = order(n, batch, 25, stream(seed, "order"), start=start)
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))


@given(**sizes)
def test_lengths_arrange_a_step_and_never_choose_it(n: int, batch: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 9, n).tolist()
    plain = order(n, batch, 5, stream(seed, "order"))
    for rows, sorted_rows in zip(plain, order(n, batch, 5, stream(seed, "order"), lengths=lengths), strict=True):
        assert sorted(rows.tolist()) == sorted(sorted_rows.tolist())
        found = [lengths[row] for row in sorted_rows]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("other", [1, 2, 3])
def test_epochs_and_seeds_differ(other: int) -> None:
    first, second = islice(order(50, 50, 2, stream(0, "order")), 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, next(order(50, 50, 1, stream(other, "order"))))
