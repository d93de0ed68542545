"""From a run's data spec to encoded rows: read, split by group, mix, render; and a summary for the record."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netgain.data.mix import Mixture, balanced, mix
from netgain.data.order import Order
from netgain.data.overlap import overlap, unshared
from netgain.data.show import facts, report, segments
from netgain.data.source import Example
from netgain.data.split import require_disjoint, split
from netgain.errors import UserError, did_you_mean
from netgain.objectives.references._base import Reference
from netgain.objectives.schedule import always_zero
from netgain.report.console import console
from netgain.spec.identity import stream
from netgain.spec.run import ModelSpec, Run
from netgain.spec.study import Study, expand
from netgain.tasks._base import read_source, tasks_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from netgain.data.chat import Encoded, Encoding, Template

UNLIMITED = 2**31

DEV_SEED = 0
"""Which groups are held out depends on their names alone."""


@dataclass(frozen=True)
class Prepared:
    """What is learned from, what chooses the checkpoint, and what the record says about both.

    `examples[i]` is the training row i as it was read, and `sources[i]` names its source; `pools` has all rows of each
    source that may be shown as demonstrations.
    """

    train: "Encoding"
    dev: "list[Encoded]"
    summary: dict[str, Any]
    examples: list[Example]
    sources: list[str]
    pools: Mapping[str, list[Example]]


@dataclass(frozen=True)
class Rows:
    """The examples of a run, and how they came to be: `train` is drawn from `pools`, row i from `sources[i]`."""

    train: list[Example]
    sources: list[str]
    pools: Mapping[str, list[Example]]
    dev: list[Example]
    evaluation: Mapping[str, list[Example]]
    mixture: Mixture
    excluded: int


def rows_of(run: Run, folder: Path | None) -> Rows:
    """The same for every arm that shares data and tasks; no training row is of the group of a row that is measured or
    held out, nor repeats its text or a run of its words.

    What is held out is the same for every seed, so that seeds are compared on one dev set and share their teachers;
    which of the other rows a mixture draws is the seed's.
    """
    evaluation = {name: task.examples(folder) for name, task in tasks_of(run.tasks).items()}
    taken = {example.group for found in evaluation.values() for example in found}
    read_rows = {name: read_source(source, folder) for name, source in run.data.sources.items()}
    measured = [example for found in evaluation.values() for example in found]
    free = {
        name: unshared([row for row in found if row.group not in taken], measured) for name, found in read_rows.items()
    }
    _, dev = split([row for found in free.values() for row in found], run.data.dev, DEV_SEED)
    held_out = {row.group for row in dev}
    rest = {name: [row for row in found if row.group not in held_out] for name, found in free.items()}
    pools = {name: unshared(found, dev) for name, found in rest.items()}
    repeats = sum(len(rest[name]) - len(pools[name]) for name in rest)
    excluded = sum(map(len, read_rows.values())) - sum(map(len, free.values())) + repeats
    shares = run.data.mixture if run.data.temperature is None else balanced(pools, run.data.temperature)
    repeat = run.data.temperature is not None
    train, mixture = mix(pools, shares, run.data.rows, stream(run.seed, "mixture"), repeat=repeat)
    for name, found in evaluation.items():
        require_disjoint(train=train, dev=dev, **{name: found})
    sources = [name for name, drawn in mixture.drawn.items() for _ in range(drawn)]
    return Rows(train, sources, pools, dev, evaluation, mixture, excluded)


def order_of(run: Run, rows: int) -> Order:
    """Which of its training rows a run sees at which step."""
    return Order(rows, run.optim.batch, int(stream(run.seed, "order").integers(2**63)))


def seen(runs: Iterable[Run], rows: int) -> list[int]:
    """The training rows, of so many, that any of the runs will see, ascending."""
    found: set[int] = set()
    for run in runs:
        if run.optim.steps * run.optim.batch >= rows:
            return list(range(rows))
        order = order_of(run, rows)
        found.update(i for k in range(run.optim.steps) for i in order.step(k).tolist())
    return sorted(found)


def template_of(model: ModelSpec, tok: "PreTrainedTokenizerBase") -> "Template":
    """The one rendering that training, evaluation and every reference of a run share."""
    from netgain.data.chat import Template

    return Template(tok, chat=model.template == "chat", name=model.id)


def prepare(run: Run, template: "Template", folder: Path | None) -> Prepared:
    """Rows as token ids, with everything about them that a reader of the result will want to know."""
    rows = rows_of(run, folder)
    learned = template.encode_all(rows.train, run.data.max_len, run.data.truncate)
    chosen = template.encode_all(rows.dev, run.data.max_len, run.data.truncate)
    if not learned.rows:
        raise UserError("data: no row is left to learn from; raise data.max_len, or read more rows.")
    if rows.dev and not chosen.rows:
        raise UserError(
            f"data.dev: each of the {len(rows.dev)} rows held out is longer than data.max_len, {run.data.max_len} "
            "tokens; raise it, or hold out more rows."
        )
    shared = overlap(train=rows.train, dev=rows.dev, **rows.evaluation)
    summary = {
        **facts(template.tok, learned, rows.mixture, shared),
        "template": template.fingerprint,
        "dev": len(chosen.rows),
        "excluded": rows.excluded,
    }
    examples, sources = [rows.train[i] for i in learned.index], [rows.sources[i] for i in learned.index]
    return Prepared(learned, chosen.rows, summary, examples, sources, rows.pools)


def references_of(run: Run) -> dict[str, Reference]:
    """The declared references of a run, which knows its plugins by family only."""
    found: dict[str, Reference] = {}
    for name, plugin in run.references.items():
        if not isinstance(plugin, Reference):
            raise UserError(
                f'reference {name}: "{plugin.kind}" is no reference class; derive it from '
                "netgain.objectives.references._base.Reference."
            )
        found[name] = plugin
    return found


def reads_of(runs: Iterable[Run]) -> dict[str, Literal["mean", "hidden"]]:
    """reference -> what must be kept of it: H + 1 numbers where every term that weighs anything wants no more."""
    wanted: dict[str, set[str]] = {}
    for run in runs:
        for weighted in run.objective.values():
            if not always_zero(weighted.weight):
                for name in weighted.term.needs:
                    wanted.setdefault(name, set()).add(weighted.term.reads)
    return {name: "mean" if reads == {"mean"} else "hidden" for name, reads in wanted.items()}


def shown_before(
    reference: Reference,
    examples: Sequence[Example],
    sources: Sequence[str],
    pools: Mapping[str, list[Example]],
    wanted: Iterable[int],
) -> dict[int, tuple[Example, ...]]:
    """The demonstrations that a reference gets before each of some training rows, from the row's own source."""
    rows: dict[str, list[int]] = {}
    for i in wanted:
        rows.setdefault(sources[i], []).append(i)
    shown: dict[int, tuple[Example, ...]] = {}
    for source, own in rows.items():
        shown.update(zip(own, reference.demonstrations([examples[i] for i in own], pools[source]), strict=True))
    return shown


def teacher_rows(
    name: str, reference: Reference, prepared: Prepared, template: "Template", wanted: Sequence[int]
) -> "list[Encoded]":
    """Some training rows as a reference reads them: another prompt, but the very answer that the student learns."""
    shown = shown_before(reference, prepared.examples, prepared.sources, prepared.pools, wanted)
    found: list[Encoded] = []
    for i in wanted:
        own = prepared.train.rows[i]
        row = template.encode(prepared.examples[i], UNLIMITED, demonstrations=shown[i]) if shown[i] else own
        if row.answer != own.answer:
            raise UserError(
                f'references.{name}: row "{own.id}": its answer is {_some(row.answer)} after demonstrations and '
                f"{_some(own.answer)} without, so the two cannot be compared token by token; end the prompt "
                "differently (a colon, a line break), or set model.template: plain."
            )
        found.append(row)
    return found


def _some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:6])) + (", ..." if len(ids) > 6 else "")


def show(study: Study, arm: str | None, n: int, *, as_json: bool) -> None:
    """Print what `netgain show-data` prints: the rows of one arm as its model will see them."""
    from netgain.models.load import tokenizer

    learning = {each.name: each.run for each in expand(study) if each.run.method.learns}
    if arm is not None and arm not in learning:
        raise UserError(f'"{arm}" is no arm that learns.{did_you_mean(arm, set(learning))}')
    if not learning:
        raise UserError(f"{study.name}: no arm learns, so no data is fed.")
    run = learning[arm or next(iter(learning))]
    template = template_of(run.model, tokenizer(run.model))
    prepared = prepare(run, template, study.folder)
    taught = {
        name: rows[0]
        for name, reference in references_of(run).items()
        if (rows := teacher_rows(name, reference, prepared, template, [0])) != prepared.train.rows[:1]
    }
    if as_json:
        examples = [_decoded(template, row) for row in prepared.train.rows[:n]]
        shown = {name: _decoded(template, row) for name, row in taught.items()}
        print(json.dumps({**prepared.summary, "examples": examples, "references": shown}, indent=1, ensure_ascii=False))
    else:
        console().print(report(template.tok, prepared.train, prepared.summary, n, taught))


def _decoded(template: "Template", row: "Encoded") -> dict[str, str]:
    parts = segments(template.tok, row)
    return {
        "id": row.id,
        "text": "".join(text for text, _ in parts),
        "supervised": "".join(text for text, learned in parts if learned),
    }
