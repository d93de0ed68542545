"""The answer's own text: no template token before it, none that ends it, with every template and tokenizer."""

import pytest
import torch
from transformers import AutoTokenizer

from netgain.data.chat import Encoded, Template
from netgain.data.source import Example, Turn
from netgain.data.view import Autoregressive
from netgain.models import embedded
from netgain.models.embedded import smollm2
from netgain.models.tiny import byte_tokenizer

SMOLLM2 = pytest.param("smollm2", marks=pytest.mark.skipif(smollm2.packaged() is None, reason="not installed"))


def own_text(template: Template, answer: str) -> str:
    row = template.encode(Example("r", "g", (Turn("user", "Question: is it?\nAnswer:"),), answer), 999)
    return str(template.tok.decode([i for i, own in zip(row.ids, row.content, strict=True) if own]))


@pytest.mark.parametrize("answer", ["positive", "two words", "B-PER O O", "naïve 東京", "a\nb"])
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2", SMOLLM2])
def test_content_is_the_answer_and_nothing_else(name: str, chat: bool, answer: str) -> None:
    tok = AutoTokenizer.from_pretrained(embedded.path(name))
    template = Template(tok, chat)
    assert own_text(template, answer).strip() == answer
    row = template.encode(Example("r", "g", (Turn("user", "q"),), answer), 999)
    learned = [own for own, on in zip(row.content, row.supervised, strict=True) if on]
    assert not learned[-1], "what ends an answer is learned, and is not its own text"
    assert not any(own for own, on in zip(row.content, row.supervised, strict=True) if not on)


def test_a_blank_that_is_a_token_of_its_own_belongs_to_the_template() -> None:
    template = Template(byte_tokenizer())
    assert own_text(template, "yes") == "yes"
    row = template.encode(Example("r", "g", (Turn("user", "q"),), "yes"), 99)
    assert (row.lead, row.end, len(row.answer)) == (1, 1, 5)


def test_views_carry_content_and_origin_through_every_cut() -> None:
    rows = [
        Encoded("a", [1, 2, 3, 4, 5], [False, False, True, True, True], lead=1, end=1),
        Encoded("b", [6, 7, 8], [False, True, True], end=1),
        Encoded("c", [9, 10], [False, True]),
    ]
    view = Autoregressive().view(rows, 0, torch.Generator(), [40, 7, 9])
    assert view.targets[view.content].tolist() == [4, 7, 10]
    assert view.origin.tolist() == [40, 7, 9]
    picked = view.rows([2, 0, 0])
    assert picked.targets[picked.content].tolist() == [10, 4, 4]
    assert picked.origin.tolist() == [9, 40, 40]
    assert [part.origin.tolist() for part in view.split(2)] == [[40, 7], [9]]
    assert torch.cat([part.content for part in view.split(2)]).equal(view.content)
    moved = view.to("cpu")
    assert moved.content.equal(view.content)
    assert Autoregressive().view(rows, 0, torch.Generator()).origin.tolist() == [-1, -1, -1]


def test_demonstrations_change_the_prompt_and_not_the_answer() -> None:
    template = Template(AutoTokenizer.from_pretrained(embedded.path("tiny-llama")))
    shown = [Example("d", "h", (Turn("user", "and this?"),), "no")]
    example = Example("r", "g", (Turn("user", "is it?"),), "yes")
    plain, taught = template.encode(example, 99), template.encode(example, 99, demonstrations=shown)
    assert taught.answer == plain.answer
    assert len(taught.ids) > len(plain.ids)
    assert taught.ids[: len(template.prompt(example.turns, shown))] == template.prompt(example.turns, shown)
    assert (taught.lead, taught.end) == (plain.lead, plain.end)
