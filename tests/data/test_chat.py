"""Rendering: training and evaluation share one prompt; exactly the answer and its end are supervised."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from netgain.data.chat import Template
from netgain.data.source import Example, Turn
from netgain.errors import UserError
from netgain.models.tiny import byte_tokenizer

CHATML = (
    "{% for m in messages %}<bos>{{ m['role'] }}\n{{ m['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<bos>assistant\n{% endif %}"
)
THINKING = CHATML.replace(
    "<bos>assistant\n{% endif", "<bos>assistant\n{% if enable_thinking is not false %}<think>{% endif %}{% endif"
)
NO_PROMPT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
NO_ASSISTANT = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}\n{% endif %}{% endfor %}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


def tokenizer(chat: str | None = None) -> PreTrainedTokenizerFast:
    tok = byte_tokenizer()
    tok.chat_template = chat
    return tok


def example(prompt: str = "Is it?", answer: str = "yes", name: str = "r1") -> Example:
    return Example(name, "g", (Turn("user", prompt),), answer)


texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="<>"), min_size=1).filter(str.strip)


@pytest.mark.parametrize("chat", [None, CHATML])
@given(prompt=texts, answer=texts)
def test_a_prompt_is_a_prefix_of_what_is_trained_on(chat: str | None, prompt: str, answer: str) -> None:
    tok = tokenizer(chat)
    template = Template(tok)
    row = template.encode(example(prompt, answer), 10_000)
    before = template.prompt((Turn("user", prompt),))
    assert row.ids[: len(before)] == before
    assert row.supervised == [False] * len(before) + [True] * (len(row.ids) - len(before))
    learned = tok.decode(row.ids[len(before) :])
    assert learned.removeprefix(" " if chat is None else "") in (f"{answer}<eos>", f"{answer.lstrip()}<eos>")
    assert row.ids.count(tok.eos_token_id) == (1 if chat is None else 2)


def test_plain_text_begins_as_the_tokenizer_begins_it() -> None:
    tok = tokenizer()
    assert tok.decode(Template(tok).encode(example(), 99).ids) == "<bos>Is it? yes<eos>"
    assert tok.decode(Template(tok).encode(example("Is it?\n"), 99).ids) == "<bos>Is it?\nyes<eos>"


def test_chat_ends_the_answer_where_the_template_ends_it() -> None:
    tok = tokenizer(CHATML)
    template = Template(tok)
    assert tok.decode(template.encode(example(), 99).ids) == "<bos>user\nIs it?<eos>\n<bos>assistant\nyes<eos>"
    assert template.stop_ids == (tok.eos_token_id,)
    assert template.answer((Turn("user", "Is it?"),), "yes", end=False) == tok.encode("yes", add_special_tokens=False)


def test_an_end_of_turn_token_other_than_eos_is_learned_and_stops_generation() -> None:
    tok = tokenizer(CHATML.replace("<eos>", "<turn>"))
    tok.add_special_tokens({"additional_special_tokens": ["<turn>"]})  # pyright: ignore[reportArgumentType]
    template = Template(tok)
    turn = tok.convert_tokens_to_ids("<turn>")
    assert template.encode(example(), 99).ids[-1] == turn
    assert set(template.stop_ids) == {turn, tok.eos_token_id}


def test_plain_is_used_where_asked_or_where_there_is_no_chat_template() -> None:
    assert Template(tokenizer(CHATML)).mode == "chat"
    assert Template(tokenizer(CHATML), chat=False).mode == "plain"
    assert Template(tokenizer(None)).mode == "plain"


def test_thinking_is_switched_off_where_the_template_knows_how() -> None:
    tok = tokenizer(THINKING)
    assert "<think>" not in tok.decode(Template(tok).prompt((Turn("user", "hi"),)))


def test_demonstrations_stand_between_the_system_turn_and_the_question() -> None:
    shown = [example("a?", "1"), example("b?", "2")]
    turns = (Turn("system", "Be short."), Turn("user", "c?"))
    plain = tokenizer()
    assert plain.decode(Template(plain).prompt(turns, shown)) == "<bos>Be short.\n\na? 1\n\nb? 2\n\nc?"
    chat = tokenizer(CHATML)
    text = chat.decode(Template(chat).prompt(turns, shown))
    parts = ["system\nBe short.", "user\na?", "assistant\n1", "user\nb?", "assistant\n2", "user\nc?", "assistant\n"]
    assert text.replace("<eos>\n", "").split("<bos>")[1:] == parts


@pytest.mark.parametrize(
    ("chat", "sentence"),
    [
        (NO_PROMPT, "no generation prompt"),
        (NO_ASSISTANT, "no assistant part"),
        ("{{ raise_exception('never') }}", "refuses the turns user"),
    ],
)
def test_a_template_that_cannot_be_learned_from_is_one_sentence(chat: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        Template(tokenizer(chat), name="my-model")
    assert str(error.value).startswith("my-model: ")
    assert "\n" not in str(error.value)


def test_a_refused_role_is_named() -> None:
    with pytest.raises(UserError, match=r"refuses the turns system, user \(no system\)"):
        Template(tokenizer(NO_SYSTEM)).prompt((Turn("system", "s"), Turn("user", "u")))


def test_an_answer_that_changes_its_own_prompt_is_refused() -> None:
    chat = CHATML.replace(
        "{{ m['content'] }}", "{{ m['content'] }}{% if messages[-1]['content'] == 'odd' %}!{% endif %}"
    )
    template = Template(tokenizer(chat))
    template.encode(example(answer="even"), 99)
    with pytest.raises(UserError, match="renders an answered conversation differently"):
        template.encode(example(answer="odd"), 99)


def test_a_row_without_anything_supervised_is_named() -> None:
    with pytest.raises(UserError, match='row "r7": its answer is empty'):
        Template(tokenizer()).encode(example(answer=" \n", name="r7"), 99)


def test_too_long_a_row_never_loses_its_answer() -> None:
    tok = tokenizer()
    template = Template(tok)
    long = example("0123456789" * 5, "answer", "r9")
    with pytest.raises(UserError, match=r'row "r9" takes 59 tokens and data.max_len is 30'):
        template.encode(long, 30)
    row = template.encode(long, 30, "left")
    assert len(row.ids) == 30
    assert row.truncated == 29
    assert tok.decode(row.ids) == "<bos>" + ("0123456789" * 5)[-21:] + " answer<eos>"
    with pytest.raises(UserError, match='row "r9": its answer alone takes 8 tokens'):
        template.encode(long, 9, "left")
    dropped = template.encode_all([long, example()], 30, "drop")
    assert [row.id for row in dropped.rows] == ["r1"]
    assert dropped.dropped == ("r9",)


def test_the_fingerprint_changes_with_the_rendering_only() -> None:
    prints = [Template(tokenizer(chat)).fingerprint for chat in (None, CHATML, CHATML, CHATML.replace("\n", " "))]
    assert prints[1] == prints[2]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("name", ["stories260K", "tiny-gpt2-stories"])
def test_answers_are_tokenised_in_place(name: str, shared_tokenizer: Callable[[str], PreTrainedTokenizerFast]) -> None:
    tok = shared_tokenizer(name)
    template = Template(tok)
    row = template.encode(example("Once upon a time there was", "a little girl"), 99)
    assert row.ids == [*tok.encode("Once upon a time there was a little girl"), tok.eos_token_id]
