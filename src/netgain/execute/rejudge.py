"""Judging again, and side by side: from the answers in sealed rows, without writing one of them anew.

LEDGER/judged/<sig>/<task>-<judge>-<checkpoint>.parquet has the rows of a later judge, in the schema of items.parquet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.judges._base import Bench, Case, Judge
from netgain.judges.endpoint import Endpoint, Preference
from netgain.ledger.files import write_bytes
from netgain.ledger.items import Item, read, table
from netgain.ledger.store import RunFolder
from netgain.spec.plugin import TaskPlugin
from netgain.stats.judge import SwapConsistency, swap_consistency
from netgain.tasks._dialogue import FINISHED, Dialogue, item_id, references


@dataclass(frozen=True, slots=True)
class Versus:
    """Which of two runs' answers a judge prefers. `swap` says whether the judge keeps to its word."""

    preferences: tuple[tuple[str, Preference], ...]
    swap: SwapConsistency | None
    missing: int

    @property
    def share(self) -> float | None:
        """Mean over the pairs with both verdicts: 1 where the first run won both times, 1/2 for ties."""
        values = [each.value for _, each in self.preferences if each.value is not None]
        return sum(values) / len(values) if values else None


def answers(run: RunFolder, task: str, checkpoint: str, folder: Path | None) -> list[tuple[Item, Case]]:
    """Every answer of a task at a checkpoint with the conversation that it stands in, as it was sealed."""
    asked = _dialogue(run, task)
    rows = [
        item
        for item in read(run.items())
        if item.task == task and item.metric == FINISHED and item.checkpoint in (checkpoint, "base")
    ]
    said = {(row.item, row.sample): row.output for row in rows}
    places = {item_id(e, t): (e, t) for e in asked.examples(folder) for t in range(1, len(e.turns) + 1)}
    found: list[tuple[Item, Case]] = []
    for row in rows:
        if row.item not in places:
            raise UserError(f"{run.path}: {task} no longer has the question {row.item}; restore its question file.")
        example, turn = places[row.item]
        earlier = [said[item_id(example, t), row.sample] for t in range(1, turn)]
        if row.output is None or any(text is None for text in earlier):
            continue
        turns = [Turn("user", example.turns[0].text)]
        for text, question in zip(earlier, example.turns[1:turn], strict=True):
            turns += [Turn("assistant", text or ""), Turn("user", question.text)]
        case = Case(
            id=f"{row.item}/{row.sample}",
            turns=tuple(turns),
            answer=row.output,
            references=references(example)[:turn],
            category=example.meta["category"],
        )
        found.append((row, case))
    return found


def rejudge(run: RunFolder, task: str, name: str, judge: Judge, bench: Bench, checkpoint: str = "final") -> list[Item]:
    """Rate a finished run's answers by another judge, and keep the rows beside the ledger's runs."""
    judge.ready(bench.folder)
    found = answers(run, task, checkpoint, bench.folder)
    if not found:
        raise UserError(f"{run.path}: no answers of {task} at checkpoint {checkpoint}.")
    ratings = judge.rate([case for _, case in found], bench)
    rows = [
        replace(item, metric=name, value=rating.value, reason=rating.reason, sample=item.sample * judge.repeats + r)
        for (item, _), given in zip(found, ratings, strict=True)
        for r, rating in enumerate(given)
    ]
    place = run.ledger.root / "judged" / run.sig / f"{task}-{name}-{checkpoint}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(table(rows, run.sig), sink, compression="zstd")
    write_bytes(place, sink.getvalue().to_pybytes())
    return rows


def head_to_head(
    tuned: RunFolder, base: RunFolder, task: str, judge: Endpoint, bench: Bench, checkpoint: str = "final"
) -> Versus:
    """Ask a judge, in both orders, which of two runs answered better: A is `tuned`, B is `base`."""
    judge.ready(bench.folder)
    ours, theirs = (
        {case.id: case for _, case in answers(run, task, checkpoint, bench.folder)} for run in (tuned, base)
    )
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UserError(f"{tuned.sig} and {base.sig} have no answer to the same question of {task}.")
    given = judge.prefer([(ours[name], theirs[name]) for name in shared], bench)
    return Versus(tuple(zip(shared, given, strict=True)), _swap(given), sum(each.value is None for each in given))


def _swap(given: Sequence[Preference]) -> SwapConsistency | None:
    both = [(each.a_first, each.b_first) for each in given if each.a_first is not None and each.b_first is not None]
    return swap_consistency([a for a, _ in both], [b for _, b in both]) if both else None


def _dialogue(run: RunFolder, name: str) -> Dialogue:
    run.verified("spec.json")
    tasks = run.json("spec.json")["run"]["tasks"]
    if name not in tasks:
        raise UserError(f'{run.path}: has no task "{name}"; it has {", ".join(tasks)}.')
    task = TaskPlugin.parse(tasks[name])
    if not isinstance(task, Dialogue):
        raise UserError(f'{run.path}: task "{name}" asks no open questions, so there is nothing to judge.')
    return task
