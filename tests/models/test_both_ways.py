"""A model of a causal class with a token that hides others is a denoiser: it sees both ways, but no padding."""

import pytest
import torch

from netgain.errors import UserError
from netgain.models.diffusion import label_logprobs
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.models.unmask import rounds
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)


def denoiser(family: str, mask: str | int = "<mask>") -> LM:
    return load(ModelSpec.model_validate({"id": f"config:{family}", "denoise": {"length": 3, "mask": mask}}))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt2"])
def test_states_look_both_ways_and_past_padding(family: str) -> None:
    lm = denoiser(family)
    assert not lm.causal
    ids = torch.arange(5, 13)[None]
    other = ids.clone()
    other[0, -1] = 30
    assert not torch.allclose(lm.hidden(ids)[0, 0], lm.hidden(other)[0, 0], atol=1e-6)
    padded = torch.cat([ids, torch.full((1, 3), 40)], 1)
    real = torch.arange(11)[None] < 8
    assert torch.allclose(lm.hidden(padded, real)[:, :8], lm.hidden(ids), atol=1e-5)


def test_it_learns_to_fill_in_what_stands_before_and_behind() -> None:
    """The middle of three is told by its neighbours on either side alone, which a causal model could not use."""
    lm = denoiser("llama")
    lm.net.requires_grad_(True)
    descent = torch.optim.Adam(lm.net.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(120):
        told = torch.randint(10, 14, (32,), generator=rng)
        rows = torch.stack([torch.full_like(told, 5), torch.full_like(told, lm.mask_id), told], 1)
        loss = torch.nn.functional.cross_entropy(lm.head.logits(lm.hidden(rows)[:, 1]), told)
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert loss.item() < 0.1


def test_it_scores_labels_and_writes() -> None:
    lm = denoiser("llama", mask=3)
    assert lm.mask_id == 3
    prompt = lm.tok.encode("Review: fine", add_special_tokens=False)
    labels = [[70, *lm.eos_ids], [80, *lm.eos_ids]]
    (scores,) = label_logprobs(lm, [prompt], [labels], batch=2)
    states = lm.hidden(torch.tensor([[*prompt, *[3] * 3]]))[0, len(prompt)]
    expected = lm.head.logits(states).double().log_softmax(-1)[[70, 80]].tolist()
    assert scores == pytest.approx(expected, abs=1e-5)
    (seen,) = rounds(lm, [prompt])
    assert seen[0] == [3] * 3
    assert 3 not in seen[-1]


def test_without_a_mask_it_stays_causal_and_an_unknown_one_is_named() -> None:
    assert load(ModelSpec.model_validate({"id": "config:llama", "denoise": {"length": 3}})).causal
    with pytest.raises(UserError, match=r"denoise\.mask: its tokenizer has no token '<hidden>'"):
        denoiser("llama", "<hidden>")
