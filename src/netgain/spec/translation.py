"""A study of translated adapters, as short as its question: problems on two models, methods, and what is varied.

    translation:
      source: tiny-llama                      # the base run's model is the target
      source_steps: 20                        # steps on the source model, when not the base run's
      anchors:  [{name: sums, domain: math, task: {kind: arithmetic, ...}, limit: 200}, ...]
      held_out: [{name: nli, domain: language, task: {kind: nli, ...}}, ...]
      methods: [mean, random, global_ridge]
      counts: [3, 6]                          # anchors used by global_ridge; a smaller set is part of a larger one
      ks: [2, 4]                              # nearest anchors of topk_global_ridge
      pools: true                             # also from the anchors of one domain alone

means these arms: `NAME on source` and `NAME on target` for every anchor, `NAME on source`, `NAME oracle` and
`NAME base` for every held-out problem, and `NAME METHOD` built from them; and these contrasts: each oracle against its
base (the gate), each method against the mean of the anchors.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SerializeAsAny, model_validator

from netgain.spec.identity import stream
from netgain.spec.plugin import Frozen, TaskPlugin
from netgain.spec.run import SpecError

Mixing = Literal[
    "zero",
    "mean",
    "random",
    "global_ridge",
    "pertensor_ridge",
    "topk_global_ridge",
    "topk_pertensor_ridge",
    "pertensor_pca",
    "pertensor_procrustes",
    "pertensor_mlp",
]
Free = Literal["stitch", "stitch_procrustes", "subspace"]
Start = Literal[Mixing, Free]
How = Literal[Start, "distil"]
MIXING: tuple[str, ...] = get_args(Mixing)
"""Methods that mix the target adapters of anchors."""
FREE: tuple[str, ...] = get_args(Free)
"""Methods without anchors: two that read generic text through both models, one that reads only their weights."""
BASELINES = ("mean", "random", "zero")
"""What knows nothing of the source adapter: every other method must beat it."""
COUNTED, NEAREST = "global_ridge", "topk_global_ridge"
"""The methods whose number of anchors, and whose k, is varied."""
UNUSED: dict[str, Any] = {
    "data": {"sources": {"rows": {"kind": "embedded", "suite": "text", "n": 1}}},
    "tasks": {"unused": {"kind": "ppl"}},
}
"""What the base run has instead of a problem; every arm replaces it."""


class Distil(Frozen):
    """A few steps on what the source model with its adapter writes to the run's own prompts, without their answers.

    start   the translated adapter to begin from
    """

    start: Start = "stitch"
    steps: PositiveInt = 20
    prompts: PositiveInt = 64
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3
    max_new_tokens: PositiveInt = 24

    @property
    def mixes(self) -> bool:
        """Whether the start needs anchors."""
        return self.start in MIXING


class Problem(Frozen):
    """One task, learned from its own training rows (`limit` of them) and measured on its own others."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    domain: str = "all"
    task: SerializeAsAny[Annotated[TaskPlugin, BeforeValidator(TaskPlugin.parse)]]
    limit: PositiveInt | None = None
    metric: str | None = None

    @property
    def measured(self) -> str:
        """The metric that is read: the task's first unless another is named."""
        metrics: tuple[str, ...] = getattr(self.task, "metrics", ())
        return self.metric or (metrics[0] if metrics else "accuracy")

    def on(self, **more: Any) -> dict[str, Any]:
        """The overrides of an arm that has to do with this problem."""
        task = self.task.model_dump()
        rows = {"kind": "task", "task": task, "limit": self.limit}
        return {"data.sources": {"rows": rows}, "tasks": {"unused": None, self.name: task}, **more}


class Translation(Frozen):
    """The problems, the methods, and what of the anchors is varied."""

    source: str | dict[str, Any]
    source_steps: PositiveInt | None = None
    anchors: tuple[Problem, ...] = Field(min_length=3)
    held_out: tuple[Problem, ...] = Field(min_length=1)
    methods: tuple[How, ...] = ("mean", "random", "global_ridge", "pertensor_ridge")
    k: PositiveInt = 8
    strength: Literal["updates", "loss"] = "updates"
    layers: Literal["depth", "cka"] = "depth"
    distil: Distil = Distil()
    scale: float | Literal["dev"] = "dev"
    counts: tuple[PositiveInt, ...] = ()
    ks: tuple[PositiveInt, ...] = ()
    pools: bool = False

    @model_validator(mode="after")
    def _names_and_counts(self) -> "Translation":
        names = [each.name for each in (*self.anchors, *self.held_out)]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise SpecError(
                    f'two problems are called "{name}"', "held_out" if i >= len(self.anchors) else "anchors"
                )
        for count in self.counts:
            if not 3 <= count <= len(self.anchors):
                raise SpecError(f"{count} anchors cannot be drawn from {len(self.anchors)}; at least 3 are", "counts")
        if "mean" not in self.methods:
            raise SpecError("must have mean, which every other method is compared with", "methods")
        return self

    def pool(self, domain: str) -> list[Problem]:
        """The anchors of one domain."""
        return [each for each in self.anchors if each.domain == domain]

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains with anchors enough to translate from them alone."""
        return tuple(d for d in dict.fromkeys(each.domain for each in self.anchors) if len(self.pool(d)) >= 3)

    def arms(self) -> dict[str, dict[str, Any]]:
        """Every arm with its overrides: first all on the source model, so that each model is loaded once."""
        longer = {} if self.source_steps is None else {"optim.steps": self.source_steps}
        there = {"model": self.source, **longer}
        found = {f"{each.name} on source": each.on(**there) for each in (*self.anchors, *self.held_out)}
        found |= {f"{each.name} on target": each.on() for each in self.anchors}
        found |= {f"{each.name} oracle": each.on() for each in self.held_out}
        for each in self.held_out:
            found[f"{each.name} base"] = each.on(method="none")
            found |= dict(self._translated(each))
        return found

    def _translated(self, each: Problem) -> Iterator[tuple[str, dict[str, Any]]]:
        for how in self.methods:
            yield f"{each.name} {how}", self._arm(each, how, self.anchors)
        for count in self.counts:
            if count < len(self.anchors):
                yield f"{each.name} {COUNTED} N={count}", self._arm(each, COUNTED, self._first(count))
        for k in self.ks:
            yield f"{each.name} {NEAREST} k={k}", self._arm(each, NEAREST, self.anchors, k)
        for domain in self.domains if self.pools else ():
            yield f"{each.name} {COUNTED} from {domain}", self._arm(each, COUNTED, self.pool(domain))

    def _first(self, count: int) -> list[Problem]:
        """So many anchors in a random order that is the same for every held-out problem; a smaller set is part of a
        larger one."""
        order = stream(0, "anchors").permutation(len(self.anchors))[:count]
        return [self.anchors[i] for i in sorted(order)]

    def _arm(self, each: Problem, how: str, anchors: Sequence[Problem], k: int | None = None) -> dict[str, Any]:
        method: dict[str, Any] = {
            "kind": "translated",
            "how": how,
            "source": {"arm": f"{each.name} on source"},
            "k": k or self.k,
            "scale": self.scale,
        }
        if self.strength == "loss" and "ridge" in how:
            method["strength"] = "loss"
        if self.layers != "depth":
            method["layers"] = self.layers
        if how == "distil":
            method["distil"] = self.distil.model_dump()
        if how in MIXING or (how == "distil" and self.distil.mixes):
            method["anchors"] = [[{"arm": f"{a.name} on source"}, {"arm": f"{a.name} on target"}] for a in anchors]
        return each.on(method=method)

    def contrasts(self) -> list[dict[str, Any]]:
        """The gate of every held-out problem, and every method against the mean."""
        found: list[dict[str, Any]] = []
        for each in self.held_out:
            asked = {"task": each.name, "metric": each.measured}
            found.append({"arm": f"{each.name} oracle", "versus": f"{each.name} base", **asked})
            for how in self.methods:
                if how not in BASELINES:
                    found.append({"arm": f"{each.name} {how}", "versus": f"{each.name} mean", **asked})
        return found


def expand_translation(raw: dict[str, Any]) -> dict[str, Any]:
    """A study's fields with its translation block turned into arms and contrasts, which is all that the block means."""
    if raw.get("translation") is None:
        return raw
    for name in ("vary", "contrasts", "retention"):
        if raw.get(name):
            raise SpecError(f"`translation` gives every arm and contrast; leave `{name}` out", name)
    asked = Translation.model_validate(raw["translation"])
    base = raw.get("base")
    base = base.model_dump() if not isinstance(base, dict) and base is not None else dict(base or {})
    data = dict(base.get("data") or {})
    base["data"] = {**data, "sources": data.get("sources") or UNUSED["data"]["sources"]}
    base["tasks"] = base.get("tasks") or UNUSED["tasks"]
    return {**raw, "base": base, "vary": {"arm": asked.arms()}, "contrasts": asked.contrasts()}
