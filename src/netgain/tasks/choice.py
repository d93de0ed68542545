"""Multiple choice by likelihood: ARC, MMLU, OpenBookQA, PIQA and whatever else comes in their two formats."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from netgain.data.fields import Row
from netgain.data.files import hub_rows, jsonl_rows, locate
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.spec.run import SpecError
from netgain.tasks._base import row, share_of_most_common, with_labels
from netgain.tasks._classify import Classification


class Choice(Classification):
    """The likelihood of each option's text behind the question.

    path         the questions: .csv (question, options..., letter or number of the right one; no header) or
                 .jsonl ({"query", "choices", "gold"}), as MMLU/test/philosophy_test.csv under $NETGAIN_DATA
    train_path   questions to draw demonstrations from
    hub          instead, a data set of the Hugging Face hub in the form of ARC (question, choices.text, answerKey) or
                 MMLU (question, choices, answer), with its `config` and `split`: allenai/ai2_arc, cais/mmlu
    damaged      what becomes of a file with questions that lack their right option (shared copies of ARC have some)

    An option that repeats another one, or is empty, is no option. Chance is the mean of 1 / options.
    """

    kind: Literal["choice"] = "choice"
    path: str | None = None
    train_path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str = "test"
    damaged: Literal["error", "drop"] = "error"

    @model_validator(mode="after")
    def _read_from_path(self) -> "Choice":
        if (self.path is None) == (self.hub is None) or self.source is not None:
            message = "needs a path to a file of questions with their options, or a hub data set, and no source"
            raise SpecError(message, "path")
        if self.answering == "generate":
            raise SpecError("options are compared by likelihood; ask for letters with a jsonl task", "answering")
        return self

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.hub is not None:
            where, rows, _ = hub_rows(self.hub, self.config, self.split, folder)
            return _examples(where, where, [_hub(each) for each in rows], self.damaged == "drop")
        assert self.path is not None
        return questions(locate(self.path, folder), self.damaged == "drop")

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.train_path is None:
            raise UserError("task choice: name questions to demonstrate with train_path.")
        return questions(locate(self.train_path, folder), self.damaged == "drop")

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        """How often the right answer stands in each place."""
        return Counter("ABCDEFGHIJ"[each.labels.index(each.answer)] for each in examples)

    def majority(self, examples: Sequence[Example]) -> float | None:
        """Always taking the most frequent place."""
        return share_of_most_common(self.label_counts(examples))


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its options as the file has them, and which of them (0, 1, ...) is right; `where` names its place."""

    where: str
    text: str
    options: tuple[str, ...]
    right: int

    @property
    def whole(self) -> bool:
        """Whether the right option is there."""
        return 0 <= self.right < len(self.options) and bool(self.options[self.right].strip())


def questions(path: Path, drop_damaged: bool = False) -> list[Example]:
    """The questions of a file, named by the file and their place in it."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = [_cells(f"{path} row {i}", cells) for i, cells in enumerate(csv.reader(file), start=1) if cells]
    elif path.suffix == ".jsonl":
        found = [_object(each) for each in jsonl_rows(path)]
    else:
        raise UserError(f"{path}: questions come as .csv or .jsonl.")
    return _examples(str(path), path.stem, found, drop_damaged)


def _examples(where: str, name: str, found: Sequence[Question], drop_damaged: bool) -> list[Example]:
    """Rows called `name`-0, `name`-1, ...; questions without their right option are refused or left out."""
    damaged = [each.where for each in found if not each.whole]
    if damaged and not drop_damaged:
        raise UserError(
            f"{damaged[0]}: the right answer is none of its options, as in {len(damaged)} of {len(found)} questions; "
            "set damaged: drop to leave them out."
        )
    if not found:
        raise UserError(f"{where}: holds no questions.")
    return [_row(f"{name}-{i}", each) for i, each in enumerate(found) if each.whole]


def _hub(each: Row) -> Question:
    """A row of ARC or MMLU as the hub has it."""
    fields = each.fields
    if "question" not in fields or "choices" not in fields:
        raise UserError(f"{each.where}: a question has question and choices; it has {', '.join(map(str, fields))}.")
    shown, key = fields["choices"], fields.get("answerKey", fields.get("answer"))
    if isinstance(shown, Mapping):
        labels = [str(label) for label in shown["label"]]
        return Question(each.where, fields["question"], tuple(map(str, shown["text"])), _place(labels, str(key)))
    return Question(each.where, fields["question"], tuple(map(str, shown)), -1 if key is None else int(key))


def _place(labels: Sequence[str], key: str) -> int:
    return labels.index(key) if key in labels else -1


def _cells(where: str, cells: list[str]) -> Question:
    """A line of ARC or MMLU: question, options, and A, B, ... or 1, 2, ... for the right one."""
    if len(cells) < 4:
        raise UserError(f"{where}: {len(cells)} cells; a question, its options and the right one's letter are needed.")
    text, *options, right = cells
    letter = right.strip().upper()
    at = int(letter) - 1 if letter.isdecimal() else ord(letter) - ord("A") if len(letter) == 1 else -1
    return Question(where, text, tuple(options), at)


def _object(each: Row) -> Question:
    missing = [name for name in ("query", "choices", "gold") if name not in each.fields]
    if missing:
        raise UserError(f'{each.where}: no field "{missing[0]}"; a question has query, choices and gold.')
    options = tuple(str(option) for option in each.fields["choices"])
    return Question(each.where, each.fields["query"], options, int(each.fields["gold"]))


def _row(name: str, question: Question) -> Example:
    """The prompt ends in "Answer:" unless the question leads into its options by itself."""
    asked = question.text.strip()
    if asked.endswith("?") or asked.startswith("Question:"):
        asked = asked if asked.startswith("Question:") else f"Question: {asked}"
        asked = asked if asked.endswith(":") else f"{asked}\nAnswer:"
    kept = tuple(dict.fromkeys(option.strip() for option in question.options if option.strip()))
    return with_labels([row(name, asked, question.options[question.right].strip())], kept)[0]
