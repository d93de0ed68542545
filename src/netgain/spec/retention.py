"""The forgetting suite of a study: benchmarks that must be kept, each with the margin that was set beforehand.

    retention:
      versus: base
      tasks:
        english: {kind: ppl, metric: nll, margin: 0.05}
        science: {kind: choice, path: eval_mcq/.../arc_easy.jsonl, margin: 0.02}
        chat: {kind: mt_bench, judges: {reward: {kind: reward, model: ./judge}}, margin: 0.3}

means: the base run has these tasks too, and every arm has one contrast a task, on the task's first metric unless one is
named, with `retain` at its margin. A report joins them to one verdict: retained only if each of them is.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from netgain.spec.plugin import Frozen, TaskPlugin
from netgain.spec.run import Run, SpecError


class Benchmark(BaseModel):
    """A task's own fields, with the margin and, where it is not the task's first, the metric."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    margin: float = Field(gt=0)
    metric: str | None = None

    def task(self) -> TaskPlugin:
        """The task that the remaining fields describe."""
        found = TaskPlugin.parse({"kind": self.kind, **(self.model_extra or {})})
        assert isinstance(found, TaskPlugin)
        return found


class RetentionSuite(Frozen):
    """What must be kept (`tasks`), by which arms, compared with which, at which checkpoint."""

    versus: str | dict[str, str]
    tasks: dict[str, Benchmark] = Field(min_length=1)
    arm: str | dict[str, str] = "*"
    checkpoint: str = "final"

    @field_validator("tasks")
    @classmethod
    def _benchmarks_are_tasks(cls, value: dict[str, Benchmark]) -> dict[str, Benchmark]:
        for each in value.values():
            each.task()
        return value

    def contrasts(self) -> list[dict[str, Any]]:
        """One contrast a benchmark."""
        return [
            {
                "arm": self.arm,
                "versus": self.versus,
                "task": name,
                "metric": each.metric or _first_metric(each.task(), name),
                "retain": each.margin,
                "checkpoint": self.checkpoint,
            }
            for name, each in self.tasks.items()
        ]


def _first_metric(task: TaskPlugin, name: str) -> str:
    metrics: tuple[str, ...] = getattr(task, "metrics", ())
    if not metrics:
        raise SpecError("names no metric of its own; say which with `metric`", "retention", "tasks", name)
    return metrics[0]


def expand_retention(raw: dict[str, Any]) -> dict[str, Any]:
    """A study's fields with its retention block turned into tasks and contrasts, which is all that the block means."""
    if raw.get("retention") is None:
        return raw
    suite = RetentionSuite.model_validate(raw["retention"])
    base = raw.get("base")
    base = base.model_dump() if isinstance(base, Run) else dict(base or {})
    tasks = dict(base.get("tasks") or {})
    for name, each in suite.tasks.items():
        if name in tasks:
            raise SpecError(f'"{name}" is a task of the base run already; call it something else', "retention", "tasks")
        tasks[name] = each.task()
    contrasts = [*(raw.get("contrasts") or ()), *suite.contrasts()]
    return {**raw, "retention": None, "base": {**base, "tasks": tasks}, "contrasts": contrasts}
