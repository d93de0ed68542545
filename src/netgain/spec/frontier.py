"""Quality against diversity over sampling temperatures, and decisions that are written down before anything runs.

    frontiers:
      replies:
        versus: sft
        task: {kind: replies, samples: 8}
        temperatures: [0.7, 1.0, 1.3]
        quality: reference_f1
        diversity: hashed_semantic_distance
    decisions:
      - {say: adopt, frontier: replies, measure: matched, above: 0.02}
      - {say: no evidence}

means: the base run measures the task at each temperature (as replies-t0_7, replies-t1, ...), so that every arm, the
baseline first of all, is a curve and never a point: a higher temperature buys diversity too, without any training.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PositiveInt, SerializeAsAny, model_validator

from netgain.spec.plugin import Frozen, TaskPlugin
from netgain.spec.run import Run, SpecError

Task = SerializeAsAny[Annotated[TaskPlugin, BeforeValidator(TaskPlugin.parse)]]


class Frontier(Frozen):
    """One task at several temperatures; `versus` is the arm that all others are compared with.

    quality, diversity   two of its metrics, larger being better: the axes of the frontier
    passes               a metric of 0 or 1, for pass@k over its samples
    reference            (quality, diversity) below which nothing counts in the hypervolume
    """

    versus: str
    task: Task
    temperatures: tuple[float, ...] = Field(min_length=2)
    quality: str | None = None
    diversity: str | None = None
    passes: str | None = None
    reference: tuple[float, float] = (0.0, 0.0)

    @model_validator(mode="before")
    @classmethod
    def _task_has_a_temperature(cls, value: Any) -> Any:
        """Several samples need one, and the block says them all."""
        if not isinstance(value, dict) or not isinstance(value.get("task"), dict) or not value.get("temperatures"):
            return value
        return {**value, "task": {"temperature": value["temperatures"][0], **value["task"]}}

    @model_validator(mode="after")
    def _says_what_is_read(self) -> "Frontier":
        if (self.quality is None) != (self.diversity is None):
            raise SpecError("a frontier has two axes; name quality and diversity", "quality")
        if self.quality is None and self.passes is None:
            raise SpecError("nothing to read; name quality and diversity, or passes", "quality")
        if list(self.temperatures) != sorted(set(self.temperatures)):
            raise SpecError("are different and rise", "temperatures")
        metrics: tuple[str, ...] = getattr(self.task, "metrics", ())
        for field in ("quality", "diversity", "passes"):
            name = getattr(self, field)
            if name is not None and metrics and name not in metrics:
                raise SpecError(f'the task has no metric "{name}"; it has {", ".join(metrics)}', field)
        if "temperature" not in type(self.task).model_fields:
            raise SpecError(f"{self.task.kind} answers at no temperature; take a task that samples", "task")
        return self

    def at(self, name: str) -> dict[float, str]:
        """temperature -> the name of the task that measures at it."""
        return {t: f"{name}-t{t:g}".replace(".", "_") for t in self.temperatures}

    def tasks(self, name: str) -> dict[str, TaskPlugin]:
        """The tasks that the block means."""
        kind = type(self.task)
        return {
            task: kind.model_validate({**self.task.model_dump(), "temperature": t}) for t, task in self.at(name).items()
        }


class Decision(Frozen):
    """A line of the decision table: an arm gets the first line whose condition its interval certainly meets.

    measure   matched (diversity at equal quality), hypervolume, or pass@k, each as the arm's difference from `versus`
    above     the whole interval lies above this; `below`: below it. A line without either is for all that are left.
    """

    say: str
    frontier: str | None = None
    measure: str = Field(default="matched", pattern=r"^(matched|hypervolume|pass@[1-9][0-9]*)$")
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _condition_has_a_frontier(self) -> "Decision":
        if (self.above is not None or self.below is not None) and self.frontier is None:
            raise SpecError("say which frontier is read", "frontier")
        return self

    @property
    def tries(self) -> PositiveInt | None:
        """k of pass@k."""
        return int(self.measure[5:]) if self.measure.startswith("pass@") else None


def expand_frontiers(raw: dict[str, Any]) -> dict[str, Any]:
    """A study's fields with every frontier's tasks in its base run."""
    if not raw.get("frontiers"):
        return raw
    base = raw.get("base")
    base = base.model_dump() if isinstance(base, Run) else dict(base or {})
    tasks = dict(base.get("tasks") or {})
    for name, value in raw["frontiers"].items():
        tasks |= Frontier.model_validate(value).tasks(name)
    return {**raw, "base": {**base, "tasks": tasks}}
