"""How a masked-diffusion model came to its answers: a few prompts, and what stood there after every round."""

from typing import Any

from netgain.execute.job import Job
from netgain.models.unmask import rounds
from netgain.tasks._base import tasks_of

ROWS = 2
"""Rows of each task that are shown."""


def strips(job: Job) -> list[dict[str, Any]]:
    """The first rows of the run's tasks, each prompt once, with the tokens of their answers round by round."""
    lm, seen, found = job.lm, set[str](), list[dict[str, Any]]()
    if lm.causal:
        return found
    for name, task in tasks_of(job.run.tasks).items():
        for row in task.examples(job.study_folder)[:ROWS]:
            if row.turns and row.id not in seen:
                seen.add(row.id)
                states = rounds(lm, job.template.prompt(row.turns))
                tokens = [lm.tok.convert_ids_to_tokens(ids) for ids in states]
                asked = "\n".join(turn.text for turn in row.turns)
                found.append({"task": name, "item": row.id, "prompt": asked, "gold": row.answer, "rounds": tokens})
    return found
