"""Generation: what a prompt gets in a batch is what it gets alone, at the cost of one prefill a batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from netgain.errors import UserError
from netgain.models.generate import Sampling, generate
from netgain.models.lm import LM


def prompts_of(lm: LM, lengths: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(4, lm.vocab, (n,), generator=g).tolist() for n in lengths]


def hf_greedy(lm: LM, prompt: list[int], new: int, stop: int) -> list[int]:
    """The library's own generation of one prompt, without the stop token."""
    out = lm.net.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=stop,
        pad_token_id=lm.pad_id,
    )
    ids = out[0, len(prompt) :].tolist()
    return ids[:-1] if ids[-1] == stop else ids


def common_token(lm: LM, prompts: list[list[int]], new: int) -> int:
    """A token that ends some of the greedy answers early and others not: the most frequent one."""
    written = [i for each in generate(lm, prompts, max_new_tokens=new, stop_ids=[-1]) for i in each.ids]
    return int(np.bincount(written).argmax())


def test_batched_greedy_equals_one_by_one(lm: LM) -> None:
    prompts = prompts_of(lm, (3, 17, 9, 1, 12, 5, 26))
    stop = common_token(lm, prompts, 24)
    expected = [hf_greedy(lm, prompt, 24, stop) for prompt in prompts]
    found = generate(lm, prompts, max_new_tokens=24, stop_ids=[stop], batch=4)
    assert [each.ids for each in found] == expected
    ended = [not each.truncated for each in found]
    assert any(ended), "the stop token must end some answers for this test to say anything"
    assert [each.tokens for each in found] == [len(e) + done for e, done in zip(expected, ended, strict=True)]


def test_batched_greedy_beyond_a_sliding_window(family: Callable[..., LM]) -> None:
    lm = family("gemma3", sliding_window=8)
    prompts = prompts_of(lm, (3, 21, 9, 12))
    found = generate(lm, prompts, max_new_tokens=16, stop_ids=[-1])
    assert [each.ids for each in found] == [hf_greedy(lm, prompt, 16, -1) for prompt in prompts]


@pytest.mark.parametrize("name", ["stories260K", "tiny-gpt2-stories"])
def test_real_weights_write_the_same_text_in_a_batch(name: str, shared_model: Callable[[str], LM]) -> None:
    lm = shared_model(name)
    prompts = [lm.tok.encode(text) for text in ("Once upon a time", "Lily and Tom", "The dog was very", "One day")]
    eos = lm.tok.eos_token_id
    assert isinstance(eos, int)
    found = generate(lm, prompts, max_new_tokens=40, stop_ids=[eos])
    assert [each.ids for each in found] == [hf_greedy(lm, prompt, 40, eos) for prompt in prompts]


@pytest.mark.parametrize("settings", [{}, {"top_k": 7}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.7}])
def test_samples_do_not_depend_on_the_batch(family: Callable[..., LM], settings: dict[str, float]) -> None:
    lm = family("llama")
    prompts = prompts_of(lm, (4, 11, 7, 2, 9))

    def sampled(batch: int, rows: list[int]) -> list[list[int]]:
        written = generate(
            lm,
            [prompts[i] for i in rows],
            max_new_tokens=12,
            temperature=0.7,
            samples=3,
            batch=batch,
            generator=torch.Generator().manual_seed(5),
            streams=rows,
            **settings,  # pyright: ignore[reportArgumentType]
        )
        return [each.ids for each in written]

    whole = sampled(64, [0, 1, 2, 3, 4])
    assert sampled(1, [0, 1, 2, 3, 4]) == whole
    assert sampled(6, [0, 1, 2, 3, 4]) == whole
    assert sampled(64, [3, 1]) == whole[9:12] + whole[3:6]
    assert len({tuple(ids) for ids in whole}) == len(whole), "samples of a prompt must differ from each other"


@pytest.mark.parametrize(
    "sampling", [Sampling(0.5), Sampling(1.3, top_k=5), Sampling(1.0, top_p=0.6), Sampling(1.0, top_k=9, top_p=0.7)]
)
def test_drawn_frequencies_are_the_asked_distribution(sampling: Sampling) -> None:
    z = torch.randn(12, generator=torch.Generator().manual_seed(1)) * 1.5
    p = torch.softmax(z.double() / sampling.temperature, -1)
    ranked = p.argsort(descending=True)
    keep = ranked[: sampling.top_k] if sampling.top_k else ranked
    if sampling.top_p:
        inner = p[keep] / p[keep].sum()
        keep = keep[: int((inner.cumsum(0) < sampling.top_p).sum()) + 1]
    expected = torch.zeros(12, dtype=torch.double)
    expected[keep] = p[keep] / p[keep].sum()
    n = 20_000
    uniform = (torch.arange(n, dtype=torch.double) + 0.5) / n
    drawn = sampling.choose(z.expand(n, 12), uniform)
    frequency = torch.bincount(drawn, minlength=12) / n
    assert torch.allclose(frequency.double(), expected, atol=2e-4)


def test_a_batch_costs_one_prefill_and_finished_rows_leave(family: Callable[..., LM]) -> None:
    lm = family("qwen3")
    prompts = prompts_of(lm, (3, 17, 9, 1, 12, 5, 26, 8))
    stop = common_token(lm, prompts, 24)
    seen: list[tuple[int, int]] = []
    hook = lm.body.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        found = generate(lm, prompts, max_new_tokens=24, stop_ids=[stop], samples=1, batch=8)
        alone = list(seen)
        seen.clear()
        generate(
            lm, prompts[:2], max_new_tokens=4, stop_ids=[-1], samples=3, temperature=1.0, generator=torch.Generator()
        )
    finally:
        hook.remove()
    lengths = sorted(each.tokens for each in found)
    assert alone[0] == (8, 26)
    assert len(alone) == lengths[-1], "one pass for the prompts, one for each further token"
    for step, (rows, width) in enumerate(alone[1:], start=1):
        assert (rows, width) == (sum(n > step for n in lengths), 1), "a finished row is read no more"
    assert seen == [(2, 17)] + [(6, 1)] * 3, "samples share the reading of their prompt"


def test_the_head_reads_one_position_a_row(family: Callable[..., LM], monkeypatch: pytest.MonkeyPatch) -> None:
    from netgain.models.lm import Head

    lm, read = family("llama"), []
    logits = Head.logits
    monkeypatch.setattr(
        Head, "logits", lambda head, hidden: (read.append(tuple(hidden.shape)), logits(head, hidden))[1]
    )
    generate(lm, prompts_of(lm, (9, 30)), max_new_tokens=3, stop_ids=[-1])
    assert read == [(2, 64)] * 3


def test_answers_end_at_the_last_position(family: Callable[..., LM]) -> None:
    lm = family("gpt2")
    assert lm.max_positions == 512
    prompts = prompts_of(lm, (508, 20))
    found = generate(lm, prompts, max_new_tokens=9, stop_ids=[-1])
    assert [each.tokens for each in found] == [4, 9]
    assert all(each.truncated for each in found)
    with pytest.raises(UserError, match="prompt 0 has 512 tokens"):
        generate(lm, prompts_of(lm, (512,)), max_new_tokens=2)


def test_sampling_without_a_generator_is_refused(family: Callable[..., LM]) -> None:
    with pytest.raises(ValueError, match="generator"):
        generate(family("llama"), [[5, 6]], max_new_tokens=2, temperature=1.0)


def test_an_answer_ends_as_soon_as_a_word_is_said(lm: LM) -> None:
    prompts = prompts_of(lm, (3, 17, 9))
    whole = generate(lm, prompts, max_new_tokens=24, stop_ids=[-1])
    text = whole[1].text
    word = text[len(text) // 2 :][:2]
    found = generate(lm, prompts, max_new_tokens=24, stop_ids=[-1], until=["", word])
    for full, cut in zip(whole, found, strict=True):
        assert full.ids[: len(cut.ids)] == cut.ids
        assert cut.truncated == (word not in full.text)
        before = lm.tok.decode(cut.ids[:-1], skip_special_tokens=True)
        assert word not in before, "it ends with the token that completes the word"
        assert (word in cut.text) == (word in full.text)
        assert cut.tokens == len(cut.ids)
    assert found[1].tokens < 24
