"""A Study: a question, a base run, the axes that vary, and the contrasts that were declared before running."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from netgain.errors import UserError, did_you_mean
from netgain.spec.frontier import Decision, Frontier, expand_frontiers
from netgain.spec.identity import essence, sig
from netgain.spec.needs import linked, needs
from netgain.spec.place import is_there
from netgain.spec.plugin import Frozen
from netgain.spec.retention import RetentionSuite, expand_retention
from netgain.spec.run import Run, SpecError
from netgain.spec.translation import Translation, expand_translation

PREFER, NEEDS = "prefer", "needs"
"""Of a scale: the scale to take instead, where the file that the other needs is there."""


class Contrast(Frozen):
    """One arm (a name, a pattern, or coordinates) against a baseline, on one metric of one task.

    With `retain` the question is forgetting: worse by no more than that margin. Without it the question is gain.
    `checkpoint` is final, best, retained (what a stop rule kept) or a share of the final adapter, as final@0.5.
    `versus` as coordinates means: the same arm with these coordinates changed.
    """

    arm: str | dict[str, str] = "*"
    versus: str | dict[str, str]
    task: str
    metric: str
    retain: float | None = Field(default=None, gt=0)
    checkpoint: str = Field(default="final", pattern=r"^(final(@[0-9.]+)?|best|retained)$")


class Study(Frozen):
    """What a study file says. YAML and Python build the same object."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    question: str
    base: Run
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    vary: dict[str, list[Any] | dict[str, Any]] = Field(default_factory=dict)
    contrasts: tuple[Contrast, ...] = ()
    retention: RetentionSuite | None = None
    frontiers: dict[str, Frontier] = Field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    translation: Translation | None = None
    scales: dict[str, dict[str, Any]] = Field(default_factory=dict)
    folder: Path | None = Field(default=None, exclude=True, repr=False)
    scale: str | None = Field(default=None, exclude=True, repr=False)

    @property
    def key(self) -> str:
        """What this study is called in a ledger: its name, and its scale if it has one."""
        return f"{self.name}-{self.scale}" if self.scale else self.name

    @model_validator(mode="before")
    @classmethod
    def _blocks_are_arms_tasks_and_contrasts(cls, value: Any) -> Any:
        return expand_frontiers(expand_retention(expand_translation(value))) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if len(set(self.seeds)) < len(self.seeds):
            raise SpecError("a seed appears twice", "seeds")
        for name, scale in self.scales.items():
            if PREFER in scale and NEEDS not in self.scales.get(scale[PREFER], {}):
                near = did_you_mean(scale[PREFER], {other for other, each in self.scales.items() if NEEDS in each})
                message = f'"{scale[PREFER]}" is no scale that says with `{NEEDS}` which file it reads.{near}'
                raise SpecError(message, "scales", name, PREFER)
        arms = expand(self)
        for i, contrast in enumerate(self.contrasts):
            resolve(contrast, arms, i)
        for name, frontier in self.frontiers.items():
            if frontier.versus not in {arm.name for arm in arms}:
                near = did_you_mean(frontier.versus, {arm.name for arm in arms})
                raise SpecError(f'"{frontier.versus}" is no arm of this study.{near}', "frontiers", name, "versus")
        for i, decision in enumerate(self.decisions):
            if decision.frontier is not None and decision.frontier not in self.frontiers:
                near = did_you_mean(decision.frontier, set(self.frontiers))
                raise SpecError(f'"{decision.frontier}" is no frontier.{near}', "decisions", i, "frontier")
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.name)

    def at(self, scale: str | None) -> "Study":
        """The study with the overrides of one of its scales.

        A scale may `prefer` another one, which is then taken wherever the file that the other `needs` is there; the
        study goes by that scale's own name, so what was measured on other data stays apart.
        """
        if scale is None:
            return self
        if scale not in self.scales:
            known = ", ".join(self.scales) or "none"
            raise UserError(
                f'{self.name} has no scale "{scale}".{did_you_mean(scale, set(self.scales))} Its scales: {known}.'
            )
        better = self.scales[scale].get(PREFER)
        if better is not None and is_there(self.scales[better][NEEDS], self.folder):
            return self.at(better)
        raw = self.model_dump(exclude={"scales", *self._generated()})
        measured = {task for name, frontier in self.frontiers.items() for task in frontier.tasks(name)}
        raw["base"]["tasks"] = {name: task for name, task in raw["base"]["tasks"].items() if name not in measured}
        overrides = {path: value for path, value in self.scales[scale].items() if path not in (PREFER, NEEDS)}
        for path, value in overrides.items():
            try:
                raw = override(raw, path, value)
            except SpecError as error:
                raise SpecError(str(error), "scales", scale, path) from None
        raw["vary"] = {axis: _without_null(values) for axis, values in raw.get("vary", {}).items()}
        raw["frontiers"] = _without_null(raw["frontiers"])
        return Study.model_validate({**raw, "folder": self.folder, "scale": scale})

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults: the shortest study file that means the same."""
        tree = essence(self.model_copy(update={"folder": None, "scale": None}))
        return {name: value for name, value in tree.items() if name not in self._generated()}

    def _generated(self) -> tuple[str, ...]:
        """The fields that come from a block, which is kept and gives them again."""
        return ("vary", "contrasts") if self.translation is not None else ()


@dataclass(frozen=True)
class Arm:
    """One point of the grid; `coords` names its label on each axis, `run` carries the study's first seed."""

    name: str
    coords: Mapping[str, str]
    run: Run


@dataclass(frozen=True)
class Planned:
    """One run that a study asks for."""

    arm: str
    seed: int | None
    run: Run
    sig: str
    needs: tuple[str, ...] = ()
    """Sigs of the runs that must be finished first."""


def _without_null(values: Any) -> Any:
    """The points of an axis, or the frontiers, but those that a scale sets to null."""
    return {label: v for label, v in values.items() if v is not None} if isinstance(values, dict) else values


def override(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`tree` with the value at a dotted path replaced; a mapping is merged unless it names another kind."""
    key, _, rest = path.partition(".")
    if rest:
        inner = tree.get(key)
        if not isinstance(inner, dict):
            raise SpecError(f'"{path}" leads nowhere.{did_you_mean(key, {str(k) for k in tree})}')
        return {**tree, key: override(inner, rest, value)}
    return {**tree, key: _merge(tree.get(key), value)}


def _merge(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    if "kind" in new and new["kind"] != old.get("kind"):
        return new
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merge(old.get(key), value)
    return merged


def _labelled(axis: str, values: list[Any] | dict[str, Any]) -> list[tuple[str, Any]]:
    """(label, value) of each point on an axis; unlabelled points are called after the axis and the value."""
    if isinstance(values, dict):
        return [(str(label), value) for label, value in values.items()]
    short = axis.split(",")[0].strip().rsplit(".", 1)[-1]
    return [(f"{short}={value}", value) for value in values]


def _changes(axis: str, value: Any) -> list[tuple[str, Any]]:
    """The (path, value) overrides of one point: one path, several zipped paths, or a bundle of paths."""
    paths = [path.strip() for path in axis.split(",")]
    if len(paths) > 1:
        if not isinstance(value, (list, tuple)) or len(value) != len(paths):
            raise SpecError(f"needs one value for each of {axis}")
        return list(zip(paths, value, strict=True))
    if paths[0].split(".")[0] in Run.model_fields:
        return [(paths[0], value)]
    if not isinstance(value, dict):
        near = did_you_mean(paths[0].split(".")[0], set(Run.model_fields))
        raise SpecError(f'"{paths[0]}" is no field of a run.{near} A named axis maps each label to the fields it sets.')
    return list(value.items())


def expand(study: Study) -> list[Arm]:
    """Every arm of the product of the axes, in the order of the file, resting on the runs of the first seed."""
    arms = _points(study)
    runs = _linked(arms, study.seeds[0])
    return [replace(arm, run=runs[arm.name]) for arm in arms]


def _linked(arms: Sequence[Arm], seed: int) -> dict[str, Run]:
    """The run of every arm at a seed, knowing the runs that it rests on."""
    where = {arm.name: ("vary", *list(arm.coords.items())[-1]) if arm.coords else ("base",) for arm in arms}
    return linked({arm.name: arm.run.model_copy(update={"seed": seed}) for arm in arms}, where)


def _points(study: Study) -> list[Arm]:
    """Every point of the grid, its references to other arms still by name."""
    axes = [[(axis, label, value) for label, value in _labelled(axis, vs)] for axis, vs in study.vary.items()]
    base = study.base.model_dump()
    arms: list[Arm] = []
    for point in itertools.product(*axes):
        raw, loc = {**base, "seed": study.seeds[0]}, ("vary",)
        try:
            for axis, label, value in point:
                loc = ("vary", axis, label)
                for path, new in _changes(axis, value):
                    raw = override(raw, path, new)
            run = Run.model_validate(raw)
        except SpecError as error:
            raise SpecError(str(error), *loc, *error.loc) from None
        except ValidationError as error:
            raise _at(error, loc) from None
        labels = {axis: label for axis, label, _ in point}
        arms.append(Arm(" ".join(labels.values()) or study.name, labels, run))
    return arms


def _at(error: ValidationError, loc: tuple[str, ...]) -> ValidationError:
    """The same validation error, but at the point of the axis that caused it."""
    lines: list[Any] = [
        {"type": e["type"], "loc": (*loc, *e["loc"]), "input": e["input"], "ctx": e.get("ctx", {})}
        for e in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, lines)


def resolve(contrast: Contrast, arms: list[Arm], index: int = 0) -> list[tuple[Arm, Arm]]:
    """The (arm, baseline) pairs that a contrast means."""
    where = ("contrasts", index)
    by_name = {arm.name: arm for arm in arms}
    by_coords = {tuple(sorted(arm.coords.items())): arm for arm in arms}
    chosen = [arm for arm in arms if _matches(arm, contrast.arm)]
    pairs: list[tuple[Arm, Arm]] = []
    for arm in chosen:
        if isinstance(contrast.versus, str):
            other = by_name.get(contrast.versus)
        else:
            other = by_coords.get(tuple(sorted({**arm.coords, **contrast.versus}.items())))
        if other is None:
            near = did_you_mean(str(contrast.versus), set(by_name))
            raise SpecError(f"{contrast.versus} is no arm of this study.{near}", *where, "versus")
        if other.name != arm.name:
            pairs.append((arm, other))
    if not pairs:
        near = did_you_mean(str(contrast.arm), set(by_name))
        raise SpecError(f"{contrast.arm} matches no arm besides the baseline.{near}", *where, "arm")
    for arm in {arm.name: arm for pair in pairs for arm in pair}.values():
        if contrast.task not in arm.run.tasks:
            near = did_you_mean(contrast.task, set(arm.run.tasks))
            raise SpecError(f'"{contrast.task}" is no task of {arm.name}.{near}', *where, "task")
    return pairs


def _matches(arm: Arm, pattern: str | dict[str, str]) -> bool:
    if isinstance(pattern, str):
        return fnmatchcase(arm.name, pattern)
    return all(fnmatchcase(arm.coords.get(axis, ""), label) for axis, label in pattern.items())


def planned(study: Study) -> list[Planned]:
    """Every run of the study: arms times seeds, each behind the runs that it needs.

    An arm that neither learns nor is built runs once, without a seed.
    """
    arms = _points(study)
    wanted: list[Planned] = []
    runs = {seed: _linked(arms, seed) for seed in study.seeds}
    for arm in arms:
        seeded = arm.run.method.learns or arm.run.method.built
        for seed in study.seeds if seeded else study.seeds[:1]:
            run = runs[seed][arm.name]
            wanted.append(Planned(arm.name, seed if seeded else None, run, sig(run), needs(run)))
    return _in_order(wanted)


def _in_order(wanted: Sequence[Planned]) -> list[Planned]:
    """The order of the file, but for runs that wait for one further down."""
    by_sig: dict[str, list[Planned]] = {}
    for each in wanted:
        by_sig.setdefault(each.sig, []).append(each)
    placed: dict[int, Planned] = {}

    def place(each: Planned) -> None:
        for need in each.needs:
            for other in by_sig.get(need, ()):
                if id(other) not in placed:
                    place(other)
        placed.setdefault(id(each), each)

    for each in wanted:
        place(each)
    return list(placed.values())


def as_yaml(study: Study | BaseModel | dict[str, Any]) -> str:
    """A study as the text of a study file."""
    import yaml

    tree = study.to_dict() if isinstance(study, Study) else study
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=110)
