"""Masked language models: every family's head is a matrix and a bias over states that its own layers made."""

import pytest
import torch

from netgain.data.chat import Template
from netgain.data.source import Turn
from netgain.data.view import MaskedDiffusion
from netgain.models.load import load, tokenizer
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
FAMILIES = ("config:bert", "config:roberta", "config:modernbert", "tiny-mlm")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_reads_the_transformed_states(name: str) -> None:
    lm = load(ModelSpec(id=name))
    ids = torch.arange(5, 21).view(2, 8)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    expected = lm.net(input_ids=ids, attention_mask=mask).logits[mask.bool()]
    assert torch.allclose(lm.head.logits(lm.hidden(ids, mask))[mask.bool()], expected, atol=1e-5)
    assert not lm.causal
    assert isinstance(lm.family, MaskedDiffusion)


@pytest.mark.parametrize("name", FAMILIES)
def test_states_look_both_ways(name: str) -> None:
    lm = load(ModelSpec(id=name))
    ids = torch.arange(5, 13)[None]
    other = ids.clone()
    other[0, -1] = 30
    assert not torch.allclose(lm.hidden(ids)[0, 0], lm.hidden(other)[0, 0], atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_question_and_answer_are_two_segments_of_one_text(name: str) -> None:
    template = Template(tokenizer(ModelSpec(id=name)))
    turns = (Turn("user", "fine"),)
    prompt, answer = template.prompt(turns), template.answer(turns, "good")
    assert prompt[-1] == answer[-1] == template.stop_ids[-1]
    assert prompt[:-1] != answer[:-1]


def test_the_spec_says_how_answers_are_corrupted() -> None:
    spec = ModelSpec.model_validate({"id": "config:bert", "denoise": {"length": 4, "schedule": "cosine"}})
    lm = load(spec)
    assert lm.family == MaskedDiffusion(lm.mask_id, 4, "cosine")
