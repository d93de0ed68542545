"""A held-out problem is held out only if no anchor learned from its items: checked row by row, not by name."""

from collections.abc import Sequence
from pathlib import Path

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.spec.run import TaskSource
from netgain.spec.study import Study
from netgain.spec.translation import Problem
from netgain.tasks._base import read_source, tasks_of


def refuse_shared_problems(study: Study) -> None:
    """Stop when an anchor's training rows share an id, a group or a prompt with what a held-out problem measures."""
    asked = study.translation
    if asked is None:
        return
    measured = {each.name: _measured(each, study.folder) for each in asked.held_out}
    for anchor in asked.anchors:
        learned = _learned(anchor, study.folder)
        for name, rows in measured.items():
            shared = _shared(learned, rows)
            if shared:
                raise UserError(
                    f"anchor {anchor.name} learns from {len(shared)} problems that {name} measures, such as "
                    f'"{shared[0]}"; give one of them other rows, or what is translated has seen the answers.'
                )


def _measured(problem: Problem, folder: Path | None) -> list[Example]:
    return tasks_of({problem.name: problem.task})[problem.name].examples(folder)


def _learned(problem: Problem, folder: Path | None) -> list[Example]:
    return read_source(TaskSource(kind="task", task=problem.task, limit=problem.limit), folder)


def _shared(learned: Sequence[Example], measured: Sequence[Example]) -> list[str]:
    """The ids of measured rows that the learned ones hold, by group or by what is asked."""
    groups, asked = {row.group for row in learned}, {_question(row) for row in learned}
    return [row.id for row in measured if row.group in groups or _question(row) in asked]


def _question(row: Example) -> str:
    return " ".join(" ".join(turn.text for turn in row.turns).casefold().split()) or row.answer
