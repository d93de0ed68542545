"""Choosing one of a few labels, by their likelihood or by writing one down."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from netgain.data.blind import without_input
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.tasks._base import (
    Fill,
    Filled,
    Generated,
    Likelihood,
    Outcome,
    Prompted,
    Request,
    Score,
    Scored,
    share_of_most_common,
    with_labels,
)


class Classification(Prompted):
    """Sentence(s) to a label.

    likelihood   p over the label set alone: accuracy (argmax of the sums), accuracy_norm (argmax of the sums per
                 character), label_nll (-log of the gold label's share of the labels' probability)
    generate     accuracy of what is written; what names no label is wrong, and counted as unparsed
    denoise      token_accuracy: the share of an answer's hidden tokens that are filled in rightly (masked models)

    words     label -> the word that stands for it in prompts' answers, if not the label itself
    blind     the control that knows no input: prompts keep their cues ("Review:") and lose what stands behind them
    positive  the label that f1 is about
    """

    answering: Literal["likelihood", "generate", "denoise"] = "likelihood"
    words: dict[str, str] | None = None
    blind: bool = False
    positive: str | None = None

    derived: ClassVar[tuple[str, ...]] = ("f1", "mcc")

    @property
    def mode(self) -> str:
        return self.answering

    @property
    def metrics(self) -> tuple[str, ...]:
        if self.answering == "denoise":
            return ("token_accuracy",)
        own = ("accuracy", "accuracy_norm", "label_nll") if self.answering == "likelihood" else ("accuracy",)
        return own if self.positive is None else (*own, *self.derived)

    @property
    def binary(self) -> tuple[str, ...]:
        return tuple(metric for metric in self.metrics if metric.startswith("accuracy"))

    def check(self, rows: list[Example]) -> list[Example]:
        if not all(row.labels for row in rows):
            rows = with_labels(rows, sorted({row.answer for row in rows}))
        rows = [self._written(row) for row in rows]
        if self.blind:
            rows = [without_input(row) for row in rows]
        for row in rows:
            if row.answer not in row.labels:
                known = ", ".join(row.labels)
                raise UserError(f'task {self.kind}: row "{row.id}" has the label "{row.answer}", not one of {known}.')
            if len(row.labels) < 2:
                raise UserError(f'task {self.kind}: its only label is "{row.answer}"; a choice needs two.')
        return rows

    def _written(self, row: Example) -> Example:
        """The row with its labels in the words that stand for them."""
        if self.words is None:
            return row
        missing = [label for label in (*row.labels, row.answer) if label not in self.words]
        if missing:
            known = ", ".join(self.words)
            raise UserError(f'task {self.kind}: `words` has none for the label "{missing[0]}", only for {known}.')
        labels = tuple(self.words[label] for label in row.labels)
        if len(set(labels)) < len(labels):
            raise UserError(f"task {self.kind}: `words` has one word for two labels ({', '.join(labels)}).")
        return replace(row, labels=labels, answer=self.words[row.answer])

    @property
    def positive_word(self) -> str | None:
        return (self.words or {}).get(self.positive, self.positive) if self.positive is not None else None

    def chance(self, examples: Sequence[Example]) -> float | None:
        """The mean over items of 1 / number of labels; of a token's guess nothing is known."""
        if self.answering == "denoise":
            return None
        return sum(1 / len(row.labels) for row in examples) / len(examples)

    def majority(self, examples: Sequence[Example]) -> float | None:
        return None if self.answering == "denoise" else share_of_most_common(self.label_counts(examples))

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        counts = Counter({label: 0 for row in examples for label in row.labels})
        counts.update(row.answer for row in examples)
        return counts

    def golds(self, example: Example) -> tuple[str, ...]:
        return example.labels

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        if self.answering == "likelihood":
            return Likelihood(example.turns, shown, example.labels)
        if self.answering == "denoise":
            return Fill(example.turns, shown, example.answer)
        return super().ask(example, shown)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        if isinstance(outcome, Scored):
            return choice_scores(example.labels, example.answer, outcome.logprobs)
        if isinstance(outcome, Filled):
            return [Score("token_accuracy", outcome.share)]
        assert isinstance(outcome, Generated)
        found = text.label(outcome.text, example.labels)
        return [Score("accuracy", float(found == example.answer), prediction=found, parsed=found is not None)]


def choice_scores(options: Sequence[str], gold: str, logprobs: Sequence[float]) -> list[Score]:
    """accuracy, accuracy_norm and label_nll of a choice; undefined where a log-probability is no number.

    A tie is no choice: it scores 0 and is unparsed, since taking the first would make a broken model a constant one.
    """
    if not all(math.isfinite(each) for each in logprobs):
        return [Score(metric, None, reason="undefined") for metric in ("accuracy", "accuracy_norm", "label_nll")]
    gold_at = list(options).index(gold)
    top = max(logprobs)
    total = top + math.log(sum(math.exp(each - top) for each in logprobs))
    per_character = [each / len(option) for each, option in zip(logprobs, options, strict=True)]
    scores = []
    for metric, values in (("accuracy", list(logprobs)), ("accuracy_norm", per_character)):
        at = values.index(max(values)) if values.count(max(values)) == 1 else None
        picked = None if at is None else options[at]
        scores.append(Score(metric, float(at == gold_at), prediction=picked, parsed=at is not None))
    told, parsed = scores[0].prediction, scores[0].parsed
    return [*scores, Score("label_nll", total - logprobs[gold_at], prediction=told, parsed=parsed)]
