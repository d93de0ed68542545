"""Scoring: labels together score what they score alone, in one pass; a document's surprise is exact in any window."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

from netgain.models import score
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.models.score import label_choices, label_logprobs, log_probs, takes_tree, token_nll


def questions(lm: LM, seed: int = 0) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Prompts of 1 to 30 tokens; 1 to 5 labels of 1 to 6 tokens, some of which begin alike."""
    g = torch.Generator().manual_seed(seed)

    def text(low: int, high: int) -> list[int]:
        n = int(torch.randint(low, high + 1, (1,), generator=g))
        return torch.randint(4, lm.vocab, (n,), generator=g).tolist()

    prompts = [text(1, 30) for _ in range(7)]
    labels = [[text(1, 6) for _ in range(1 + i % 5)] for i in range(7)]
    labels[4][1] = [*labels[4][0], 9]
    return prompts, labels


@torch.no_grad()
def alone(lm: LM, prompt: list[int], label: list[int]) -> float:
    """One forward pass of the whole network for one pair."""
    logits = lm.net(input_ids=torch.tensor([prompt + label]), use_cache=False).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(prompt) - 1 + t, token]) for t, token in enumerate(label))


@contextmanager
def passes(lm: LM) -> Iterator[list[torch.Size]]:
    seen: list[torch.Size] = []
    hook = lm.body.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    yield seen
    hook.remove()


def close(found: list[list[float]], expected: list[list[float]]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, abs=2e-5, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_labels_as_a_tree_score_what_each_scores_alone(lm: LM, batch: int) -> None:
    prompts, labels = questions(lm)
    assert takes_tree(lm)
    expected = [[alone(lm, p, label) for label in each] for p, each in zip(prompts, labels, strict=True)]
    with passes(lm) as seen:
        found = label_logprobs(lm, prompts, labels, batch=batch)
    close(found, expected)
    assert len(seen) == -(-len(prompts) // batch), "one pass a batch, whatever the number of labels"


def test_labels_behind_the_cache_score_what_each_scores_alone(lm: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, labels = questions(lm, seed=1)
    expected = [[alone(lm, p, label) for label in each] for p, each in zip(prompts, labels, strict=True)]
    monkeypatch.setitem(score._takes_tree, lm.net, False)
    with passes(lm) as seen:
        found = label_logprobs(lm, prompts, labels, batch=4)
    close(found, expected)
    assert len(seen) == 4, "two batches: the prompts once, the labels once"


def test_rows_longer_than_a_sliding_window_are_read_behind_the_cache(family: Callable[..., LM]) -> None:
    lm = family("gemma3", sliding_window=8)
    prompts, labels = questions(lm, seed=2)
    expected = [[alone(lm, p, label) for label in each] for p, each in zip(prompts, labels, strict=True)]
    close(label_logprobs(lm, prompts, labels, batch=3), expected)


def test_a_network_that_ignores_the_block_mask_is_found_out(
    family: Callable[..., LM], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = family("llama")
    monkeypatch.delitem(score._takes_tree, lm.net, raising=False)
    run = LM._run

    def deaf(self: LM, ids: torch.Tensor, mask: torch.Tensor, positions: object, cache: object) -> torch.Tensor:
        return run(self, ids, mask if mask is None or mask.dim() == 2 else None, positions, cache)  # type: ignore[arg-type]

    monkeypatch.setattr(LM, "_run", deaf)
    assert not takes_tree(lm)
    monkeypatch.delitem(score._takes_tree, lm.net)


def test_one_token_labels_cost_one_head_row_a_question(
    family: Callable[..., LM], monkeypatch: pytest.MonkeyPatch
) -> None:
    from netgain.models.lm import Head

    lm, read = family("qwen3"), []
    takes_tree(lm)
    logits = Head.logits
    monkeypatch.setattr(Head, "logits", lambda head, hidden: (read.append(len(hidden)), logits(head, hidden))[1])
    label_logprobs(lm, [[5, 6, 7], [8, 9]], [[[10], [11], [12]], [[10], [11]]], batch=2)
    assert sum(read) == 2


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_chunks_of_the_head_change_nothing(family: Callable[..., LM], chunk: int) -> None:
    head = family("gpt2").head
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(13, head.weight.shape[1], generator=g)
    source = torch.tensor([0, 0, 0, 2, 4, 4, 5, 9, 9, 12])
    targets = torch.randint(head.weight.shape[0], (10,), generator=g)
    expected = head.logits(hidden).log_softmax(-1)[source, targets]
    assert torch.allclose(log_probs(head, hidden, source, targets, chunk=chunk), expected, atol=1e-5)


def test_document_surprise_equals_cross_entropy(lm: LM) -> None:
    g = torch.Generator().manual_seed(0)
    documents = [torch.randint(4, lm.vocab, (n,), generator=g).tolist() for n in (17, 2, 1, 40, 0, 23)]
    found = token_nll(lm, documents, batch=3, window=64)
    for ids, (total, tokens) in zip(documents, found, strict=True):
        assert tokens == max(len(ids) - 1, 0)
        if tokens == 0:
            assert total == 0
            continue
        with torch.no_grad():
            logits = lm.net(input_ids=torch.tensor([ids])).logits[0].double()
        expected = F.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum")
        assert total == pytest.approx(float(expected), abs=1e-4)


def test_windows_score_every_token_once_with_their_context(family: Callable[..., LM]) -> None:
    lm = family("llama")
    ids = torch.randint(4, lm.vocab, (53,), generator=torch.Generator().manual_seed(3)).tolist()
    window, stride = 16, 6
    expected, count = 0.0, 0
    for t in range(1, len(ids)):
        first = 0 if t < window else ((t - window) // stride + 1) * stride
        with torch.no_grad():
            logits = lm.net(input_ids=torch.tensor([ids[first:t]])).logits[0, -1].double().log_softmax(-1)
        assert t < window or t - first >= window - stride
        expected -= float(logits[ids[t]])
        count += 1
    [(total, tokens)] = token_nll(lm, [ids], batch=2, window=window, stride=stride)
    assert tokens == count == 52
    assert total == pytest.approx(expected, abs=1e-4)


def test_an_empty_label_is_refused(family: Callable[..., LM]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        label_logprobs(family("llama"), [[5]], [[[6], []]], batch=1)


@pytest.mark.parametrize("tree", [True, False])
def test_a_label_is_greedy_where_greedy_decoding_writes_it(lm: LM, tree: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "takes_tree", lambda *_: tree)
    prompts, labels = questions(lm)
    written = generate(lm, prompts, max_new_tokens=3, stop_ids=[-1])
    for each, own in zip(labels, written, strict=True):
        each.append(own.ids)
        each.append([*own.ids[:-1], (own.ids[-1] + 1) % lm.vocab])
    found = label_choices(lm, prompts, labels, batch=3)
    close([[logprob for logprob, _ in each] for each in found], label_logprobs(lm, prompts, labels, batch=3))
    for each in found:
        assert [greedy for _, greedy in each[-2:]] == [True, False]
