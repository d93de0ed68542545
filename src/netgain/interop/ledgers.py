"""netgain ledgers: the finished runs of an arm, or of one sig, with every file's hash checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from netgain.errors import UserError, did_you_mean
from netgain.interop.samples import ROWS, Samples, Source
from netgain.ledger.files import canonical_sum
from netgain.ledger.store import Ledger, RunFolder


@dataclass(frozen=True, slots=True)
class Member:
    """One run of an arm."""

    study: str | None
    arm: str
    seed: int | None
    sig: str


def can_read(path: Path) -> bool:
    """A folder with runs in it."""
    return (path / "runs").is_dir()


def read(path: Path, roles: Mapping[str, str] | None = None) -> Samples:
    """Every finished run of the ledger."""
    return read_arm(path, None, roles)


def read_arm(path: Path, name: str | None, roles: Mapping[str, str] | None = None) -> Samples:
    """The finished runs of an arm (`ARM` or `STUDY/ARM`), of a run's sig or its beginning, or of all arms."""
    others = set(roles or {}) - {"cluster"}
    if others or (roles or {}).get("cluster", "cluster") != "cluster":
        raise UserError(f"{path}: a ledger's rows have their roles already; its clusters are in the column cluster.")
    ledger = Ledger(path)
    chosen = members(ledger) if name is None else named(ledger, name)
    parts, hashes, unfinished = [], {}, []
    for member in chosen:
        run = ledger.run(member.sig)
        if run.state() != "done":
            unfinished.append(member)
            continue
        parts.append(rows_of(run, member))
        hashes[member.sig] = run.record()["files"]["items.parquet"]
    if not parts:
        raise UserError(f"{path}: no finished run{f' of {name}' if name else ''}; see `netgain plan`.")
    notes = tuple(f"{m.arm}, seed {m.seed}: {ledger.run(m.sig).state()}, left out." for m in unfinished)
    return Samples(Source(path, canonical_sum(hashes), "netgain"), pa.concat_tables(parts), notes=notes)


def rows_of(run: RunFolder, member: Member) -> pa.Table:
    """The run's items with its arm and seed; a ledger's items have no fingerprints beyond their ids and labels."""
    items = run.items()
    count = items.num_rows
    extra = {
        "run": pa.repeat(run.sig, count),
        "arm": pa.repeat(member.arm, count),
        "seed": pa.repeat(pa.scalar(member.seed, pa.int64()), count),
        "document": pa.nulls(count, pa.string()),
        "prompt": pa.nulls(count, pa.string()),
    }
    columns = [extra[name] if name in extra else items[name] for name in ROWS.names]
    return pa.Table.from_arrays(columns, schema=ROWS)


def members(ledger: Ledger) -> list[Member]:
    """Every run with its arm; a run that no study names is its own arm."""
    listed = [
        Member(key, entry["arm"], entry["seed"], entry["sig"])
        for key, study in ledger.studies().items()
        for entry in study["runs"]
    ]
    known = {member.sig for member in listed}
    return listed + [Member(None, run.sig, None, run.sig) for run in ledger.runs() if run.sig not in known]


def named(ledger: Ledger, name: str) -> list[Member]:
    """The runs that `name` stands for."""
    every = members(ledger)
    exact = [m for m in every if m.arm == name] or [m for m in every if f"{m.study}/{m.arm}" == name]
    studies = {m.study for m in exact}
    if len({frozenset(m.sig for m in exact if m.study == study) for study in studies}) > 1:
        choices = ", ".join(sorted(f"{study}/{name}" for study in studies))
        raise UserError(f"{ledger.root}: several studies have an arm {name}; say which: {choices}.")
    if exact:
        return [m for m in exact if m.study == exact[0].study]
    by_sig = {m.sig: m for m in every if len(name) >= 4 and m.sig.startswith(name)}
    if len(by_sig) == 1:
        return list(by_sig.values())
    arms = sorted({m.arm for m in every})
    shown = ", ".join(arms[:12]) + (" and more" if len(arms) > 12 else "")
    problem = f"no arm or run {name}" if not by_sig else f"{len(by_sig)} runs begin with {name}"
    raise UserError(f"{ledger.root}: {problem}.{did_you_mean(name, arms)} It has {shown or 'no runs'}.")
