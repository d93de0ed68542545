"""Which scored tokens a term sees is a function of the row alone: not of padding, and not of how a step is cut."""

import pytest
import torch
from torch import Tensor

from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive, View
from netgain.objectives.selection import seen, select
from netgain.spec.run import FromSource, Last, Share, Tokens

torch.set_num_threads(1)
ANSWERS = (2, 7, 4, 9, 1, 5)


def rows(prompt: int = 6) -> list[Encoded]:
    """Six rows with answers of 1 to 9 tokens, each ended by one token that is none of the answer's text."""
    return [
        Encoded(
            f"row {i}",
            list(range(10, 10 + prompt + i + answer + 1)),
            [False] * (prompt + i) + [True] * (answer + 1),
            end=1,
        )
        for i, answer in enumerate(ANSWERS)
    ]


def view(of: list[Encoded] | None = None) -> View:
    return Autoregressive().view(of or rows(), 0, torch.Generator())


def per_row(kept: Tensor, of: View) -> list[list[bool]]:
    return [kept[of.row == i].tolist() for i in range(len(of.input_ids))]


@pytest.mark.parametrize("n", [1, 3, 50])
def test_the_window_counts_from_the_end_of_the_rows_own_answer(n: int) -> None:
    made = view()
    for kept, answer in zip(per_row(seen(made, Last(last=n), 0, 0), made), ANSWERS, strict=True):
        scored = answer + 1
        assert kept == [False] * max(0, scored - n) + [True] * min(n, scored)


def test_a_row_shorter_than_the_window_is_still_anchored_and_padding_never_enters() -> None:
    made = view()
    chosen = select(made, [Last(last=4)], 0, 0)[Last(last=4)]
    assert chosen.total == sum(min(4, answer + 1) for answer in ANSWERS)
    alone = [view([row]) for row in rows()]
    for i, one in enumerate(alone):
        own = seen(one, Last(last=4), 0, 0)
        assert torch.equal(seen(made, Last(last=4), 0, 0)[made.row == i], own), "padding changed what is seen"
        assert own.any()


def test_content_leaves_the_tokens_out_that_end_an_answer() -> None:
    made = view()
    chosen = select(made, ["content", "all"], 0, 0)
    assert chosen["content"].total == sum(ANSWERS)
    assert chosen["all"].total == sum(ANSWERS) + len(ANSWERS)
    assert chosen["all"].weight is made.weight


def test_a_share_is_a_keyed_draw_of_its_size() -> None:
    many = view([row for i in range(60) for row in rows()])
    kept = seen(many, Share(share=0.3), 7, 3)
    assert float(kept.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(kept, seen(many, Share(share=0.3), 7, 3))
    for other in (seen(many, Share(share=0.3), 7, 4), seen(many, Share(share=0.3), 8, 3)):
        assert float((kept & other).float().mean()) == pytest.approx(0.09, abs=0.03), "draws are independent"
    wider = seen(many, Share(share=0.6), 7, 3)
    assert not (kept & ~wider).any(), "a larger share holds the smaller one"


@pytest.mark.parametrize("kind", ["all", "content", Last(last=3), Share(share=0.5)])
def test_a_share_does_not_depend_on_the_prompts_of_other_rows(kind: Tokens) -> None:
    short, long = rows(), [*rows()[:-1], rows(prompt=40)[-1]]
    a, b = view(short), view(long)
    first = len(ANSWERS) - 1
    assert torch.equal(seen(a, kind, 0, 0)[a.row < first], seen(b, kind, 0, 0)[b.row < first])


def test_a_term_may_see_the_rows_of_one_source_only() -> None:
    made = Autoregressive().view(rows(), 0, torch.Generator(), origin=[4, 0, 2, 1, 5, 3])
    sources = ["chat", "chat", "general", "chat", "general", "general"]
    kept = per_row(seen(made, FromSource(source="general"), 0, 0, sources), made)
    assert [all(row) for row in kept] == [True, False, True, False, True, False]
    assert [any(row) for row in kept] == [True, False, True, False, True, False]


def test_a_step_without_rows_of_the_source_counts_nothing() -> None:
    made = Autoregressive().view(rows(), 0, torch.Generator(), origin=range(6))
    found = select(made, [FromSource(source="general")], 0, 0, ["chat"] * 6)[FromSource(source="general")]
    assert not found.weight.any()
    assert found.total == 1.0
