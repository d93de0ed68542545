"""Tagging words: the answer repeats every word with its tag, word/TAG, so that a slip cannot shift the rest."""

from collections import Counter
from collections.abc import Mapping, Sequence

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure.spans import Tagged, read_tagged, span_counts, tags_right, write_tagged
from netgain.measure.text import first_line
from netgain.tasks._base import (
    Generated,
    Outcome,
    Prompted,
    Score,
    row,
    share_of_most_common,
    with_labels,
)
from netgain.tasks._files import Sentence


class Tagging(Prompted):
    """A sentence to its words with their tags. The tag set is that of the data."""

    def check(self, rows: list[Example]) -> list[Example]:
        if not all(each.labels for each in rows):
            pieces = (piece for each in rows for piece in each.answer.split())
            rows = with_labels(rows, sorted({piece.rpartition("/")[2] for piece in pieces}))
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

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("span_f1", "sentence_accuracy", "span_tp", "span_fp", "span_fn")

    @property
    def binary(self) -> tuple[str, ...]:
        return ("sentence_accuracy",)

    def majority(self, examples: Sequence[Example]) -> float | None:
        """All O finds no span: F1 is 0."""
        return 0.0

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
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

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy",)

    def chance(self, examples: Sequence[Example]) -> float | None:
        return 1 / len(examples[0].labels)

    def majority(self, examples: Sequence[Example]) -> float | None:
        return share_of_most_common(self.label_counts(examples))

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        gold, output = gold_of(example), output_of(example, outcome)
        value = tags_right(gold, output) / len(gold) if output else 0.0
        return [Score("accuracy", value, weight=len(gold), prediction=prediction(output), parsed=output is not None)]


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
