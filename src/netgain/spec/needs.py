"""Runs that rest on other runs: where a spec names an arm, which run that is, and what must be finished first.

A study file says `{arm: NAME}` wherever a spec wants a run. Once the study is expanded it is `{sig: ...}` of that arm's
run at the same seed, so a run's sig contains the sigs that it rests on: change an anchor, and what was made from it is
another run.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from netgain.errors import did_you_mean
from netgain.spec.identity import sig
from netgain.spec.run import Run, RunRef, SpecError

Loc = tuple[str | int, ...]


def references(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, RunRef]]:
    """Every reference to a run inside a spec, with where it stands."""
    if isinstance(value, RunRef):
        yield loc, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from references(getattr(value, name), (*loc, name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, (*loc, key))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from references(item, (*loc, i))


def needs(run: Run) -> tuple[str, ...]:
    """The sigs of the runs that must be finished before this one."""
    return tuple(dict.fromkeys(ref.sig for _, ref in references(run) if ref.sig is not None))


def linked(runs: Mapping[str, Run], where: Mapping[str, Loc]) -> dict[str, Run]:
    """The run of every arm with its references to arms replaced by sigs; what rests on nothing stays as it is.

    `where` says for each arm where the study file describes it, for the error messages.
    """
    found: dict[str, Run] = {}
    open_arms: list[str] = []

    def link(name: str) -> Run:
        if name in found:
            return found[name]
        if name in open_arms:
            circle = " -> ".join((*open_arms[open_arms.index(name) :], name))
            raise SpecError(f"these arms rest on one another, so none can be first: {circle}", *where[name])
        open_arms.append(name)
        for loc, ref in references(runs[name]):
            _require_adapter(ref, runs, (*where[name], *loc))
        found[name] = _replaced(runs[name], lambda ref: ref if ref.arm is None else RunRef(sig=sig(link(ref.arm))))
        open_arms.pop()
        return found[name]

    return {name: link(name) for name in runs}


def _require_adapter(ref: RunRef, runs: Mapping[str, Run], loc: Loc) -> None:
    if ref.arm is None:
        return
    if ref.arm not in runs:
        raise SpecError(f'"{ref.arm}" is no arm of this study.{did_you_mean(ref.arm, set(runs))}', *loc, "arm")
    method = runs[ref.arm].method
    if not (method.learns or method.built):
        raise SpecError(f'arm "{ref.arm}" is the untouched base, which has no adapter to build on', *loc, "arm")


def _replaced(value: Any, change: Callable[[RunRef], RunRef]) -> Any:
    """`value` with every reference changed; parts without one are the same objects."""
    if isinstance(value, RunRef):
        return change(value)
    if isinstance(value, BaseModel):
        old = {name: getattr(value, name) for name in type(value).model_fields}
        new = {name: _replaced(item, change) for name, item in old.items()}
        changed = {name: item for name, item in new.items() if item is not old[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        items = {key: _replaced(item, change) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        parts = [_replaced(item, change) for item in value]
        return type(value)(parts) if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    return value
