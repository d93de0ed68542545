"""MT-Bench, and any question file with its fields: two questions in a row, the second behind the model's own answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from netgain.data.fields import Row
from netgain.data.files import hub_rows, jsonl_rows, locate
from netgain.data.source import Example, Turn
from netgain.errors import UserError
from netgain.spec.run import SpecError
from netgain.tasks._base import group_of
from netgain.tasks._dialogue import Dialogue

QUESTIONS = "mt_bench/question.jsonl"
REFERENCES = "mt_bench/reference_answer_gpt-4.jsonl"
BY_CATEGORY = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0,
    "stem": 0.1, "humanities": 0.1, "*": 0.7,
}  # fmt: skip
"""The temperatures that the benchmark's authors answer with."""


class MtBench(Dialogue):
    """Rows of {"question_id", "category", "turns": [...], "reference": [...] or none}, as FastChat's question.jsonl.

    path         the questions (default: MT-Bench's, under $NETGAIN_DATA); a Russian file works alike
    hub          a data set of the Hugging Face hub with these fields instead, as t-tech/ru-mt-bench, and its `split`
    references   right answers in FastChat's model_answer form; they stand before a question's own `reference`
    temperature  one for all, by category ("*" for all others), or `by_category`, as the benchmark's authors sample; the
                 default is greedy, which has no sampling noise
    """

    kind: Literal["mt_bench"] = "mt_bench"
    path: str | None = None
    hub: str | None = None
    split: str = "train"
    references: str | None = None
    temperature: float | dict[str, float] | Literal["by_category"] = 0.0

    @model_validator(mode="after")
    def _read_from_path(self) -> "MtBench":
        if self.source is not None or self.train is not None:
            raise SpecError("reads a question file; give path, no source and no train", "source")
        if self.path is not None and self.hub is not None:
            raise SpecError("give either path or hub", "hub")
        return self

    def heat(self, category: str) -> float:
        if self.temperature == "by_category":
            return BY_CATEGORY.get(category, BY_CATEGORY["*"])
        if isinstance(self.temperature, Mapping):
            return self.temperature.get(category, self.temperature.get("*", 0.0))
        assert not isinstance(self.temperature, str)
        return self.temperature

    def own_rows(self, folder: Path | None) -> list[Example]:
        own = self.path is None and self.hub is None
        answers = REFERENCES if own and self.references is None else self.references
        known = {} if answers is None else _answers(locate(answers, folder))
        if self.hub is not None:
            _, rows, _ = hub_rows(self.hub, None, self.split, folder)
        else:
            rows = jsonl_rows(locate(self.path or QUESTIONS, folder))
        return [_question(each, known) for each in rows]


def _question(each: Row, known: Mapping[str, tuple[str, ...]]) -> Example:
    name, turns = str(_field(each, "question_id")), _texts(each, "turns", _field(each, "turns"))
    if not turns:
        raise UserError(f'{each.where}: "turns" is empty; a question needs at least one.')
    own = each.fields.get("reference")
    right = known.get(name, ()) or (_texts(each, "reference", own) if own else ())
    meta = {"category": str(_field(each, "category")), **{f"reference/{i}": text for i, text in enumerate(right, 1)}}
    return Example(name, group_of(turns[0].casefold()), tuple(Turn("user", text) for text in turns), "", meta=meta)


def _answers(path: Path) -> dict[str, tuple[str, ...]]:
    """question id -> the first choice's answers."""
    found: dict[str, tuple[str, ...]] = {}
    for each in jsonl_rows(path):
        choices = _field(each, "choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
            raise UserError(f'{each.where}: "choices" is no list of answers.')
        found[str(_field(each, "question_id"))] = _texts(each, "choices", choices[0].get("turns"))
    return found


def _field(each: Row, name: str) -> Any:
    if name not in each.fields:
        raise UserError(f'{each.where}: no field "{name}"; a question has question_id, category and turns.')
    return each.fields[name]


def _texts(each: Row, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f'{each.where}: "{name}" is no list of texts.')
    return tuple(value)
