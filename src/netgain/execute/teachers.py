"""References at work: their numbers about the training rows computed once, kept on disk, and read while training.

What is kept of each answer token: -log p(y), and either `mean` E_p[W] (H) with `entropy_term` sum_v p_v log p_v, which
is all that a forward KL needs of a full-vocabulary teacher when the student's head W is frozen, or `hidden` (H), the
state that the reference's own head reads. The base can also be asked anew at each step, and is when that is cheaper.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from netgain.data.chat import Encoded, Template
from netgain.data.source import digest
from netgain.data.view import Autoregressive, View
from netgain.errors import UserError
from netgain.execute.along import Along
from netgain.execute.prepare import Prepared, reads_of, references_of, seen, shown_before, teacher_rows
from netgain.execute.teacher_store import Entry, Store, description, ids_sum, notes, row_text, verified
from netgain.ledger.claims import Vigil
from netgain.measure.batches import in_batches
from netgain.models.lm import LM, Head
from netgain.models.score import log_probs
from netgain.objectives.linear import fusable, judged
from netgain.objectives.references._base import Host, Reference
from netgain.objectives.references.base import Base
from netgain.objectives.term import Reading
from netgain.report.words import seconds
from netgain.spec.identity import essence
from netgain.spec.run import BASE, Run, Runtime
from netgain.training.arms import Reference as Reader
from netgain.training.arms import Student, base_reference

Kept = Literal["mean", "hidden", "nll"]
Progress = Callable[[int, int, str], object]
"""(rows done, rows in all, words)."""

UNIT_ROWS, UNIT_NUMBERS = 128, 32_000_000
"""A piece of work: what is lost when a process is killed, and what two processes share out."""

TOKENS = {"cpu": 4096, "cuda": 131_072}
"""Tokens that a reference reads in one pass, before memory says otherwise."""

COMPARED = 128
"""Rows on which a reference and the untrained student are compared for the record."""

POLL_SECONDS = 0.5


class References(dict[str, Reader]):
    """Who answers under which name, and what the record says about each."""

    def __init__(self) -> None:
        super().__init__()
        self.summary: dict[str, dict[str, Any]] = {}


@torch.no_grad()
def references_for(
    runs: Run | Sequence[Run],
    student: Student,
    prepared: Prepared,
    lm: LM,
    template: Template,
    study_folder: Path | None,
    cache: Path,
    progress: Progress,
    runtime: Runtime | None = None,
) -> References:
    """The references of one run, or of the runs of one pack, which differ in weights and seeds of the optimiser only.

    `cache` is LEDGER/teachers. Returned readers find a View's rows by `view.origin`; "base" also takes rows that are
    no training rows.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    office = Office(runs, student, prepared, lm, template, study_folder, cache, progress, runtime or Runtime())
    found = References()
    live = found[BASE] = base_reference(student)
    declared = {BASE: Base(), **references_of(runs[0])}
    for name, kept in sorted(reads_of(runs).items()):
        if not lm.causal:
            found[name], found.summary[name] = office.along(name, declared[name], live)
            continue
        desk = office.desk(name, declared[name], kept if fusable(student.lm.head) else "hidden")
        if isinstance(desk.reference, Base) and (why := lm.holders.told(partial(office.better_asked, desk))):
            found[name], found.summary[name] = live, {"kind": BASE, "cached": False, "why": why}
            continue
        desk.complete()
        found[name] = desk.reader(live if name == BASE else None)
        found.summary[name] = {**desk.facts(), **office.quality(desk)}
    return found


@dataclass
class Office:
    """What all references of a run share."""

    runs: Sequence[Run]
    student: Student
    prepared: Prepared
    lm: LM
    template: Template
    folder: Path | None
    cache: Path
    progress: Progress
    runtime: Runtime

    def __post_init__(self) -> None:
        self.host = Host(self.lm, self.student.off, self.cache.parent, self.folder)
        self.wanted = seen(self.runs, len(self.prepared.train.rows))

    def along(self, name: str, reference: Reference, live: Reader) -> tuple[Reader, dict[str, Any]]:
        """A reference that answers at every step, and what the record says of it."""
        prompts: dict[int, list[int]] = {}
        if not isinstance(reference, Base):
            rows = teacher_rows(name, reference, self.prepared, self.template, self.wanted)
            prompts = {i: row.ids[: -len(row.answer)] for i, row in zip(self.wanted, rows, strict=True)}
        made = Along(reference, self.host, prompts)
        return (live if name == BASE else made.read), made.facts()

    def better_asked(self, desk: "Desk") -> str:
        """Why the base is asked at each step rather than once about each row; empty when it is not.

        Once is cheaper from the first full epoch on, and a run that repeats it for another arm or seed pays nothing.
        """
        rows, asked = len(self.prepared.train.rows), max(run.optim.steps * run.optim.batch for run in self.runs)
        if not desk.missing(self.wanted):
            return ""
        if asked < rows:
            return f"{asked:,} rows are read in all, of {rows:,}: less than one epoch"
        needed, free = desk.needed(), _free(self.cache)
        return f"its numbers would take {needed:,} bytes, and {free:,} are free" if needed > free // 4 else ""

    def desk(self, name: str, reference: Reference, kept: Kept) -> "Desk":
        """One reference's work; the base's -log p is kept in float32 whatever the rest is kept in."""
        dtype = "float32" if kept == "nll" else self.runtime.teacher_dtype
        told = description(self.runs[0].model, reference, kept, dtype, self.cache.parent, self.folder)
        return Desk(self, name, reference, kept, Store(self.cache, told))

    def quality(self, desk: "Desk") -> dict[str, Any]:
        """-log p(y) per token of the reference, and of the student before it learns, on the same training rows."""
        rows = self.wanted[:COMPARED]
        untrained = self.desk("the untrained student", Base(), "nll")
        if not isinstance(desk.reference, Base):
            untrained.complete(rows)
        own = torch.tensor([on for i in rows for on in _content(self.prepared.train.rows[i])])
        found: dict[str, Any] = {"compared": len(rows)}
        for prefix, each in (("", desk), ("student_", desk if isinstance(desk.reference, Base) else untrained)):
            nll = each.tensors(rows)["nll"].double()
            found[f"{prefix}ce"], found[f"{prefix}ce_content"] = float(nll.mean()), float(nll[own].mean())
        return found


class Desk:
    """One reference: which of its numbers are there, how the others are made, and how they are read."""

    def __init__(self, office: Office, name: str, reference: Reference, kept: Kept, store: Store) -> None:
        self.office, self.name, self.reference, self.kept, self.store = office, name, reference, kept, store
        self.fingerprint = office.template.fingerprint
        data, prepared = office.runs[0].data, office.prepared
        shown = shown_before(reference, prepared.examples, prepared.sources, prepared.pools, office.wanted)
        self.texts = {i: row_text(prepared.examples[i], shown[i], data) for i in office.wanted}
        self.answers = {i: prepared.train.rows[i].answer for i in office.wanted}
        self._sums = {i: ids_sum(answer) for i, answer in self.answers.items()}
        self._open: dict[Path, dict[str, Tensor]] = {}
        self._vigil = Vigil(office.runtime.claim_seconds)

    # ---- computing
    def places(self) -> dict[int, Entry]:
        """Where the numbers of each row are; a row whose answer is tokenised otherwise now is not there."""
        entries = self.store.entries(self.fingerprint)
        found = ((i, entries.get(text)) for i, text in self.texts.items())
        return {i: entry for i, entry in found if entry and entry.answer == self._sums[i]}

    def complete(self, rows: Sequence[int] | None = None) -> None:
        """Compute what is missing. Other processes may be at it: each takes a piece that nobody holds."""
        rows = self.office.wanted if rows is None else rows
        # Processes that hold the base together make the same passes: the first one says what is left.
        told = self.office.lm.holders.told
        before, start = told(lambda: self.missing(rows)), time.monotonic()
        if not before:
            return
        if (needed := self.needed()) > (free := _free(self.store.path)):
            raise UserError(
                f"{self.store.path}: the numbers of references.{self.name} take {needed:,} bytes and {free:,} are "
                "free; free some space, or learn from fewer rows."
            )
        with self.reference.lm(self.office.host) as lm:
            while left := told(lambda: set(self.missing(rows))):
                busy = False
                for unit in self._units(rows):
                    if not left.isdisjoint(unit):
                        busy = not self._piece(lm, unit) or busy
                        self._tell(rows, len(before), start)
                if busy:
                    time.sleep(POLL_SECONDS)

    def _piece(self, lm: LM, unit: list[int]) -> bool:
        """Compute what is missing of a piece of the work; False when another process is at it."""
        holders = self.office.lm.holders
        with ExitStack() as held:
            name = digest(*(self.texts[i] for i in unit))
            mine = holders.told(lambda: held.enter_context(self.store.claim(name, self._vigil)))
            if mine and (todo := holders.told(lambda: self.missing(unit))):
                self._compute(lm, todo)
            return mine

    def _tell(self, rows: Sequence[int], before: int, start: float) -> None:
        """Say how far the work is, and when it will be done."""
        left, total = len(self.missing(rows)), len(rows)
        made = before - left
        rest = f", {seconds((time.monotonic() - start) * left / made)} left" if made else ""
        self.office.progress(total - left, total, f"{self.name}: {total - left:,} of {total:,} rows read{rest}")

    def missing(self, rows: Sequence[int]) -> list[int]:
        """The rows that nobody has computed yet."""
        there = self.places()
        return [i for i in rows if i not in there]

    def needed(self) -> int:
        """The bytes that the missing rows will take."""
        width = 1 if self.kept == "nll" else self.office.lm.head.weight.shape[1] + 2
        size = 2 if self.store.described["dtype"] == "bfloat16" else 4
        return sum(len(self.answers[i]) for i in self.missing(self.office.wanted)) * width * size

    def _units(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """The rows in pieces, longest first; the same pieces for everyone who wants the same rows."""
        length = {i: len(self.office.prepared.train.rows[i].ids) for i in rows}
        width = 1 if self.kept == "nll" else self.office.lm.head.weight.shape[1]
        unit: list[int] = []
        for i in sorted(rows, key=lambda i: (-length[i], i)):
            unit.append(i)
            if len(unit) == UNIT_ROWS or sum(len(self.answers[j]) for j in unit) * width > UNIT_NUMBERS:
                yield unit
                unit = []
        if unit:
            yield unit

    def _compute(self, lm: LM, wanted: list[int]) -> None:
        """Read some rows in batches of like length, and keep the numbers; a batch that is too large is halved."""
        office = self.office
        rows = teacher_rows(self.name, self.reference, office.prepared, office.template, wanted)
        self._check_lengths(lm, rows)
        lengths = [len(row.ids) for row in rows]
        width = max(1, min(UNIT_ROWS, TOKENS.get(lm.device.type, TOKENS["cpu"]) // max(lengths)))
        read = partial(self._read, lm, rows)
        made = in_batches(lengths, width, read, release=partial(_release, lm), progress=lambda _: None)
        for row, answer in zip(rows, made, strict=True):
            if answer.value is None:
                raise UserError(
                    f'references.{self.name}: row "{row.id}" takes {len(row.ids):,} tokens and does not fit in memory; '
                    "show fewer demonstrations."
                )
        if not office.lm.holders.first:
            return
        values = [answer.value for answer in made if answer.value is not None]
        tensors = {name: torch.cat([value[name] for value in values]).contiguous() for name in values[0]}
        known = [
            (self.texts[i], ids_sum(row.ids, row.answer), ids_sum(row.answer), len(row.ids), len(row.answer))
            for i, row in zip(wanted, rows, strict=True)
        ]
        self._keep_head(lm)
        self.store.add(self.fingerprint, known, save(tensors))

    def _check_lengths(self, lm: LM, rows: Sequence[Encoded]) -> None:
        longest = max(rows, key=lambda row: len(row.ids))
        if lm.max_positions is not None and len(longest.ids) > lm.max_positions:
            raise UserError(
                f'references.{self.name}: row "{longest.id}" takes {len(longest.ids):,} tokens with what is shown '
                f"before it, and {lm.name} has {lm.max_positions:,} positions; show fewer demonstrations."
            )

    def _read(self, lm: LM, rows: Sequence[Encoded], batch: list[int]) -> list[dict[str, Tensor]]:
        """The numbers of some rows, on the host."""
        view = Autoregressive().view([rows[i] for i in batch], lm.pad_id, torch.Generator()).to(lm.device)
        states = lm.hidden(view)[view.scored]
        made = self._numbers(lm.head, states, view.targets)
        counts = [len(rows[i].answer) for i in batch]
        parts = {name: tensor.cpu().split(counts) for name, tensor in made.items()}
        return [{name: part[j] for name, part in parts.items()} for j in range(len(batch))]

    def _numbers(self, head: Head, states: Tensor, targets: Tensor) -> dict[str, Tensor]:
        small = torch.bfloat16 if self.office.runtime.teacher_dtype == "bfloat16" else None
        chunk = self.office.runtime.chunk
        if self.kept == "mean":
            mean, entropy_term, nll = judged(Reading(states, head), self.office.lm.head, targets, chunk)
            return {"mean": mean.to(small or mean.dtype), "entropy_term": entropy_term, "nll": nll}
        nll = -log_probs(head, states, torch.arange(len(states), device=states.device), targets, chunk)
        return {"nll": nll} | ({"hidden": states.to(small or states.dtype)} if self.kept == "hidden" else {})

    def _keep_head(self, lm: LM) -> None:
        """The head that reads another model's states: without it they mean nothing."""
        if self.kept != "hidden" or self.reference.own or (self.store.path / "head.json").exists():
            return
        head = lm.head
        tensors = {"weight": head.weight} | ({} if head.bias is None else {"bias": head.bias})
        content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        self.store.keep("head", content, {"scale": head.scale, "softcap": head.softcap})

    # ---- reading
    def tensors(self, rows: Sequence[int], places: Mapping[int, Entry] | None = None) -> dict[str, Tensor]:
        """The numbers of some rows, joined, on the host."""
        places = places or self.places()
        parts: dict[str, list[Tensor]] = {}
        for entry in (places[i] for i in rows):
            for name, tensor in self._file(entry.file).items():
                parts.setdefault(name, []).append(tensor[entry.start : entry.start + entry.count])
        return {name: torch.cat(found) for name, found in parts.items()}

    def _file(self, file: Path) -> dict[str, Tensor]:
        """The tensors of a file, mapped: only what is read of them comes into memory."""
        if file not in self._open:
            with safe_open(verified(file), framework="pt") as opened:
                self._open[file] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return self._open[file]

    def reader(self, elsewhere: Reader | None) -> Reader:
        """View -> Reading, by the rows' origin; rows that are no training rows go `elsewhere`."""
        places = self.places()
        for file in sorted({entry.file for entry in places.values()}):
            self._file(file)
        answers = {i: torch.tensor(answer) for i, answer in self.answers.items()}
        head = self._head()

        def read(view: View) -> Reading:
            origin = view.origin.tolist()
            if not answers.keys() >= set(origin):
                if elsewhere is None:
                    raise ValueError(f"the reference {self.name} knows the training rows of its run only")
                return elsewhere(view)
            targets = torch.cat([answers[i] for i in origin])
            if not targets.equal(view.targets.cpu()):
                raise ValueError(f"the reference {self.name} was read with other answers than the View has")
            found = {name: tensor.to(view.targets.device) for name, tensor in self.tensors(origin, places).items()}
            if self.kept == "mean":
                return Reading(None, head(), found["mean"].float(), found["entropy_term"], found["nll"])
            return Reading(found["hidden"], head(), nll=found["nll"])

        return read

    def _head(self) -> Callable[[], Head]:
        if self.reference.own and self.office.lm.head.trainable:
            return partial(_base_head, self.office.lm, self.office.student.off)
        if self.reference.own or self.kept == "mean":
            frozen = self.office.lm.head
            return lambda: frozen
        file = self.store.path / "head.safetensors"
        with safe_open(verified(file), framework="pt") as opened:
            found = {name: opened.get_tensor(name).to(self.office.lm.device) for name in opened.keys()}  # noqa: SIM118
        said = notes(file)
        head = Head(found["weight"], found.get("bias"), said["scale"], said["softcap"])
        return lambda: head

    def facts(self) -> dict[str, Any]:
        """What the record says: how much was read, and what is kept of it."""
        places = self.places()
        return {
            **essence(self.reference),
            "shots": getattr(self.reference, "shots", 0),
            "cached": True,
            "keeps": self.kept,
            "rows": len(places),
            "tokens": sum(entry.read for entry in places.values()),
            "answer_tokens": sum(entry.count for entry in places.values()),
            "bytes": self.store.size(),
            "dtype": self.store.described["dtype"],
            "folder": self.store.path.name,
        }


def _base_head(lm: LM, off: Callable[[], AbstractContextManager[None]]) -> Head:
    """The base's head, as it is while the adapters are off."""
    with off():
        head = lm.head
        return replace(head, weight=head.weight.detach(), bias=None if head.bias is None else head.bias.detach())


def _content(row: Encoded) -> list[bool]:
    """Which of the answer's ids are its own text."""
    return [own for own, on in zip(row.content, row.supervised, strict=True) if on]


def _free(folder: Path) -> int:
    """Bytes that are free where a folder is or will be."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def _release(lm: LM) -> None:
    if lm.device.type == "cuda":
        torch.cuda.empty_cache()
