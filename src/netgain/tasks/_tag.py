"""Tagging words: the answer repeats every word with its tag, word/TAG, so that a slip cannot shift the rest."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import PositiveInt

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure.spans import Tagged, read_tagged, span_counts, tags_right, write_tagged
from netgain.measure.text import first_line
from netgain.tasks._base import (
    Generated,
    Outcome,
    Placed,
    Places,
    Prompted,
    Request,
    Score,
    row,
    share_of_most_common,
    with_labels,
)
from netgain.tasks._files import Sentence

TAG_ACCURACY = "tag_accuracy"


class Tagging(Prompted):
    """A sentence to its words with their tags. The tag set is that of the data.

    generate     what is written is read word by word; the metrics are those of the kind
    likelihood   nothing is written: tag_accuracy is the share of words whose right tag is the likeliest of all tags at
                 its place, behind the prompt and the right tags of the words before it; weighted by words

    words        only sentences of at most so many words, measured and learned from: what a small budget can afford

    A likelihood knows the right tags so far, so it is no estimate of what would be written: it says what a model knows
    of tags whether or not it keeps to the form of an answer.
    """

    answering: Literal["generate", "likelihood"] = "generate"
    words: PositiveInt | None = None

    written: ClassVar[tuple[str, ...]] = ()

    @property
    def mode(self) -> str:
        return self.answering

    @property
    def metrics(self) -> tuple[str, ...]:
        return (TAG_ACCURACY,) if self.answering == "likelihood" else self.written

    def majority(self, examples: Sequence[Example]) -> float | None:
        return share_of_most_common(self.label_counts(examples))

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        if self.answering == "generate":
            return super().ask(example, shown)
        pairs = gold_of(example)
        before = tuple(f"{' ' if i else ''}{word}/" for i, (word, _) in enumerate(pairs))
        return Places(example.turns, shown, before, example.labels, tuple(tag or "" for _, tag in pairs))

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        if isinstance(outcome, Placed):
            return [tag_score(gold_of(example), example.labels, outcome.logprobs)]
        assert isinstance(outcome, Generated)
        return self.score_written(example, outcome)

    def score_written(self, example: Example, outcome: Generated) -> list[Score]:
        """What a written answer is worth."""
        raise NotImplementedError

    def check(self, rows: list[Example]) -> list[Example]:
        if not all(each.labels for each in rows):
            pieces = (piece for each in rows for piece in each.answer.split())
            rows = with_labels(rows, sorted({piece.rpartition("/")[2] for piece in pieces}))
        if self.words is not None:
            rows = [each for each in rows if len(each.answer.split()) <= self.words]
        for each in rows:
            gold = read_tagged(each.answer, each.labels)
            if not gold or any(tag is None for _, tag in gold):
                raise UserError(
                    f'task {self.kind}: the answer of row "{each.id}" is not word/TAG word/TAG of known tags.'
                )
        return rows

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        return Counter(tag for each in examples for _, tag in gold_of(each) if tag is not None)


class SpanTagging(Tagging):
    """Entities in BIO tags. The counts span_tp, span_fp and span_fn of the items add up to the micro F1 of the whole.

    sentence_accuracy is 1 where an item has neither a false nor a missing span: the value to pair between arms.
    """

    derived = ("span_f1",)
    written = ("span_f1", "sentence_accuracy", "span_tp", "span_fp", "span_fn")

    @property
    def binary(self) -> tuple[str, ...]:
        return () if self.answering == "likelihood" else ("sentence_accuracy",)

    def chance(self, examples: Sequence[Example]) -> float | None:
        return 1 / len(examples[0].labels) if self.answering == "likelihood" else None

    def majority(self, examples: Sequence[Example]) -> float | None:
        """All O finds no span: F1 is 0."""
        return super().majority(examples) if self.answering == "likelihood" else 0.0

    def score_written(self, example: Example, outcome: Generated) -> list[Score]:
        gold, output = gold_of(example), output_of(example, outcome)
        right, wrong, missed = span_counts(gold, output or [])
        told, parsed = prediction(output), output is not None
        values = {
            "sentence_accuracy": float(parsed and not wrong and not missed),
            "span_tp": right,
            "span_fp": wrong,
            "span_fn": missed,
        }
        return [Score(metric, float(value), prediction=told, parsed=parsed) for metric, value in values.items()]


class WordTagging(Tagging):
    """One tag a word. accuracy = LCS(gold, output) / |gold| over (word, tag) pairs, weighted by |gold|."""

    written = ("accuracy",)

    def chance(self, examples: Sequence[Example]) -> float | None:
        return 1 / len(examples[0].labels)

    def score_written(self, example: Example, outcome: Generated) -> list[Score]:
        gold, output = gold_of(example), output_of(example, outcome)
        value = tags_right(gold, output) / len(gold) if output else 0.0
        return [Score("accuracy", value, weight=len(gold), prediction=prediction(output), parsed=output is not None)]


def tag_score(gold: Sequence[Tagged], tags: Sequence[str], logprobs: Sequence[Sequence[float]]) -> Score:
    """The share of words whose right tag alone is the likeliest; undefined where a log-probability is no number."""
    if not all(math.isfinite(each) for place in logprobs for each in place):
        return Score(TAG_ACCURACY, None, reason="undefined", weight=len(gold))
    picked = [tags[place.index(max(place))] if place.count(max(place)) == 1 else None for place in logprobs]
    value = sum(tag == own for own, (_, tag) in zip(picked, gold, strict=True)) / len(gold)
    told = prediction([(word, own) for own, (word, _) in zip(picked, gold, strict=True)])
    return Score(TAG_ACCURACY, value, weight=len(gold), prediction=told, parsed=True)


def gold_of(example: Example) -> list[Tagged]:
    """The gold words with their tags."""
    return read_tagged(example.answer, example.labels)


def output_of(example: Example, outcome: Generated) -> list[Tagged] | None:
    """The words and tags of the first line, as many as the sentence has; None when not one known tag is among them.

    What comes behind is not read: a model that goes on is not wrong about the sentence, and one that offers several
    tags a word has used up its pieces before the sentence ends.
    """
    words = len(example.answer.split())
    pairs = read_tagged(first_line(outcome.text) or "", example.labels)[:words]
    return pairs if any(tag is not None for _, tag in pairs) else None


def prediction(output: Sequence[Tagged] | None) -> str | None:
    """The output as it was understood."""
    return None if output is None else " ".join(word if tag is None else f"{word}/{tag}" for word, tag in output)


def tagged_rows(name: str, sentences: Sequence[Sentence], cue: str) -> list[Example]:
    """Rows "Sentence: ...\\n<cue>:", grouped by document where the file has documents, else by sentence."""
    rows = []
    for i, sentence in enumerate(sentences):
        text = " ".join(sentence.words)
        group = None if sentence.document is None else f"{name}:{sentence.document}"
        answer = write_tagged(sentence.words, sentence.tags)
        rows.append(row(f"{name}-{i}", f"Sentence: {text}\n{cue}:", answer, group, words=text))
    return rows
