"""From a run's data spec to encoded rows: read, split by group, mix, render; and a summary for the record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgain.data.mix import mix
from netgain.data.overlap import overlap
from netgain.data.source import Example, read
from netgain.data.split import require_disjoint, split
from netgain.spec.identity import stream
from netgain.spec.run import Run

if TYPE_CHECKING:
    from netgain.data.chat import Encoded, Template
    from netgain.models.lm import LM


@dataclass(frozen=True)
class Prepared:
    """What is learned from, what chooses the checkpoint, and what the record says about both."""

    train: "list[Encoded]"
    dev: "list[Encoded]"
    summary: dict[str, Any]


def examples(run: Run, folder: Path | None) -> tuple[list[Example], list[Example], dict[str, Any]]:
    """(training examples, dev examples, summary of the mixture): the same for every arm that shares data and seed."""
    held_out: list[Example] = []
    pools: dict[str, list[Example]] = {}
    for name, source in run.data.sources.items():
        pools[name], dev = split(read(source, folder), run.data.dev, run.seed)
        held_out += dev
    train, mixture = mix(pools, run.data.mixture, run.data.rows, stream(run.seed, "mixture"))
    require_disjoint(train=train, dev=held_out)
    return train, held_out, {"mixture": mixture.to_json()}


def evaluation_examples(run: Run, folder: Path | None) -> Mapping[str, list[Example]]:
    """The rows that each task will measure."""
    return {name: task.examples(folder) for name, task in run.tasks.items()}


def template_of(run: Run, lm: "LM") -> "Template":
    """The one rendering that training and evaluation of a run share."""
    from netgain.data.chat import Template

    return Template(lm.tok, chat=run.model.template == "chat", name=run.model.id)


def prepare(run: Run, template: "Template", folder: Path | None) -> Prepared:
    """Rows as token ids, with everything about them that a reader of the result will want to know."""
    train, dev, summary = examples(run, folder)
    learned = template.encode_all(train, run.data.max_len, run.data.truncate)
    chosen = template.encode_all(dev, run.data.max_len, run.data.truncate)
    summary |= {
        "template": template.fingerprint,
        "train": len(learned.rows),
        "dev": len(chosen.rows),
        "dropped": len(learned.dropped),
        "truncated": learned.cut,
        "tokens": sum(len(row.ids) for row in learned.rows),
        "supervised": sum(sum(row.supervised) for row in learned.rows),
        "overlap": overlap(train=train, dev=dev, **evaluation_examples(run, folder)).to_json(),
    }
    return Prepared(learned.rows, chosen.rows, summary)
