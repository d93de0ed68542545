"""Masked-diffusion Views: an unbiased bound, prompts never hidden, lengths that say nothing, the same draws for all."""

import itertools
import math

import pytest
import torch

from netgain.data.chat import Encoded
from netgain.data.view import MaskedDiffusion, View
from netgain.errors import UserError

MASK, EOS, PAD = 90, 2, 0


def row(prompt: int, answer: int, name: str = "r") -> Encoded:
    ids = [*range(10, 10 + prompt), *range(40, 40 + answer - 1), EOS]
    return Encoded(name, ids, [False] * prompt + [True] * answer, end=1)


def view_of(rows: list[Encoded], seed: int = 0, schedule: str = "linear", length: int = 5) -> View:
    family = MaskedDiffusion(MASK, length, schedule)  # type: ignore[arg-type]
    return family.view(rows, PAD, torch.Generator().manual_seed(seed))


def test_prompts_are_never_hidden_and_every_row_learns_something() -> None:
    rows = [row(1 + i % 4, 2 + i % 3, f"r{i}") for i in range(8)]
    for seed in range(30):
        view = view_of(rows, seed)
        assert view.row.unique().tolist() == list(range(8))
        for i, each in enumerate(rows):
            prompt = len(each.ids) - len(each.answer)
            assert view.input_ids[i, :prompt].tolist() == each.ids[:prompt]
            assert not view.scored[i, :prompt].any()
            assert not view.scored[i, prompt + 5 :].any()
        assert (view.input_ids[view.scored] == MASK).all()
        assert not view.causal


def test_what_is_hidden_is_what_is_predicted_and_the_normaliser_is_the_whole_answer() -> None:
    view = view_of([row(3, 2), row(2, 4)])
    whole = {0: [10, 11, 12, 40, 2, 2, 2, 2], 1: [10, 11, 40, 41, 42, 2, 2]}
    restored = view.input_ids.clone()
    restored[view.scored] = view.targets
    for i, ids in whole.items():
        assert restored[i, : len(ids)].tolist() == ids
    assert view.count == 10.0
    assert all(view.content[n] == (view.targets[n] >= 40) for n in range(len(view.targets)))


def test_nothing_but_the_prompt_decides_how_long_a_row_is() -> None:
    """A classifier that knows only the shape of what is fed cannot tell answers of different lengths apart."""
    for seed in range(20):
        short, long = view_of([row(3, 2)], seed), view_of([row(3, 5)], seed)
        assert short.attention_mask.equal(long.attention_mask)
        assert short.scored.equal(long.scored)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_loss_is_an_unbiased_bound(schedule: str) -> None:
    """E[weight * sum over hidden f(hidden set)] = sum_k 1/k mean over sets of k, for any f: the masks' own average."""
    length, draws = 3, 16_000

    def cost(hidden: tuple[bool, ...]) -> float:
        return math.prod(2.0 + i if on else 1.0 for i, on in enumerate(hidden))

    exact = 0.0
    for hidden in itertools.product([False, True], repeat=length):
        if k := sum(hidden):
            exact += cost(hidden) * length / k / math.comb(length, k) / length
    rows = [row(1, 3)] * 400
    costs = torch.tensor([2.0, 3.0, 4.0])
    total = 0.0
    for seed in range(draws // len(rows)):
        view = view_of(rows, seed, schedule, length)
        first = torch.searchsorted(view.row, torch.arange(len(rows)))
        total += float((view.weight[first] * torch.where(view.scored[:, 1:4], costs, 1.0).prod(1)).sum())
    assert total / draws == pytest.approx(exact, rel=0.04)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_no_weight_is_larger_than_the_answer_is_long_allows(schedule: str) -> None:
    bound = 5.0 if schedule == "linear" else 5.0 * math.pi / 2
    assert max(float(view_of([row(2, 3)], seed, schedule).weight.max()) for seed in range(300)) <= bound


def test_times_are_spread_over_a_step_and_the_draws_are_the_streams_own() -> None:
    rows = [row(2, 3, f"r{i}") for i in range(10)]
    view = view_of(rows, 7)
    assert view.time is not None
    assert sorted((view.time * 10).ceil().int().tolist()) == list(range(1, 11))
    again = view_of(rows, 7)
    assert view.input_ids.equal(again.input_ids)
    assert view.weight.equal(again.weight)
    assert not view.input_ids.equal(view_of(rows, 8).input_ids)


def test_micro_batches_keep_times_weights_and_the_normaliser() -> None:
    view = view_of([row(2 + i % 3, 3, f"r{i}") for i in range(7)])
    parts = view.split(3)
    assert view.time is not None
    assert torch.cat([part.time for part in parts if part.time is not None]).equal(view.time)
    assert torch.cat([part.weight for part in parts]).equal(view.weight)
    assert sum(part.count for part in parts) == view.count
    assert view.to("cpu").time is not None


def test_an_answer_that_is_too_long_is_refused() -> None:
    with pytest.raises(UserError, match=r'row "r": its answer takes 6 tokens and model.denoise.length is 5'):
        view_of([row(2, 6)])
