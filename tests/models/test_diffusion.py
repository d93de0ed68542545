"""Masked-diffusion likelihood and sampling against exhaustive computation on answers of a few tokens."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from netgain.models import diffusion, unmask
from netgain.models.generate import Sampling
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
PROMPT = [1, 50, 60, 2]


@cache
def model(length: int = 3, **denoise: object) -> LM:
    spec = {"id": "config:bert", "config": {"initializer_range": 0.5, "hidden_size": 32, "num_hidden_layers": 1}}
    return load(ModelSpec.model_validate({**spec, "denoise": {"length": length, **denoise}}))


@torch.no_grad()
def conditionals(lm: LM, prompt: list[int], answer: list[int | None]) -> Tensor:
    """(L, V) log p at every place of an answer whose None are masked, by the network itself."""
    ids = [*prompt, *(lm.mask_id if token is None else token for token in answer)]
    return lm.net(input_ids=torch.tensor([ids])).logits[0, len(prompt) :].double().log_softmax(-1)


def by_hand(lm: LM, prompt: list[int], answer: list[int]) -> float:
    """mean over k of L/k times the mean over sets of k of what the hidden tokens cost."""
    length, total = len(answer), 0.0
    for k in range(1, length + 1):
        costs = []
        for places in itertools.combinations(range(length), k):
            seen = [None if j in places else token for j, token in enumerate(answer)]
            logp = conditionals(lm, prompt, seen)
            costs.append(-sum(float(logp[j, answer[j]]) for j in places))
        total += length / k * sum(costs) / len(costs)
    return total / length


def test_the_bound_of_a_short_answer_is_exact_and_an_average_over_orders() -> None:
    """NELBO = mean over the L! orders of the cost of revealing one token after the other."""
    lm, answer = model(), [70, 80, 2]
    (bound,) = diffusion.nelbo(lm, [PROMPT], [answer], batch=3)
    assert bound.error == 0
    assert bound.value == pytest.approx(by_hand(lm, PROMPT, answer), rel=1e-5)
    orders = []
    for order in itertools.permutations(range(3)):
        seen: list[int | None] = [None] * 3
        cost = 0.0
        for j in order:
            cost -= float(conditionals(lm, PROMPT, seen)[j, answer[j]])
            seen[j] = answer[j]
        orders.append(cost)
    assert bound.value == pytest.approx(sum(orders) / 6, rel=1e-5)


def test_the_bound_of_a_longer_answer_is_within_its_own_error() -> None:
    lm, answer = model(6), [70, 80, 90, 100, 2, 2]
    exact = by_hand(lm, PROMPT, answer)
    (bound,) = diffusion.nelbo(lm, [PROMPT], [answer], batch=64, draws=12)
    assert 0 < bound.error < 0.1 * exact
    assert abs(bound.value - exact) < 4 * bound.error


def test_labels_of_one_token_are_scored_exactly_from_an_empty_answer() -> None:
    lm = model()
    long = [1, *range(40, 60), 2]
    (first, second) = diffusion.label_logprobs(lm, [PROMPT, long], [[[70, 2], [80, 2]]] * 2, batch=2)
    for prompt, found in ((PROMPT, first), (long, second)):
        logp = conditionals(lm, prompt, [None] * 3)[0]
        assert found == pytest.approx([float(logp[70]), float(logp[80])], rel=1e-5)


def test_labels_of_several_tokens_are_scored_by_the_bound_whatever_the_batch() -> None:
    lm, labels = model(), [[70, 75, 2], [80, 2]]
    found = diffusion.label_logprobs(lm, [PROMPT, [1, 9, 2]], [labels, labels], batch=1)
    assert found[0] == pytest.approx([-by_hand(lm, PROMPT, [70, 75, 2]), -by_hand(lm, PROMPT, [80, 2, 2])], rel=1e-5)
    assert found[1] == pytest.approx(diffusion.label_logprobs(lm, [[1, 9, 2]], [labels], batch=8)[0], rel=1e-5)


def test_one_token_a_round_is_drawn_from_the_models_own_conditionals() -> None:
    """Two places, the surer one first: p(x) = p(x_i) p(x_j | x_i), over thousands of draws."""
    lm, n = model(2), 4000
    numbers = [np.random.default_rng([1, k]) for k in range(n)]
    drawn = unmask.unmask(lm, [PROMPT] * n, Sampling(0.4), numbers)

    def p(seen: list[int | None]) -> Tensor:
        logits = conditionals(lm, PROMPT, seen)
        logits[:, lm.mask_id] = -math.inf
        return (logits / 0.4).softmax(-1)

    start = conditionals(lm, PROMPT, [None, None])
    start[:, lm.mask_id] = -math.inf
    first = int((start.amax(-1) - start.logsumexp(-1)).argmax())
    marginal = p([None, None])[first]
    counts = torch.bincount(drawn[:, first], minlength=lm.vocab).double()
    assert float((counts / n - marginal).abs().sum()) < 0.15
    top = int(counts.argmax())
    seen: list[int | None] = [None, None]
    seen[first] = top
    then = p(seen)[1 - first]
    rest = drawn[drawn[:, first] == top][:, 1 - first]
    shares = torch.bincount(rest, minlength=lm.vocab).double() / len(rest)
    assert float((shares - then).abs().sum()) < 3 * math.sqrt(float((then > 1e-3).sum()) / len(rest)) + 0.05


@pytest.mark.parametrize("sampler", ["confidence", "absorbing"])
@pytest.mark.parametrize(("steps", "block"), [(None, None), (2, None), (3, 2), (6, 2)])
def test_revealed_tokens_are_kept_and_no_mask_is_left(
    sampler: str, steps: int | None, block: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model(6, sampler=sampler, steps=steps, block=block)
    fed: list[Tensor] = []
    plain = unmask.answer_states

    def spy(lm: LM, prompts: list[list[int]], answers: Tensor, owners: None) -> Tensor:
        fed.append(answers.clone())
        return plain(lm, prompts, answers, owners)

    monkeypatch.setattr(unmask, "answer_states", spy)
    numbers = [np.random.default_rng([2, k]) for k in range(5)]
    final = unmask.unmask(lm, [PROMPT] * 5, Sampling(1.0), numbers)
    assert (final != lm.mask_id).all()
    for before, after in itertools.pairwise([*fed, final]):
        known = before != lm.mask_id
        assert after[known].equal(before[known])
    if steps == 2 and block is None:
        assert len(fed) <= 2
    if block is not None:
        for answers in fed:
            for left in range(0, 4, 2):
                later = answers[:, left + 2 :] != lm.mask_id
                assert not (later.any(1) & (answers[:, left : left + 2] == lm.mask_id).any(1)).any()


def test_an_answer_does_not_depend_on_its_batch() -> None:
    lm = model(4)
    prompts = [PROMPT, [1, 9, 2], [1, 30, 31, 32, 33, 2]]
    generator = torch.Generator().manual_seed(3)
    together = unmask.write(lm, prompts, stop_ids=[2], temperature=1.0, samples=2, generator=generator)
    generator.manual_seed(3)
    apart = unmask.write(lm, prompts, stop_ids=[2], temperature=1.0, samples=2, generator=generator, batch=1)
    assert [each.ids for each in together] == [each.ids for each in apart]


def test_filled_tokens_are_counted_as_over_a_uniform_share_of_masks() -> None:
    """Every set of hidden places by hand, whatever the batch; the answer's padding counts like any other token."""
    lm = model()
    prompts, answers = [PROMPT, [1, 51, 2]], [[70, 2], [80, 81, 2]]
    found = diffusion.filled(lm, prompts, answers, batch=3)
    assert found == pytest.approx(diffusion.filled(lm, prompts, answers, batch=64))
    for prompt, answer, share in zip(prompts, ([70, 2, 2], [80, 81, 2]), found, strict=True):
        right = 0.0
        for k in (1, 2, 3):
            sets = list(itertools.combinations(range(3), k))
            for places in sets:
                seen = [None if j in places else token for j, token in enumerate(answer)]
                guess = conditionals(lm, prompt, seen).argmax(-1)
                right += sum(int(guess[j]) == answer[j] for j in places) / len(sets)
        assert share == pytest.approx(right / 6)


def test_the_rounds_of_writing_begin_with_masks_and_take_nothing_back() -> None:
    seen, alone = unmask.rounds(model(), [PROMPT, PROMPT[:-1]])[0], unmask.rounds(model(), [PROMPT])[0]
    assert seen == alone
    assert seen[0] == [model().mask_id] * 3
    assert len(seen) == 4
    for before, after in itertools.pairwise(seen):
        assert all(a == b for a, b in zip(before, after, strict=True) if a != model().mask_id)
    assert model().mask_id not in seen[-1]
