"""Turns to token ids, and which of them are learned: one rendering for training and for evaluation.

    ids(example) = prompt(turns) + answer(turns, text),    supervised = False for the prompt, True for the answer

The answer includes the token that ends it, so that a model learns to stop. That `prompt` is a prefix of what is trained
on is how the ids are made, and that nothing else is changed by it is asserted: both parts decode to the text that the
template renders for the whole conversation.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from netgain.data.source import Example, Turn
from netgain.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Truncate = Literal["error", "left", "drop"]
PROBE = (Turn("user", "question"),)
PROBE_ANSWER = "wibble"
ASKED = 64
"""So many prompts are kept at a time: the options of a question are asked for one after another."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as the model sees it: T ids, which of them are supervised, and how many were cut from the left.

    Of the supervised ids the first `lead` and the last `end` belong to the template: what it puts before an answer
    (the space behind a question) and what ends one.
    """

    id: str
    ids: list[int]
    supervised: list[bool]
    truncated: int = 0
    lead: int = 0
    end: int = 0

    @property
    def content(self) -> list[bool]:
        """Which of the ids are the answer's own text, (T,)."""
        places = [i for i, on in enumerate(self.supervised) if on]
        own = set(places[self.lead : len(places) - self.end])
        return [i in own for i in range(len(self.ids))]

    @property
    def answer(self) -> list[int]:
        """The supervised ids."""
        return [i for i, on in zip(self.ids, self.supervised, strict=True) if on]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Rows ready for training, the ids of those dropped for their length, and how many lost part of their prompt.

    `index[i]` is which of the examples row i was.
    """

    rows: list[Encoded]
    dropped: tuple[str, ...]
    cut: int
    index: tuple[int, ...]


class Template:
    """How a tokenizer renders a conversation.

    chat    the tokenizer's own chat template, if it has one; thinking is switched off where the template knows how
    plain   turns joined by blank lines, the assistant's behind a space, then the end-of-sequence token; also what a
            tokenizer without a chat template gets
    The tokenizer's own beginning-of-sequence token comes first wherever the tokenizer itself would put it.
    """

    def __init__(self, tok: "PreTrainedTokenizerBase", chat: bool = True, name: str = "") -> None:
        self.tok = tok
        self._eos = tok.eos_token_id if isinstance(tok.eos_token_id, int) else None
        self._name = name or tok.name_or_path or "the model"
        source = tok.get_chat_template() if chat and tok.chat_template else None
        self.mode: Literal["chat", "plain"] = "plain" if source is None else "chat"
        self._variables: dict[str, Any] = {"enable_thinking": False} if source and "enable_thinking" in source else {}
        self._opening = _opening(tok)
        self._asked = lru_cache(maxsize=ASKED)(self._ask)
        self._tail, self._end = self._ending()
        self.stop_ids: tuple[int, ...] = tuple(sorted({self._end[-1], self._eos} - {None}))

    @property
    def fingerprint(self) -> str:
        """sha256 of the ids of a fixed conversation and its answer: the same in training and in evaluation."""
        turns = (Turn("user", "question one"), Turn("assistant", "reply"), Turn("user", "question two"))
        ids = [*self.prompt(turns), *self.answer(turns, "reply two")]
        return hashlib.sha256(f"{self.mode} {ids}".encode()).hexdigest()[:16]

    @property
    def ending(self) -> list[int]:
        """The ids that end an answer."""
        return self._end

    def prompt(self, turns: Sequence[Turn], demonstrations: Sequence[Example] = ()) -> list[int]:
        """The ids that the model continues with its answer; demonstrations are answered before the question."""
        return list(self._asked(tuple(_with(turns, demonstrations)))[1])

    def answer(
        self, turns: Sequence[Turn], text: str, *, demonstrations: Sequence[Example] = (), end: bool = True
    ) -> list[int]:
        """The ids that follow `prompt(turns)` when the answer is `text`, with the token that ends it or without."""
        _, ids = self._parts(_with(turns, demonstrations), text)
        return ids + self._end if end else ids

    def rivals(
        self, turns: Sequence[Turn], text: str, others: Sequence[str], *, demonstrations: Sequence[Example] = ()
    ) -> tuple[list[int], list[list[int]]]:
        """(prompt and answer `text`, prompt and answer for each of `others`), all without the ids that end an answer.

        The conversation is rendered once, so hundreds of beginnings of an answer cost no more than tokenising them.
        """
        asked = _with(turns, demonstrations)
        before, answer = self._parts(asked, text)
        whole = self._whole_text(asked, text)
        lead = whole[: len(whole) - len(self._tail) - len(text)]
        if lead + text + self._tail != whole:
            raise UserError(
                f'{self._name}: its chat template changes the answer "{text[:40]}"; set model.template: plain.'
            )
        opening = [] if self.mode == "chat" else self._opening
        found: list[list[int]] = []
        together: Any = self.tok([lead + other for other in others], add_special_tokens=False)["input_ids"]
        gap = lead[len(self._prompt_text(asked)) :]
        for other, ids in zip(others, together, strict=True):
            joined = opening + ids
            if joined[: len(before)] != before:
                joined = before + self.tok.encode(gap + other, add_special_tokens=False)
            found.append(joined)
        return before + answer, found

    def encode(
        self,
        example: Example,
        max_len: int,
        truncate: Truncate = "error",
        *,
        demonstrations: Sequence[Example] = (),
    ) -> Encoded:
        """`prompt + answer` of an example, the answer supervised; too long a row is an error or loses prompt.

        Demonstrations are answered before the question; the answer's ids are the same with and without them.
        """
        if not example.answer.strip():
            raise UserError(f'row "{example.id}": its answer is empty, so no token of it is supervised.')
        if not example.turns:
            return self._document(example, max_len, truncate)
        prompt, answer = self._parts(_with(example.turns, demonstrations), example.answer)
        if not prompt:
            raise UserError(f'row "{example.id}": its prompt is empty, so nothing precedes the first answer token.')
        lead = self._lead(answer)
        answer = answer + self._end
        excess = len(prompt) + len(answer) - max_len
        if excess > 0:
            prompt = self._shorten(prompt, excess, example.id, len(answer), max_len, truncate)
        return Encoded(
            example.id,
            prompt + answer,
            [False] * len(prompt) + [True] * len(answer),
            truncated=max(excess, 0),
            lead=lead,
            end=len(self._end),
        )

    def encode_all(self, examples: Sequence[Example], max_len: int, truncate: Truncate = "error") -> Encoding:
        """Every example encoded; with `drop`, rows longer than `max_len` are left out and named."""
        rows: list[Encoded] = []
        index: list[int] = []
        dropped: list[str] = []
        for i, example in enumerate(examples):
            longest = max_len if truncate != "drop" or not example.turns else 2**31
            row = self.encode(example, longest, truncate)
            if len(row.ids) > max_len:
                dropped.append(example.id)
            else:
                rows.append(row)
                index.append(i)
        return Encoding(rows, tuple(dropped), sum(row.truncated > 0 for row in rows), tuple(index))

    def _document(self, example: Example, max_len: int, truncate: Truncate) -> Encoded:
        """A plain text behind the one token that begins a text, as it is measured; too long a text loses its end."""
        first = self.tok.bos_token_id if self.tok.bos_token_id is not None else self._eos
        if not isinstance(first, int):
            raise UserError(f"{self._name}: its tokenizer has no token that begins a text.")
        ids: list[int] = [first, *self.tok.encode(example.answer, add_special_tokens=False)]
        excess = max(len(ids) - max_len, 0)
        if excess and truncate == "error":
            raise UserError(
                f'row "{example.id}" takes {len(ids)} tokens and data.max_len is {max_len}; raise max_len, or set '
                "data.truncate to left or drop (either cuts the end of a document)."
            )
        kept = ids[: len(ids) - excess]
        return Encoded(example.id, kept, [False] + [True] * (len(kept) - 1), truncated=excess)

    def _lead(self, answer: list[int]) -> int:
        """How many ids an answer has before its first visible character; a blank joined to a word is part of it."""
        lead = 0
        while lead < len(answer) and not str(self.tok.decode(answer[: lead + 1])).strip():
            lead += 1
        return lead

    def _shorten(
        self, prompt: list[int], excess: int, name: str, answer: int, max_len: int, truncate: Truncate
    ) -> list[int]:
        """The prompt without its first `excess` ids behind the opening; the answer is never cut."""
        if truncate != "left":
            raise UserError(
                f'row "{name}" takes {len(prompt) + answer} tokens and data.max_len is {max_len}; raise max_len, '
                "or set data.truncate to left (shorten prompts) or drop (leave such rows out)."
            )
        opening = len(self._opening) if prompt[: len(self._opening)] == self._opening else 0
        if excess >= len(prompt) - opening:
            raise UserError(
                f'row "{name}": its answer alone takes {answer} tokens and data.max_len is {max_len}; raise max_len.'
            )
        return prompt[:opening] + prompt[opening + excess :]

    def _ask(self, turns: tuple[Turn, ...]) -> tuple[str, list[int]]:
        """What an answer follows, as text and as ids; kept for a while, since every option of a question follows it."""
        text = self._prompt_text(turns)
        return text, self._ids(text)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tok.encode(text, add_special_tokens=False)
        return ids if self.mode == "chat" else self._opening + ids

    def _parts(self, turns: Sequence[Turn], text: str) -> tuple[list[int], list[int]]:
        """(prompt ids, answer ids without the end), tokenised together unless a token would straddle the two."""
        (prompt, ids), whole = self._asked(tuple(turns)), self._whole_text(turns, text)
        if not whole.startswith(prompt) or not whole.endswith(self._tail):
            raise UserError(
                f"{self._name}: its chat template renders an answered conversation differently from the same "
                f'conversation before the answer "{text[:40]}"; give model.chat_template, or set model.template: plain.'
            )
        body = whole[: len(whole) - len(self._tail)] if self._tail else whole
        before, together = list(ids), self._ids(body)
        if together[: len(before)] == before:
            return before, together[len(before) :]
        apart: list[int] = self.tok.encode(body[len(prompt) :], add_special_tokens=False)
        if self.tok.decode(before + apart) != self.tok.decode(together):
            raise UserError(
                f'{self._name}: its tokenizer joins the prompt and the answer "{text[:40]}" into one token; end the '
                "prompt differently (a colon, a line break)."
            )
        return before, apart

    def _prompt_text(self, turns: Sequence[Turn]) -> str:
        return self._render(turns, True) if self.mode == "chat" else _plain(turns)

    def _whole_text(self, turns: Sequence[Turn], text: str) -> str:
        answered = (*turns, Turn("assistant", text))
        return self._render(answered, False) if self.mode == "chat" else _plain(answered)

    def _render(self, turns: Sequence[Turn], unanswered: bool) -> str:
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            rendered = self.tok.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=unanswered, **self._variables
            )
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise UserError(f"{self._name}: its chat template refuses the turns {roles} ({error}).") from None
        assert isinstance(rendered, str)
        return rendered

    def _ending(self) -> tuple[str, list[int]]:
        """(the text behind an answer, the ids that end it), from a conversation rendered once with its answer."""
        if self.mode == "plain":
            if self._eos is None:
                raise UserError(f"{self._name}: its tokenizer has no end-of-sequence token, so an answer cannot end.")
            return "", [self._eos]
        prompt, whole = self._prompt_text(PROBE), self._whole_text(PROBE, PROBE_ANSWER)
        if PROBE_ANSWER not in whole:
            raise UserError(f"{self._name}: its chat template has no assistant part: it never renders the answer.")
        if not whole.startswith(prompt) or not whole[len(prompt) :].lstrip().startswith(PROBE_ANSWER):
            raise UserError(
                f"{self._name}: its chat template has no generation prompt: a conversation without its answer does not "
                "end where the answer begins; give model.chat_template, or set model.template: plain."
            )
        tail = whole[whole.rindex(PROBE_ANSWER) + len(PROBE_ANSWER) :]
        special = set(self.tok.all_special_ids) | {
            i for i, token in self.tok.added_tokens_decoder.items() if token.special
        }
        ids: list[int] = self.tok.encode(tail, add_special_tokens=False)
        for place, i in enumerate(ids):
            if i in special:
                return tail, ids[: place + 1]
        if self._eos is None:
            raise UserError(f"{self._name}: neither its chat template nor its tokenizer ends an answer with a token.")
        return tail, [self._eos]


def _opening(tok: "PreTrainedTokenizerBase") -> list[int]:
    """The ids that the tokenizer itself puts before a text: its beginning-of-sequence token, or nothing."""
    bare: list[int] = tok.encode("a", add_special_tokens=False)
    full: list[int] = tok.encode("a")
    for start in range(len(full)):
        if full[start : start + len(bare)] == bare:
            return full[:start]
    return []


def _with(turns: Sequence[Turn], demonstrations: Sequence[Example]) -> list[Turn]:
    """System turns, then every demonstration with its answer, then the question."""
    system = [turn for turn in turns if turn.role == "system"]
    shown = [
        turn
        for example in demonstrations
        for turn in (*(t for t in example.turns if t.role != "system"), Turn("assistant", example.answer))
    ]
    return [*system, *shown, *(turn for turn in turns if turn.role != "system")]


def _plain(turns: Sequence[Turn]) -> str:
    """Turns joined by blank lines; what the assistant says follows its question behind one space."""
    text = ""
    for turn in turns:
        if turn.role == "assistant":
            gap = "" if not text or text[-1].isspace() else " "
        else:
            gap = "\n\n" if text else ""
        text += gap + turn.text
    return text
