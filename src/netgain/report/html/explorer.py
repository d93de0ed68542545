"""The item explorer's data: every answer of a tuned run beside the base's, or a stated sample when there are many."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from netgain.ledger.items import higher_is_better
from netgain.ledger.prompts import read
from netgain.report.frame import UNTUNED, Frame, Member
from netgain.report.html.markup import visible

BUDGET = 1_500_000
"""Bytes of answers that one file carries; the page stays under 3 MB however large the ledger is."""
LONGEST = 600
"""Characters of one answer; longer ones are cut, and say how long they were."""
QUESTION = 900
"""Characters of one prompt, of which the end matters most: that is where the question stands."""
CHANGED_SHARE = 0.7
"""Of the budget, at most this much goes to answers that changed, so that the unchanged are seen too."""

NAME = 120
"""Characters of an item's name."""

SAME_RIGHT, SAME_WRONG, LOST, GAINED, WORSE, BETTER, EQUAL, MISSING = range(8)
VERDICTS = (
    "right, stays right", "wrong, stays wrong", "right to wrong", "wrong to right",
    "worse", "better", "same", "missing",
)  # fmt: skip
CHANGED = (LOST, GAINED, WORSE, BETTER)


@dataclass(frozen=True)
class Pair:
    """One tuned run beside one base run, on one task: aligned rows of both."""

    arm: str
    versus: str
    seed: int | None
    task: str
    metric: str
    tuned: pa.Table
    base: pa.Table
    verdict: NDArray[np.int8]


def payload(frame: Frame, asked: Sequence[tuple[str, str, str, str]], budget: int = BUDGET) -> dict[str, Any]:
    """The compact JSON of the explorer; `asked` holds (arm, versus, task, metric)."""
    pairs = list(_pairs(frame, asked))
    prompts = _prompts(frame, pairs)
    chosen = _chosen(pairs, prompts, budget)
    counts = [np.bincount(pair.verdict, minlength=len(VERDICTS)).tolist() for pair in pairs]
    rows = [_row(index, pairs[index], at) for index, at in chosen]
    return {
        "verdicts": list(VERDICTS),
        "pairs": [
            {"arm": p.arm, "versus": p.versus, "seed": p.seed, "task": p.task, "metric": p.metric} for p in pairs
        ],
        "counts": counts,
        "total": int(sum(len(pair.verdict) for pair in pairs)),
        "changed": int(sum(np.isin(pair.verdict, CHANGED).sum() for pair in pairs)),
        "rows": rows,
        "prompts": _shown(pairs, prompts, chosen),
        "shown_changed": sum(row[2] in CHANGED for row in rows),
    }


def _pairs(frame: Frame, asked: Sequence[tuple[str, str, str, str]]) -> Iterator[Pair]:
    for arm, versus, task, metric in asked:
        others = {member.seed: member for member in frame.members[versus]}
        for member in frame.members[arm]:
            base = others.get(member.seed) or next(iter(frame.members[versus]), None)
            if base is not None:
                yield from _pair(arm, versus, member, base, task, metric)


def _pair(arm: str, versus: str, member: Member, base: Member, task: str, metric: str) -> Iterator[Pair]:
    left, right = _rows(member, task, metric), _rows(base, task, metric)
    shared = sorted(set(left["item"].to_pylist()) & set(right["item"].to_pylist()))
    if not shared:
        return
    left, right = _aligned(left, shared), _aligned(right, shared)
    binary = metric in member.record["tasks"][task].get("binary", ())
    new = left["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    old = right["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    verdict = _verdicts(new, old, binary, higher_is_better(metric))
    yield Pair(arm, versus, member.seed, task, metric, left, right, verdict)


def _rows(member: Member, task: str, metric: str) -> pa.Table:
    """The first sample of each item at the final checkpoint."""
    import pyarrow.compute as pc

    table = member.items
    wanted = pc.field("task") == task
    wanted &= (pc.field("metric") == metric) & (pc.field("sample") == 0)
    wanted &= pc.field("checkpoint").isin(["final", UNTUNED])
    return table.filter(wanted)


def _aligned(table: pa.Table, shared: Sequence[str]) -> pa.Table:
    place = {item: i for i, item in enumerate(table["item"].to_pylist())}
    return table.take(pa.array([place[item] for item in shared]))


def _verdicts(new: NDArray[np.float64], old: NDArray[np.float64], binary: bool, higher: bool) -> NDArray[np.int8]:
    better, worse = (new > old, new < old) if higher else (new < old, new > old)
    if binary:
        found = np.where(better, GAINED, np.where(worse, LOST, np.where(new > 0, SAME_RIGHT, SAME_WRONG)))
    else:
        found = np.where(better, BETTER, np.where(worse, WORSE, EQUAL))
    return np.where(np.isnan(new) | np.isnan(old), MISSING, found).astype(np.int8)


def _prompts(frame: Frame, pairs: Sequence[Pair]) -> dict[str, dict[str, str]]:
    """task -> item -> what was asked, cut; without the tasks of runs that an older netgain made."""
    found: dict[str, dict[str, str]] = {}
    for pair in pairs:
        for member in frame.members[pair.arm][:1]:
            digest = (member.record.get("prompts") or {}).get(pair.task)
            if digest is not None and pair.task not in found:
                found[pair.task] = {item: _ending(text) for item, text in read(frame.ledger, digest).items()}
    return found


def _shown(
    pairs: Sequence[Pair], prompts: Mapping[str, Mapping[str, str]], chosen: Sequence[tuple[int, int]]
) -> dict[str, dict[str, str]]:
    """The prompts of the rows that the page carries, each once, under the name that the row gives its item."""
    found: dict[str, dict[str, str]] = {}
    for index, at in chosen:
        task, item = pairs[index].task, pairs[index].tuned["item"][at].as_py()
        text = prompts.get(task, {}).get(item)
        if text is not None:
            found.setdefault(task, {})[_cut(item, NAME)] = text
    return found


def _ending(text: str) -> str:
    """The text without its middle when it is long."""
    if len(text) <= QUESTION:
        return visible(text)
    head = QUESTION // 3
    return f"{visible(text[:head])} … ({len(text):,} characters) … {visible(text[head - QUESTION :])}"


def _chosen(pairs: Sequence[Pair], prompts: Mapping[str, Mapping[str, str]], budget: int) -> list[tuple[int, int]]:
    """(pair, row) to show, in the order of the ledger: changed answers first, then a keyed draw of the others."""
    changed: list[tuple[str, int, int]] = []
    others: list[tuple[str, int, int]] = []
    for index, pair in enumerate(pairs):
        is_changed = np.isin(pair.verdict, CHANGED)
        for at, item in enumerate(pair.tuned["item"].to_pylist()):
            key = hashlib.blake2b(f"{index}/{item}".encode("utf-8", "replace"), digest_size=8).hexdigest()
            (changed if is_changed[at] else others).append((key, index, at))
    kept: list[tuple[int, int]] = []
    spent = 0
    asked: set[tuple[str, str]] = set()
    for group, limit in ((sorted(changed), CHANGED_SHARE * budget), (sorted(others), budget)):
        for _, index, at in group:
            name = pairs[index].task, pairs[index].tuned["item"][at].as_py()
            question = "" if name in asked else prompts.get(name[0], {}).get(name[1], "")
            cost = _cost(pairs[index], at) + (len(question.encode()) + len(name[1]) + 8 if question else 0)
            if spent + cost > limit:
                break
            spent += cost
            asked.add(name)
            kept.append((index, at))
    return sorted(kept)


def _cost(pair: Pair, at: int) -> int:
    """Bytes of a row in JSON, closely enough: the texts, twice as much for what is not Latin, and the numbers."""
    texts = (_answer(pair.base, at), _answer(pair.tuned, at), _cut(pair.tuned["label"][at].as_py()))
    names = pair.tuned["item"][at].as_py()
    return 40 + len(names.encode("utf-8", "replace")) + sum(len(t.encode()) for t in texts)


def _row(index: int, pair: Pair, at: int) -> list[Any]:
    return [
        index,
        _cut(pair.tuned["item"][at].as_py(), NAME),
        int(pair.verdict[at]),
        _cut(pair.tuned["label"][at].as_py()),
        _answer(pair.base, at),
        _answer(pair.tuned, at),
        pair.base["value"][at].as_py(),
        pair.tuned["value"][at].as_py(),
    ]


def _answer(table: pa.Table, at: int) -> str:
    """What the model wrote; else what it chose; else why there is nothing."""
    for column in ("output", "prediction"):
        found = table[column][at].as_py()
        if found is not None:
            return _cut(found)
    return _cut(table["reason"][at].as_py())


def _cut(words: str | None, longest: int = LONGEST) -> str:
    if words is None:
        return ""
    seen = visible(words[:longest])
    return seen if len(words) <= longest else f"{seen} … ({len(words):,} characters)"
