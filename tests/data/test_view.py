"""Views: every supervised token is scored exactly once, at the state before it, whatever the micro-batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.profiler import profile

from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive, View
from netgain.errors import UserError

rows_of = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.booleans(), min_size=1, max_size=9)).filter(lambda row: any(row[1])),
    min_size=1,
    max_size=8,
)


def view_of(shapes: list[tuple[int, list[bool]]]) -> tuple[list[Encoded], View]:
    """Rows with a prompt of some length and any mask behind it; every token is unique, so it can be followed."""
    batch: list[Encoded] = []
    token = 1
    for i, (prompt, mask) in enumerate(shapes):
        supervised = [False] * prompt + mask
        batch.append(Encoded(f"r{i}", list(range(token, token + len(supervised))), supervised))
        token += len(supervised)
    return batch, Autoregressive().view(batch, 0, torch.Generator())


@given(shapes=rows_of)
def test_a_state_predicts_the_next_token(shapes: list[tuple[int, list[bool]]]) -> None:
    batch, view = view_of(shapes)
    expected = [i for row in batch for i, on in zip(row.ids, row.supervised, strict=True) if on]
    assert view.targets.tolist() == expected
    assert view.input_ids[view.scored].tolist() == [token - 1 for token in expected]
    assert view.row.tolist() == view.scored.nonzero()[:, 0].tolist()
    assert view.count == len(expected)
    assert view.attention_mask.sum().item() == sum(len(row.ids) for row in batch)


def test_more_rows_are_not_more_operators() -> None:
    """A View is made at each step: a handful of small operators a row was a fortieth of a small model's step."""
    calls: list[int] = []
    for rows in (2, 8):
        with profile() as seen:
            view_of([(3, [True, False, True])] * rows)
        calls.append(sum(event.count for event in seen.key_averages()))
    assert calls[0] == calls[1]


@given(shapes=rows_of, size=st.integers(1, 9))
def test_micro_batches_score_every_token_once_and_share_the_normaliser(
    shapes: list[tuple[int, list[bool]]], size: int
) -> None:
    _, view = view_of(shapes)
    parts = view.split(size)
    assert torch.cat([part.targets for part in parts]).equal(view.targets)
    assert sum(part.count for part in parts) == view.count
    for k, part in enumerate(parts):
        assert (part.row + k * size).tolist() == view.row[(view.row >= k * size) & (view.row < (k + 1) * size)].tolist()
        assert part.input_ids.shape[1] == part.attention_mask.sum(1).max()
        assert part.input_ids[part.scored].tolist() == [token - 1 for token in part.targets.tolist()]


@given(shapes=rows_of, seed=st.integers(0, 99))
def test_rows_may_be_reordered_and_repeated(shapes: list[tuple[int, list[bool]]], seed: int) -> None:
    _, view = view_of(shapes)
    total = view.input_ids.shape[0]
    index = torch.randint(total, (2 * total,), generator=torch.Generator().manual_seed(seed))
    picked = view.rows(index)
    expected = [view.targets[view.row == i].tolist() for i in index.tolist()]
    assert [picked.targets[picked.row == k].tolist() for k in range(len(index))] == expected
    assert picked.count == sum(map(len, expected))


def test_a_batch_with_nothing_to_learn_is_named() -> None:
    with pytest.raises(UserError, match='no token of the rows "a", "b" is supervised'):
        Autoregressive().view([Encoded(n, [1, 2], [False, False]) for n in "ab"], 0, torch.Generator())


def test_a_batch_without_a_mask_is_named() -> None:
    with pytest.raises(UserError, match=r'every token of the rows "a", "b", "c", \.\.\. is supervised'):
        Autoregressive().view([Encoded(n, [1, 2, 3], [True] * 3) for n in "abcd"], 0, torch.Generator())
