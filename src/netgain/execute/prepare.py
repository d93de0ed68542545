"""From a run's data spec to encoded rows: read, split by group, mix, render; and a summary for the record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.data.mix import Mixture, mix
from netgain.data.overlap import overlap
from netgain.data.source import Example, read
from netgain.data.split import require_disjoint, split
from netgain.spec.identity import stream
from netgain.spec.run import Run
from netgain.tasks._base import tasks_of

if TYPE_CHECKING:
    from netgain.data.chat import Encoded, Template
    from netgain.models.lm import LM


@dataclass(frozen=True)
class Prepared:
    """What is learned from, what chooses the checkpoint, and what the record says about both."""

    train: "list[Encoded]"
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
    require_disjoint(train=train, dev=dev, **evaluation)
    return Rows(train, dev, evaluation, mixture, excluded)


def template_of(run: Run, lm: "LM") -> "Template":
    """The one rendering that training and evaluation of a run share."""
    from netgain.data.chat import Template

    return Template(lm.tok, chat=run.model.template == "chat", name=run.model.id)


def prepare(run: Run, template: "Template", folder: Path | None) -> Prepared:
    """Rows as token ids, with everything about them that a reader of the result will want to know."""
    rows = rows_of(run, folder)
    learned = template.encode_all(rows.train, run.data.max_len, run.data.truncate)
    chosen = template.encode_all(rows.dev, run.data.max_len, run.data.truncate)
    summary = {
        "mixture": rows.mixture.to_json(),
        "template": template.fingerprint,
        "train": len(learned.rows),
        "dev": len(chosen.rows),
        "excluded": rows.excluded,
        "dropped": len(learned.dropped),
        "truncated": learned.cut,
        "tokens": sum(len(row.ids) for row in learned.rows),
        "supervised": sum(sum(row.supervised) for row in learned.rows),
        "overlap": overlap(train=rows.train, dev=rows.dev, **rows.evaluation).to_json(),
    }
    return Prepared(learned.rows, chosen.rows, summary)
