"""Plugins found by name: a kind "x" of the family `netgain.tasks` is the one class of `netgain.tasks.x`.

There is no registry to edit: adding a task, a method or a term is adding one file. A class of your own is named by
its import path, "my_package.my_module:MyTask". Plugin modules never import torch at the top, so that a plan, which
loads them all, stays light.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from netgain.errors import UserError, did_you_mean


class Frozen(BaseModel):
    """A frozen value that refuses unknown fields: the base of everything in a study file."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Plugin(Frozen):
    """Something named by `kind` in a study file that knows how to do its work."""

    family: ClassVar[str] = ""
    kind: Any  # each plugin narrows it to the literal of its own name

    @classmethod
    def resolve(cls, kind: str) -> "type[Plugin]":
        """The class that `kind` names in this family."""
        if ":" in kind:
            module_name, _, name = kind.partition(":")
            found = getattr(importlib.import_module(module_name), name)
            if not issubclass(found, cls):
                raise UserError(f'"{kind}" is no {cls.__name__}: a plugin class derives from {cls.__module__}.')
            return found
        if kind not in cls.kinds():
            raise UserError(f'unknown kind "{kind}" in {cls.family}.{did_you_mean(kind, cls.kinds())}')
        module = importlib.import_module(f"{cls.family}.{kind}")
        return next(
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, cls)
            and value.__module__ == module.__name__
            and get_args(value.model_fields["kind"].annotation) == (kind,)
        )

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """Every kind that this family ships: the files that declare the kind they are named after."""
        return _shipped(cls.family)

    @classmethod
    def parse(cls, value: Any) -> "Plugin":
        """A plugin from what a study file says: a kind's name, or a mapping with `kind` and its fields."""
        if isinstance(value, Plugin):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise ValueError(f"needs a kind, one of {', '.join(cls.kinds())}")
        try:
            found = cls.resolve(value["kind"])
        except UserError as error:
            raise ValueError(str(error)) from None
        fields = {name: v for name, v in value.items() if name != "kind"} if ":" in value["kind"] else value
        return found.model_validate(fields)


@cache
def _shipped(family: str) -> tuple[str, ...]:
    folder = Path(str(importlib.import_module(family).__file__)).parent
    files = (path for path in folder.glob("*.py") if path.stem[0] != "_")
    return tuple(sorted(f.stem for f in files if f'kind: Literal["{f.stem}"]' in f.read_text(encoding="utf-8")))


class TaskPlugin(Plugin):
    """A benchmark: rows out, per-item values in (see `netgain.tasks`)."""

    family = "netgain.tasks"


class MethodPlugin(Plugin):
    """Which parameters learn (see `netgain.adapters`)."""

    family = "netgain.adapters"
    learns: ClassVar[bool] = True
    built: ClassVar[bool] = False
    """Made from the adapters of other runs, without a step of training: its data only chooses among what was made."""


class TermPlugin(Plugin):
    """One term of an objective (see `netgain.objectives.terms`)."""

    family = "netgain.objectives.terms"

    @property
    def needs(self) -> frozenset[str]:
        """The references that it compares with, by name."""
        return frozenset()

    @property
    def reads(self) -> Literal["mean", "hidden"]:
        """What it takes from them: H + 1 numbers a token, or the hidden states."""
        return "hidden"


class ReferencePlugin(Plugin):
    """Who else scores the rows that are learned from (see `netgain.objectives.references`)."""

    family = "netgain.objectives.references"


class JudgePlugin(Plugin):
    """A model, or a rule, that gives a score to a written answer (see `netgain.judges`)."""

    family = "netgain.judges"
