"""From a run's data spec to encoded rows: read, split by group, mix, render; and a summary for the record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.data.mix import Mixture, mix
from netgain.data.order import Order
from netgain.data.overlap import overlap
from netgain.data.show import facts, report, segments
from netgain.data.source import Example, read
from netgain.data.split import require_disjoint, split
from netgain.errors import UserError, did_you_mean
from netgain.report.terminal import console
from netgain.spec.identity import stream
from netgain.spec.run import Run
from netgain.spec.study import Study, expand
from netgain.tasks._base import tasks_of

if TYPE_CHECKING:
    from netgain.data.chat import Encoded, Encoding, Template
    from netgain.models.lm import LM


@dataclass(frozen=True)
class Prepared:
    """What is learned from, what chooses the checkpoint, and what the record says about both."""

    train: "Encoding"
    dev: "list[Encoded]"
    summary: dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """The examples of a run, and how they came to be."""

    train: list[Example]
    dev: list[Example]
    evaluation: Mapping[str, list[Example]]
    mixture: Mixture
    excluded: int


def rows_of(run: Run, folder: Path | None) -> Rows:
    """The same for every arm that shares data, tasks and seed; no training row is of an evaluation row's group."""
    evaluation = {name: task.examples(folder) for name, task in tasks_of(run.tasks).items()}
    taken = {example.group for found in evaluation.values() for example in found}
    dev: list[Example] = []
    pools: dict[str, list[Example]] = {}
    excluded = 0
    for name, source in run.data.sources.items():
        found = read(source, folder)
        free = [example for example in found if example.group not in taken]
        excluded += len(found) - len(free)
        pools[name], held_out = split(free, run.data.dev, run.seed)
        dev += held_out
    train, mixture = mix(pools, run.data.mixture, run.data.rows, stream(run.seed, "mixture"))
    for name, measured in evaluation.items():
        require_disjoint(train=train, dev=dev, **{name: measured})
    return Rows(train, dev, evaluation, mixture, excluded)


def order_of(run: Run, rows: int) -> Order:
    """Which of its training rows a run sees at which step."""
    return Order(rows, run.optim.batch, int(stream(run.seed, "order").integers(2**63)))


def template_of(run: Run, lm: "LM") -> "Template":
    """The one rendering that training and evaluation of a run share."""
    from netgain.data.chat import Template

    return Template(lm.tok, chat=run.model.template == "chat", name=run.model.id)


def prepare(run: Run, template: "Template", lm: "LM", folder: Path | None) -> Prepared:
    """Rows as token ids, with everything about them that a reader of the result will want to know."""
    rows = rows_of(run, folder)
    learned = template.encode_all(rows.train, run.data.max_len, run.data.truncate)
    chosen = template.encode_all(rows.dev, run.data.max_len, run.data.truncate)
    if not learned.rows:
        raise UserError("data: no row is left to learn from; raise data.max_len, or read more rows.")
    shared = overlap(train=rows.train, dev=rows.dev, **rows.evaluation)
    summary = {
        **facts(lm.tok, learned, rows.mixture, shared),
        "template": template.fingerprint,
        "dev": len(chosen.rows),
        "excluded": rows.excluded,
    }
    return Prepared(learned, chosen.rows, summary)


def show(study: Study, arm: str | None, n: int, *, as_json: bool) -> None:
    """Print what `netgain show-data` prints: the rows of one arm as its model will see them."""
    from netgain.models.load import load

    learning = {each.name: each.run for each in expand(study) if each.run.method.learns}
    if arm is not None and arm not in learning:
        raise UserError(f'"{arm}" is no arm that learns.{did_you_mean(arm, set(learning))}')
    if not learning:
        raise UserError(f"{study.name}: no arm learns, so no data is fed.")
    run = learning[arm or next(iter(learning))]
    lm = load(run.model)
    prepared = prepare(run, template_of(run, lm), lm, study.folder)
    if as_json:
        print(json.dumps({**prepared.summary, "examples": _examples(lm, prepared, n)}, indent=1, ensure_ascii=False))
    else:
        console().print(report(lm.tok, prepared.train, prepared.summary, n))


def _examples(lm: "LM", prepared: Prepared, n: int) -> list[dict[str, str]]:
    parts = [segments(lm.tok, row) for row in prepared.train.rows[:n]]
    return [
        {
            "id": row.id,
            "text": "".join(text for text, _ in found),
            "supervised": "".join(text for text, learned in found if learned),
        }
        for row, found in zip(prepared.train.rows, parts, strict=False)
    ]
