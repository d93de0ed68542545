"""Two sides brought onto the same items: (task, metric, item, sample) matched by code, never row by row.

Nothing is dropped silently: items that one side (or one seed) lacks, and items of one id that are not the same
document, label or prompt, are an error that shows examples, or, when partial pairing was asked for, a sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from netgain.errors import UserError
from netgain.interop.find import Side
from netgain.interop.samples import codes, column_codes

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
EXAMPLES = 3
NULL = -1


@dataclass(frozen=True, slots=True)
class Difference:
    """Why some items cannot be paired: how many, and the first few."""

    what: str
    count: int
    examples: tuple[str, ...]

    def sentence(self) -> str:
        return f"{self.count} {self.what} (such as {', '.join(self.examples)})"


@dataclass(frozen=True, slots=True)
class Paired:
    """One metric of one task: base (R, n) and tuned (S, n) over the same n (item, sample) units; NaN is missing."""

    task: str
    metric: str
    base: Floats
    tuned: Floats
    items: pa.Array
    weights: Floats | None
    clusters: Index | None
    base_rows: Index
    """(n,) the unit's row in the base side's table, first run; likewise `tuned_rows`."""
    tuned_rows: Index
    paired_seeds: bool
    samples: int
    """Most samples that an item has."""
    dropped: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """One side's rows as numbers; codes are shared by both sides."""

    group: Index
    unit: Index
    run: Index
    value: Floats
    weight: Floats
    identity: dict[str, Index]
    cluster: Index
    seeds: tuple[int | None, ...]


def pair(
    base: Side, tuned: Side, *, tasks: Sequence[str] = (), metric: str | None = None, partial: bool = False,
    any_prompt: bool = False,
) -> tuple[list[Paired], tuple[str, ...]]:  # fmt: skip
    """(every task and metric of the two sides in the order of the base's rows, what was dropped in sentences)."""
    both = pa.concat_tables([base.rows.select(SHARED), tuned.rows.select(SHARED)])
    cut = base.rows.num_rows
    group, unit = codes(both, ("task", "metric")), codes(both, ("item", "sample"))
    names = group_names(both, group)
    chosen = [g for g, (task, name) in names.items() if (not tasks or task in tasks) and matches(name, metric)]
    if not chosen:
        listed = ", ".join(sorted({f"{task}/{name}" for task, name in names.values()})[:12])
        raise UserError(f"nothing to compare under that task or metric; there is {listed}.")
    here, there = set(group[:cut].tolist()), set(group[cut:].tolist())
    if not any(g in here and g in there for g in chosen):
        titles = [", ".join("/".join(names[g]) for g in chosen if g in found)[:200] for found in (here, there)]
        raise UserError(
            f"{base.name} and {tuned.name} share no task and metric: the first has {titles[0] or 'none of those'}, the "
            f"second {titles[1] or 'none of those'}."
        )
    halves = [
        columns(rows, group[part], unit[part], both, part, any_prompt)
        for rows, part in ((base.rows, slice(0, cut)), (tuned.rows, slice(cut, None)))
    ]
    item, _ = column_codes(both["item"])
    matcher = Matcher(both, unit, item, (base.name, tuned.name), cut, halves, partial)
    made = [each for each in (matcher.match(g, *names[g]) for g in chosen) if each is not None]
    if matcher.problems and not partial:
        text = " ".join(matcher.problems[:4])
        prompts = ", or accept the prompts with --any-prompt" if IDENTITY["prompt"] in text else ""
        raise UserError(
            f"{base.name} and {tuned.name} do not hold the same items. {text} Measure both on the same items, or "
            f"compare the shared ones with --allow-partial{prompts}."
        )
    if not made:
        raise UserError(f"{base.name} and {tuned.name} share no items. {' '.join(matcher.problems[:4])}")
    return made, tuple(matcher.problems)


SHARED = ["task", "metric", "item", "sample", "label", "document", "prompt", "cluster"]
IDENTITY = {"document": "with another document", "label": "with another label", "prompt": "under another prompt"}


def matches(name: str, metric: str | None) -> bool:
    """`first-number:exact_match` is asked for by its whole name or by what follows the filter."""
    return metric is None or name == metric or name.rpartition(":")[2] == metric


def group_names(both: pa.Table, group: Index) -> dict[int, tuple[str, str]]:
    """Code -> (task, metric), in order of appearance."""
    first = np.sort(np.unique(group, return_index=True)[1])
    taken = both.select(["task", "metric"]).take(pa.array(first)).to_pylist()
    return {int(group[i]): (row["task"], row["metric"]) for i, row in zip(first, taken, strict=True)}


def columns(rows: pa.Table, group: Index, unit: Index, both: pa.Table, part: slice, any_prompt: bool) -> Columns:
    """The numbers of one side."""
    run, _ = column_codes(rows["run"])
    first = np.unique(run, return_index=True)[1]
    seeds = rows["seed"].take(pa.array(first)).to_pylist()
    identity = {
        name: valid_codes(both[name])[part]
        for name in IDENTITY
        if both[name].null_count < len(both[name]) and not (any_prompt and name == "prompt")
    }
    return Columns(
        group,
        unit,
        run,
        rows["value"].to_numpy().astype(np.float64, copy=False),
        rows["weight"].to_numpy(),
        identity,
        valid_codes(both["cluster"])[part],
        tuple(seeds),
    )


def valid_codes(column: pa.ChunkedArray) -> Index:
    """Codes of a column, -1 where it is null."""
    if column.null_count == len(column):
        return np.full(len(column), NULL)
    found, _ = column_codes(column)
    if column.null_count:
        found = np.where(column.is_valid().to_numpy(), found, NULL)
    return found


class Matcher:
    """Matches group after group and remembers what did not match."""

    def __init__(
        self, both: pa.Table, unit: Index, item: Index, names: tuple[str, str], cut: int, halves: list[Columns],
        partial: bool,
    ) -> None:  # fmt: skip
        self.both, self.item, self.names, self.cut, self.halves, self.partial = both, item, names, cut, halves, partial
        self.place = np.full(int(unit.max()) + 1 if unit.size else 1, NULL)
        self.problems: list[str] = []

    def match(self, group: int, task: str, metric: str) -> Paired | None:
        """The pairing of one task and metric; None when nothing is left of it."""
        title = f"{task}/{metric}"
        inside = [np.flatnonzero(half.group == group) for half in self.halves]
        for name, other, rows in zip(self.names, self.names[::-1], inside, strict=True):
            if not rows.size:
                self.problems.append(f"{title} is in {other} only, not in {name}.")
                return None
        present = np.zeros(self.place.size, dtype=bool)
        for half, rows in zip(self.halves, inside, strict=True):
            present[half.unit[rows]] = True
        units = np.flatnonzero(present)
        self.place[units] = np.arange(units.size)
        tables = [self.lay(i, rows, units.size, title) for i, rows in enumerate(inside)]
        labels = self.item_names(tables)
        kept, dropped = self.shared(tables, labels)
        if dropped:
            self.problems.append(f"{title}: {'; '.join(each.sentence() for each in dropped)}.")
            if not self.partial:
                return None
        if not kept.any():
            return None
        return self.finish(task, metric, [table[:, kept] for table in tables], dropped)

    def lay(self, side: int, rows: Index, count: int, title: str) -> Index:
        """(runs, units) -> row, -1 where the run lacks the unit."""
        half = self.halves[side]
        table = np.full((len(half.seeds), count), NULL)
        which = half.run[rows]
        spot = self.place[half.unit[rows]]
        table[which, spot] = rows
        if np.count_nonzero(table != NULL) < rows.size:
            lost = rows[table[which, spot] != rows][0]
            item = self.both["item"][int(lost) + side * self.cut].as_py()
            raise UserError(
                f"{self.names[side]}: {title} has item {item} more than once in one run; say which column tells the "
                "repeats apart (sample, seed, arm)."
            )
        return self.complete(side, table, title)

    def complete(self, side: int, table: Index, title: str) -> Index:
        """The runs that measured this at all, in order of seed; a run that did not is a problem."""
        lacking = (table == NULL).all(axis=1)
        if lacking.any():
            self.problems.append(f"{title}: {int(lacking.sum())} of {lacking.size} runs of {self.names[side]} lack it.")
        order = sorted(np.flatnonzero(~lacking).tolist(), key=lambda run: seed_key(self.halves[side].seeds[run]))
        return table[order]

    def item_names(self, tables: list[Index]) -> Index:
        """(units,) a row of `both` that carries each unit's item id."""
        row = np.full(tables[0].shape[1], NULL)
        for offset, table in zip((0, self.cut), tables, strict=True):
            for run in table:
                row = np.where((row == NULL) & (run != NULL), run + offset, row)
        return row

    def shared(self, tables: list[Index], where: Index) -> tuple[NDArray[np.bool_], tuple[Difference, ...]]:
        """(units to keep, why the others go)."""
        whole = [(table != NULL).all(axis=0) for table in tables]
        some = [(table != NULL).any(axis=0) for table in tables]
        found: list[Difference] = []
        for i, (name, other) in enumerate(zip(self.names, self.names[::-1], strict=True)):
            self.note(found, some[i] & ~some[1 - i], f"only in {name}, not in {other}", where)
            self.note(found, some[i] & ~whole[i], f"in some runs of {name} only", where)
        kept = whole[0] & whole[1]
        for name, words in IDENTITY.items():
            differs = kept & self.differs(name, tables)
            self.note(found, differs, f"of the same id {words}", where)
            kept = kept & ~differs
        return kept, tuple(found)

    def differs(self, name: str, tables: list[Index]) -> NDArray[np.bool_]:
        """(units,) does any run know another `name` than the first run that knows one?"""
        out = np.zeros(tables[0].shape[1], dtype=bool)
        reference = np.full(tables[0].shape[1], NULL)
        for half, table in zip(self.halves, tables, strict=True):
            if name not in half.identity:
                continue
            for run in table:
                mine = np.where(run == NULL, NULL, half.identity[name][run])
                out |= (reference != NULL) & (mine != NULL) & (reference != mine)
                reference = np.where(reference == NULL, mine, reference)
        return out

    def note(self, found: list[Difference], mask: NDArray[np.bool_], what: str, where: Index) -> None:
        if mask.any():
            rows = where[np.flatnonzero(mask)[:EXAMPLES]]
            found.append(Difference(what, int(mask.sum()), tuple(self.both["item"].take(pa.array(rows)).to_pylist())))

    def finish(self, task: str, metric: str, tables: list[Index], dropped: tuple[Difference, ...]) -> Paired:
        """Values, weights and clusters of the kept units."""
        base, tuned = (half.value[table] for half, table in zip(self.halves, tables, strict=True))
        weights = [half.weight[table[0]] for half, table in zip(self.halves, tables, strict=True)]
        if not np.allclose(weights[0], weights[1], rtol=1e-6):
            raise UserError(
                f"{task}/{metric}: the two sides weigh the same items differently (another tokenizer?), so their means "
                "are not comparable; compare a metric per word, byte or item."
            )
        item = self.item[tables[0][0]]
        samples = int(np.bincount(np.unique(item, return_inverse=True)[1]).max())
        weight = weights[0]
        return Paired(
            task=task,
            metric=metric,
            base=base,
            tuned=tuned,
            items=self.both["item"].take(pa.array(tables[0][0])).combine_chunks(),
            weights=weight if np.ptp(weight) > 0 else None,
            clusters=self.clusters(tables, item),
            base_rows=tables[0][0],
            tuned_rows=tables[1][0],
            paired_seeds=self.same_seeds(tables),
            samples=samples,
            dropped=dropped,
        )

    def clusters(self, tables: list[Index], item: Index) -> Index | None:
        """(units,) codes of what is independent: the clusters of the first side that has any, else items of several
        samples; an item without a cluster is its own.
        """
        owner = item
        for half, table in zip(self.halves, tables, strict=True):
            mine = half.cluster[table[0]]
            if (mine != NULL).any():
                owner = np.where(mine == NULL, item + int(mine.max()) + 1, mine)
                break
        return owner if np.unique(owner).size < owner.size else None

    def same_seeds(self, tables: list[Index]) -> bool:
        """Do both sides hold the same seeds, each once?"""
        known = [
            [half.seeds[int(half.run[run[0]])] for run in table]
            for half, table in zip(self.halves, tables, strict=True)
        ]
        return known[0] == known[1] and None not in known[0] and len(set(known[0])) == len(known[0])


def seed_key(seed: int | None) -> tuple[bool, int]:
    """Seeds ascending, runs without one last in their own order."""
    return (True, 0) if seed is None else (False, seed)
