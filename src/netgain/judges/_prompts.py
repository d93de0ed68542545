"""What a judge is asked: grade one answer, or prefer one of two; with right answers where somebody wrote them.

The words can be replaced by a file in the format of FastChat's judge_prompts.jsonl, whose templates know one and two
turns.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netgain.data.files import jsonl_rows
from netgain.errors import UserError
from netgain.judges._base import Case

LOWEST, HIGHEST = 1.0, 10.0
RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]")
VERDICT = re.compile(r"\[\[\s*(A|B|C)\s*\]\]")
GRADE = (
    "You grade the answer that an AI assistant gave to the last question of a conversation. Look at whether it does "
    "what was asked, whether it is right, helpful, relevant, and as detailed as the question deserves. Longer is not "
    "better. {references}Explain your judgement in a few sentences, then end with your grade from 1 (useless) to 10 "
    "(nothing could be better) in exactly this form: Rating: [[5]]"
)
PREFER = (
    "You compare what two AI assistants answered to the last question of a conversation. Look at which of them does "
    "better what was asked, and is more right, helpful and relevant. Neither the order in which they are shown nor "
    "their length matters. {references}Explain your judgement in a few sentences, then end with [[A]] if assistant A "
    "is better, [[B]] if assistant B is better, or [[C]] if neither is."
)
KNOWN = "Right answers to the questions are given: compare with them, and look for mistakes. "


@dataclass(frozen=True, slots=True)
class Words:
    """FastChat's templates by name; without them the words above."""

    templates: Mapping[str, tuple[str, str]]

    def single(self, case: Case) -> tuple[tuple[str, str], ...]:
        """The messages that ask for a grade of one answer."""
        if not self.templates:
            shown = _shown(case)
            right = _right(case)
            return _messages(GRADE, right, f"{shown}\n\n[Answer]\n{case.answer}\n[End of answer]")
        questions, answers = _said(case)
        name = ("single-math-v1" if _known(case) else "single-v1") + _suffix(questions)
        fields = _numbered(question=questions, answer=answers, ref_answer=case.references)
        return self._filled(name, fields | {"question": questions[0], "answer": answers[0]})

    def pair(self, a: Case, b: Case) -> tuple[tuple[str, str], ...]:
        """The messages that ask which of two answers is better, A shown first."""
        questions, of_a = _said(a)
        of_b = _said(b)[1]
        if not self.templates:
            both = (
                f"[Conversation with assistant A]\n{_shown(a)}\n\n[Answer of A]\n{a.answer}\n[End of A]\n\n"
                f"[Conversation with assistant B]\n{_shown(b)}\n\n[Answer of B]\n{b.answer}\n[End of B]"
            )
            return _messages(PREFER, _right(a), both)
        name = ("pair-math-v1" if _known(a) else "pair-v2") + _suffix(questions)
        fields = _numbered(question=questions, answer_a=of_a, answer_b=of_b, ref_answer=a.references)
        return self._filled(name, fields | {"question": questions[0], "answer_a": of_a[0], "answer_b": of_b[0]})

    def _filled(self, name: str, fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        if name not in self.templates:
            raise UserError(f'the judge\'s prompts have no "{name}"; they have {", ".join(self.templates)}.')
        system, template = self.templates[name]
        try:
            return ("system", system), ("user", template.format_map(fields))
        except KeyError as error:
            raise UserError(f'the judge\'s prompt "{name}" has the unknown field {error}.') from None


def words(path: Path | None) -> Words:
    """The templates of a file of {"name", "system_prompt", "prompt_template"}, or netgain's own words."""
    if path is None:
        return Words({})
    found: dict[str, tuple[str, str]] = {}
    for row in jsonl_rows(path):
        parts = [row.fields.get(name) for name in ("name", "system_prompt", "prompt_template")]
        if not all(isinstance(part, str) for part in parts):
            raise UserError(f"{row.where}: a judge's prompt has name, system_prompt and prompt_template.")
        found[str(parts[0])] = (str(parts[1]), str(parts[2]))
    return Words(found)


def rating(text: str) -> float | None:
    """The last [[number]] of a reply within 1..10; None when there is none, however certain the rest sounds."""
    found = RATING.findall(text)
    value = float(found[-1]) if found else None
    return value if value is not None and LOWEST <= value <= HIGHEST else None


def verdict(text: str) -> str | None:
    """The last [[A]], [[B]] or [[C]] of a reply as A, B or tie."""
    found = VERDICT.findall(text)
    return {"A": "A", "B": "B", "C": "tie"}[found[-1]] if found else None


def _messages(system: str, right: str, shown: str) -> tuple[tuple[str, str], ...]:
    return ("system", system.format(references=KNOWN if right else "")), ("user", right + shown)


def _shown(case: Case) -> str:
    turns = "\n".join(f"[{turn.role.capitalize()}]\n{turn.text}" for turn in case.turns)
    return f"{turns}\n[End of conversation]"


def _right(case: Case) -> str:
    if not _known(case):
        return ""
    asked = (turn.text for turn in case.turns if turn.role == "user")
    pairs = zip(asked, case.references, strict=True)
    return "".join(f"[Right answer to: {question}]\n{answer}\n\n" for question, answer in pairs)


def _known(case: Case) -> bool:
    """Whether every question so far has a right answer beside it."""
    return len(case.references) == sum(turn.role == "user" for turn in case.turns)


def _said(case: Case) -> tuple[list[str], list[str]]:
    """(the questions, the assistant's answers with the judged one last)."""
    questions = [turn.text for turn in case.turns if turn.role == "user"]
    return questions, [*(turn.text for turn in case.turns if turn.role == "assistant"), case.answer]


def _suffix(questions: Sequence[str]) -> str:
    return "-multi-turn" if len(questions) > 1 else ""


def _numbered(**lists: Sequence[str]) -> dict[str, str]:
    """question_1, question_2, ..., and answer_a_1 of "answer_a"."""
    return {f"{name}_{i}": text for name, texts in lists.items() for i, text in enumerate(texts, start=1)}
