"""How a masked-diffusion model came to its answers: a few prompts, and what stood there after every round."""

from typing import Any

from netgain.data.source import Example
from netgain.execute.job import Job
from netgain.models.unmask import rounds
from netgain.tasks._base import tasks_of

ROWS = 2
"""Rows of each task that are shown."""


def strips(job: Job) -> list[dict[str, Any]]:
    """The first rows of the run's tasks, each prompt once, with the tokens of their answers round by round."""
    lm = job.lm
    if lm.causal:
        return []
    shown: dict[str, tuple[str, Example]] = {}
    for name, task in tasks_of(job.run.tasks).items():
        for row in task.examples(job.study_folder)[:ROWS]:
            if row.turns:
                shown.setdefault(row.id, (name, row))
    written = rounds(lm, [job.template.prompt(row.turns) for _, row in shown.values()]) if shown else []
    return [
        {
            "task": name,
            "item": row.id,
            "prompt": "\n".join(turn.text for turn in row.turns),
            "gold": row.answer,
            "rounds": [lm.tok.convert_ids_to_tokens(ids) for ids in states],
        }
        for (name, row), states in zip(shown.values(), written, strict=True)
    ]
