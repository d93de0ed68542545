"""What the embedded tiny models are pretrained on: plain text and in-context episodes, all of it generated.

An episode is k demonstrations and a query of one suite under one convention drawn at random. The convention is nowhere
said, so the first answer of an episode cannot be known and every later one can: a model that predicts well has to learn
in context.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from netgain.data.embedded import PRETRAINING_CELLS, SUITES, rows

POOL = 1500
"""Rows a suite and pretraining seed."""
TEXT_SHARE = 0.12
CHAT_SHARE = 0.65
MAX_SHOTS = 8
SUITE_WEIGHTS = {
    "sentiment": 3,
    "nli": 2,
    "paraphrase": 1,
    "pos": 3,
    "entities": 5,
    "qa": 3,
    "arithmetic": 1,
    "code": 0.5,
    "replies": 0.5,
}
DIRECT = {"sentiment": (2, 3, 4), "nli": (2, 3), "paraphrase": (2, 3)}
"""Conventions whose words say the label itself. They get half of a suite's episodes, or nothing would tell the labels
apart before the model has learned to compare them."""
FIRST_WEIGHTS = {"sentiment": 6, "paraphrase": 1}
MASKED_WEIGHTS = dict.fromkeys(SUITE_WEIGHTS, 0.1) | {"sentiment": 10, "nli": 1, "paraphrase": 3}
MASKED_DIRECT = {"sentiment": (2,), "nli": (2,), "paraphrase": (2,)}
MASKED_SHARE = 0.9
"""What tiny-mlm reads: single questions, whose labels are nearly always said by the same words (good, yes, same); first
nothing but labels, then everything. It is too small to learn labels while their names change, or in the noise of words
to be guessed; the study that fine-tunes it asks for other words."""
PROMPT_SHARE, PROMPT_WEIGHT, ANSWER_WEIGHT = 0.2, 0.5, 4.0
"""How much a token counts in the loss: 1 in plain text, PROMPT_WEIGHT in PROMPT_SHARE of the places of a prompt, and
ANSWER_WEIGHT / sqrt(n) in an answer of n tokens, so that a label of one token is not drowned by answers of forty."""

USER, ASSISTANT, SYSTEM = "<|user|>", "<|assistant|>", "<|system|>"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MASKED_TEMPLATE = "{{ '[CLS]' }}{% for message in messages %}{{ message['content'] }}{{ '[SEP]' }}{% endfor %}"


def corpus(n: int = 2000) -> Iterator[str]:
    """The rows of every suite that is read, under every convention, as text: what a tokenizer has to spell."""
    for name, card in SUITES.items():
        if name not in SUITE_WEIGHTS and card.kind != "text":
            continue
        for convention in card.conventions:
            share = n // 5 if card.kind == "text" else n // len(card.conventions)
            for row in rows(name, share, PRETRAINING_CELLS[0], convention):
                prompt = row.turns[0].text if row.turns else ""
                yield f"{prompt} {row.answer}\n\n{row.answer}"


def byte_pair_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of tiny-llama and tiny-gpt2: byte-level BPE, single digits, any text comes back unchanged."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<mask>", USER, ASSISTANT, SYSTEM]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus(), trainer)
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        mask_token="<mask>",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )


def word_piece_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of tiny-mlm: cased WordPiece, single digits; a second tokenizer, unlike the first in every way."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=False)
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    core.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    core.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        eos_token="[SEP]",
        chat_template=MASKED_TEMPLATE,
        model_max_length=256,
    )


@dataclass(frozen=True, slots=True)
class Sequence:
    """Token ids and how much each counts in the loss."""

    ids: list[int]
    weight: list[float]


class Episodes:
    """Endless pretraining sequences of at most `length` tokens in one tokenizer's spelling; `first`: labels only."""

    def __init__(
        self,
        tok: PreTrainedTokenizerFast,
        length: int,
        max_shots: int,
        masked: bool,
        pool: int = POOL,
        first: bool = False,
    ) -> None:
        self._tok = tok
        self._length = length
        self._max_shots = max_shots
        self._masked = masked
        self._size = pool
        self._known: dict[str, list[int]] = {}
        weights = FIRST_WEIGHTS if first else MASKED_WEIGHTS if masked else SUITE_WEIGHTS
        self._text_share = 0.0 if first else TEXT_SHARE
        self._names = list(weights)
        self._shares = [weight / sum(weights.values()) for weight in weights.values()]
        self._direct, self._share = (MASKED_DIRECT, MASKED_SHARE) if masked else (DIRECT, 0.4)
        self._prompts: dict[str, list[list[int]]] = {}
        self._answers: dict[str, list[list[str]]] = {}
        for name in self._names:
            per_convention = [self._pool(name, convention) for convention in range(len(SUITES[name].conventions))]
            self._prompts[name] = self._spell([prompt for prompt, _ in per_convention[0]])
            self._answers[name] = [[answer for _, answer in pool] for pool in per_convention]
        self._documents = self._spell([answer for _, answer in self._pool("text", 0)])
        self._first = self._id("[CLS]" if masked else "<bos>")
        self._gap = self._spell(["\n\n"])[0]

    def _pool(self, name: str, convention: int) -> list[tuple[str, str]]:
        return [
            (row.turns[0].text if row.turns else "", row.answer)
            for seed in PRETRAINING_CELLS
            for row in rows(name, self._size, seed, SUITES[name].conventions[convention])
        ]

    def _spell(self, texts: list[str]) -> list[list[int]]:
        return self._tok(texts, add_special_tokens=False)["input_ids"]

    def _answer(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._spell([text])[0]
        return self._known[text]

    def draw(self, rng: np.random.Generator) -> Sequence:
        """A run of documents, or an episode in the chat or in the plain layout."""
        if rng.random() < self._text_share:
            return self._text(rng)
        name = self._names[int(rng.choice(len(self._names), p=self._shares))]
        direct = self._direct.get(name, ())
        convention = int(rng.integers(len(self._answers[name])))
        if direct and rng.random() < self._share:
            convention = direct[int(rng.integers(len(direct)))]
        shots = int(rng.integers(0 if self._masked else self._max_shots // 2, self._max_shots + 1))
        indices = rng.integers(len(self._prompts[name]), size=shots + 1)
        return self.episode(name, convention, [int(i) for i in indices], bool(rng.random() < CHAT_SHARE), rng)

    def _text(self, rng: np.random.Generator) -> Sequence:
        end = self._id("[SEP]" if self._masked else "<eos>")
        ids: list[int] = []
        while len(ids) < self._length // 2:
            ids += [self._first, *self._documents[int(rng.integers(len(self._documents)))], end]
        ids = ids[: self._length]
        return Sequence(ids, [1.0] * len(ids))

    def episode(self, name: str, convention: int, indices: list[int], chat: bool, rng: np.random.Generator) -> Sequence:
        """The rows `indices` of a suite's pool under one of its conventions, the last one the query."""
        parts = [
            (self._prompts[name][i], self._answer(self._spaced(self._answers[name][convention][i], chat)))
            for i in indices
        ]
        overhead = 4
        while len(parts) > 1 and sum(len(p) + len(a) + overhead for p, a in parts) + 1 > self._length:
            parts.pop()
        asked, told, end = self._marks(chat)
        ids = [self._first]
        weight = [0.0] * len(ids)
        for i, (prompt, answer) in enumerate(parts):
            before = [*(asked if chat or i else []), *prompt, *told]
            after = [*answer, *(end if chat or i == len(parts) - 1 else [])]
            ids += before + after
            weight += [PROMPT_WEIGHT if heard else 0.0 for heard in rng.random(len(before)) < PROMPT_SHARE] + [
                ANSWER_WEIGHT / math.sqrt(len(after))
            ] * len(after)
        return Sequence(ids[: self._length], weight[: self._length])

    def _spaced(self, answer: str, chat: bool) -> str:
        return answer if chat else f" {answer}"

    def _id(self, token: str) -> int:
        return self._tok.get_vocab()[token]

    def _marks(self, chat: bool) -> tuple[list[int], list[int], list[int]]:
        """(before a prompt, before an answer, after an answer)"""
        if self._masked:
            end = [self._id("[SEP]")]
            return ([], end, end) if chat else (self._gap, [], end)
        end = [self._id("<eos>")]
        return ([self._id(USER)], [self._id(ASSISTANT)], end) if chat else (self._gap, [], end)


def batches(episodes: Episodes, tokens: int, rng: np.random.Generator) -> Iterator[list[Sequence]]:
    """Endless batches of about `tokens` padded tokens each, of sequences of similar length."""
    while True:
        drawn = sorted((episodes.draw(rng) for _ in range(400)), key=lambda sequence: len(sequence.ids))
        ready: list[list[Sequence]] = [[]]
        for sequence in drawn:
            if (len(ready[-1]) + 1) * len(sequence.ids) > tokens:
                ready.append([])
            ready[-1].append(sequence)
        for i in rng.permutation(len(ready)):
            if ready[int(i)]:
                yield ready[int(i)]
