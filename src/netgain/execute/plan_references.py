"""What the references of a study will cost, and what of them is on disk: counted without a model or a tokenizer."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.execute.prepare import Rows, reads_of, references_of, rows_of, seen, shown_before
from netgain.execute.teacher_store import Entry, Store, description, row_text
from netgain.ledger.store import Ledger
from netgain.models import embedded
from netgain.objectives.references._base import Reference
from netgain.objectives.references.base import Base
from netgain.objectives.references.model import Model
from netgain.spec.run import BASE, ModelSpec, Run, Runtime
from netgain.spec.study import Planned, Study, planned

CHARACTERS_PER_TOKEN = 4.0
SMOLLM2_WIDTH = 576
KEPT = {"mean": "kept as mean head rows", "hidden": "kept as states", "nll": "kept as likelihoods"}
"""What tells two sets of numbers about the same rows apart."""


@dataclass(frozen=True)
class ReferencePlan:
    """One reference of a study, for all arms and seeds that share it.

    `rows` different training rows, `cached` of which have been read before; `tokens` that it reads and `bytes` that
    its numbers take, both estimated for the rows that have not; `sentence` says so.
    """

    name: str
    kind: str
    keeps: str
    rows: int
    cached: int
    tokens: int
    bytes: int | None
    folder: str
    sentence: str


@dataclass
class _Wanted:
    """Rows of one store, by their text: (ids read, answer ids), estimated from their characters."""

    name: str
    reference: Reference
    store: Store
    width: int | None
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked: int = 0


def planned_references(study: Study, ledger: Ledger) -> Iterator[ReferencePlan]:
    """Every reference that the study's runs compare with, once for each set of numbers that is kept."""
    wanted: dict[str, _Wanted] = {}
    broken: dict[str, ReferencePlan] = {}
    read: dict[str, Rows] = {}
    shown: dict[tuple[str, str], dict[int, tuple[Example, ...]]] = {}
    for each in planned(study):
        if not each.run.method.learns:
            continue
        for name, kept in sorted(reads_of([each.run]).items()):
            reference = {BASE: Base(), **references_of(each.run)}[name]
            try:
                store = _store(each.run, reference, kept, ledger, study.folder)
            except UserError as error:
                waits = any(ledger.run(need).state() != "done" for need in each.needs)
                words = "counted when the run that it rests on is finished." if waits else str(error)
                broken[name] = ReferencePlan(
                    name, reference.kind, kept, 0, 0, 0, None, "", f"reference {name}: {words}"
                )
                continue
            key, rows = _rows(each, study.folder, read)
            found = wanted.setdefault(
                store.path.name, _Wanted(name, reference, store, _width(each.run, reference, kept))
            )
            place = key, reference.model_dump_json()
            if place not in shown:
                shown[place] = shown_before(reference, rows.train, rows.sources, rows.pools, range(len(rows.train)))
            _add(found, each.run, rows, shown[place])
    yield from broken.values()
    plans = [_plan(each, each.store.entries()) for each in wanted.values()]
    alike = Counter(each.sentence for each in plans)
    for each in plans:
        twice = alike[each.sentence] > 1
        yield replace(each, sentence=f"{each.sentence[:-1]}, {KEPT[each.keeps]}.") if twice else each


def _rows(each: Planned, folder: Path | None, read: dict[str, Rows]) -> tuple[str, Rows]:
    """The rows of a run, read once for all runs that share them."""
    run = each.run
    seed = run.seed if run.data.rows is not None else ""
    tasks = {name: task.model_dump_json() for name, task in run.tasks.items()}
    key = f"{run.data.model_dump_json()}{tasks}{seed}"
    if key not in read:
        read[key] = rows_of(run, folder)
    return key, read[key]


def _store(run: Run, reference: Reference, kept: str, ledger: Ledger, folder: Path | None) -> Store:
    """Where the numbers will be; a method that trains the head needs the hidden states."""
    kept = "hidden" if run.method.kind == "full" else kept
    dtype = Runtime().teacher_dtype
    return Store(ledger.root / "teachers", description(run.model, reference, kept, dtype, ledger.root, folder))


def _add(found: _Wanted, run: Run, rows: Rows, shown: dict[int, tuple[Example, ...]]) -> None:
    found.asked = max(found.asked, run.optim.steps * run.optim.batch)
    for i in seen([run], len(rows.train)):
        example = rows.train[i]
        text = row_text(example, shown[i], run.data)
        if text not in found.rows:
            read = sum(_characters(each) for each in (*shown[i], example))
            found.rows[text] = (_tokens(read), _tokens(len(example.answer)) + 1)


def _plan(found: _Wanted, entries: Mapping[str, Entry]) -> ReferencePlan:
    there = [entries[text] for text in found.rows if text in entries]
    left = [size for text, size in found.rows.items() if text not in entries]
    tokens = sum(entry.read for entry in there) + sum(read for read, _ in left)
    answers = sum(entry.count for entry in there) + sum(answer for _, answer in left)
    size = None if found.width is None else answers * (found.width + 2) * 4
    about = "about " if left else ""
    words = [
        f"reference {found.name} ({_words(found.reference)}): {len(found.rows):,} rows",
        f"{about}{tokens:,} tokens to read",
        "size unknown before its model is here" if size is None else f"{about}{size / 1e6:,.1f} MB on disk",
        f"{len(there):,} rows cached" if left else "all of it cached, so it costs nothing more",
    ]
    if isinstance(found.reference, Base) and left and found.asked < len(found.rows):
        words.append("asked at each step, since no run sees every row")
    return ReferencePlan(
        name=found.name,
        kind=found.reference.kind,
        keeps=found.store.described["kept"],
        rows=len(found.rows),
        cached=len(there),
        tokens=tokens,
        bytes=size,
        folder=found.store.path.name,
        sentence=", ".join(words) + ".",
    )


def _words(reference: Reference) -> str:
    fields = reference.model_dump(exclude={"kind"}, exclude_defaults=True)
    told = [f"{name} {value['id'] if isinstance(value, dict) else value}" for name, value in fields.items()]
    return ", ".join([reference.kind, *told])


def _characters(example: Example) -> int:
    return sum(len(turn.text) for turn in example.turns) + len(example.answer)


def _tokens(characters: int) -> int:
    return max(1, round(characters / CHARACTERS_PER_TOKEN))


def _width(run: Run, reference: Reference, kept: str) -> int | None:
    """H of the numbers: the student's for E_p[W], the reference's own for its hidden states."""
    other = isinstance(reference, Model) and kept == "hidden"
    return hidden_size(reference.model if other and isinstance(reference, Model) else run.model)


def hidden_size(model: ModelSpec) -> int | None:
    """H as the model's config says it; None when the config is not on this machine."""
    if model.id == "smollm2":
        return SMOLLM2_WIDTH
    if model.id.startswith("config:"):
        return _width_in(model.config)
    place = embedded.path(model.id) if model.id in embedded.TINY else Path(model.id).expanduser()
    file = place / "config.json"
    if not file.exists():
        file = _downloaded(model)
    return _width_in(json.loads(file.read_text(encoding="utf-8"))) if file is not None else None


def _downloaded(model: ModelSpec) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if model.id.count("/") != 1 or Path(model.id).exists():
        return None
    found = try_to_load_from_cache(model.id, "config.json", revision=model.revision)
    return Path(found) if isinstance(found, str) else None


def _width_in(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config", config)
    return text.get("hidden_size", text.get("n_embd"))
