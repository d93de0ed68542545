"""Following instructions that a program can verify: so many words, a title, no comma, valid JSON (IFEval)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from netgain.data.fields import Row
from netgain.data.files import hub_rows, jsonl_rows, locate
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.spec.run import SpecError
from netgain.tasks import _asked
from netgain.tasks._base import Generated, Outcome, Request, Score, row
from netgain.tasks._constraints import CHECKS, followed, followed_loosely
from netgain.tasks._language import LANGUAGES
from netgain.tasks._sampled import Sampled

BUDGET = 1280
"""Tokens of an answer, as the benchmark is usually run."""


class Instructions(Sampled):
    """Rows of {"key", "prompt", "instruction_id_list", "kwargs"}, as IFEval has them; netgain's own without a file.

    prompt_strict        1 where every constraint of the prompt is kept
    prompt_loose         the same, forgiving a first or last line too many and asterisks
    instruction_strict   the share of the prompt's constraints that are kept, weighted by their number: its weighted
    instruction_loose    mean is the share of all constraints

    An empty answer keeps no constraint. The prediction names the constraints that were not kept.

    path       a .jsonl file with these fields
    hub        a data set of the Hugging Face hub with these fields instead, as google/IFEval, and its `split`
    generated  how many prompts netgain writes itself; their answers are short
    """

    kind: Literal["instructions"] = "instructions"
    path: str | None = None
    hub: str | None = None
    split: str = "train"
    generated: PositiveInt = 60
    max_new_tokens: PositiveInt | None = BUDGET

    @model_validator(mode="after")
    def _one_place(self) -> "Instructions":
        if self.source is not None or self.train is not None:
            raise SpecError(
                "reads a file of prompts with constraints; give path or hub, no source and no train", "source"
            )
        if self.path is not None and self.hub is not None:
            raise SpecError("give either path or hub", "hub")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")

    @property
    def binary(self) -> tuple[str, ...]:
        return ("prompt_strict", "prompt_loose")

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.hub is not None:
            return [_row(each) for each in hub_rows(self.hub, None, self.split, folder)[1]]
        if self.path is not None:
            return [_row(each) for each in jsonl_rows(locate(self.path, folder))]
        return _asked.rows(self.generated, self.seed)

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        """Generated prompts with answers that keep every constraint; other files have no answers."""
        if self.hub is not None or self.path is not None:
            raise UserError(f"task {self.kind}: this file has no answers to learn from.")
        return _asked.rows(self.generated, self.seed + 1)

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        """The budget is the task's, however long the known answers are."""
        return super().ask(replace(example, answer=""), shown)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        wanted = [(str(name), fields) for name, fields in json.loads(example.meta["constraints"])]
        answer = text.answer_part(outcome.text) or ""
        strict = [followed(name, fields, answer) for name, fields in wanted]
        loose = [followed_loosely(name, fields, answer) for name, fields in wanted]
        broken = " ".join(name for (name, _), kept in zip(wanted, strict, strict=True) if not kept)
        told = (f"not kept: {broken}" if broken else "all kept") if answer else None
        found: list[Score] = []
        for reading, kept in (("strict", strict), ("loose", loose)):
            whole, share = float(all(kept)), sum(kept) / len(kept)
            found.append(Score(f"prompt_{reading}", whole, prediction=told, parsed=bool(answer)))
            found.append(Score(f"instruction_{reading}", share, weight=len(kept), prediction=told, parsed=bool(answer)))
        return found


def _row(each: Row) -> Example:
    """A row of IFEval; fields that are null are not set, as on the hub."""
    prompt, names, fields = (_field(each, name) for name in ("prompt", "instruction_id_list", "kwargs"))
    if not isinstance(names, Sequence) or not isinstance(fields, Sequence) or not 0 < len(names) == len(fields):
        raise UserError(f"{each.where}: instruction_id_list and kwargs are lists of the same length, one a constraint.")
    wanted = [_constraint(each, name, given) for name, given in zip(names, fields, strict=True)]
    key = each.fields.get("key", each.where.rsplit(maxsplit=1)[-1])
    return row(f"prompt-{key}", str(prompt), "", constraints=json.dumps(wanted, ensure_ascii=False))


def _constraint(each: Row, name: Any, given: Any) -> tuple[str, dict[str, Any]]:
    if name not in CHECKS:
        raise UserError(f'{each.where}: "{name}" is no constraint that is known: {", ".join(CHECKS)}.')
    fields = {key: value for key, value in given.items() if value is not None} if isinstance(given, Mapping) else {}
    missing = [field for field in CHECKS[name][0] if field not in fields]
    if missing:
        raise UserError(f'{each.where}: the constraint "{name}" lacks its field "{missing[0]}".')
    if fields.get("language", "en") not in LANGUAGES:
        raise UserError(f'{each.where}: no language "{fields["language"]}" is known: {", ".join(LANGUAGES)}.')
    return name, fields


def _field(each: Row, name: str) -> Any:
    if name not in each.fields:
        raise UserError(f'{each.where}: no field "{name}"; a prompt has prompt, instruction_id_list and kwargs.')
    return each.fields[name]
