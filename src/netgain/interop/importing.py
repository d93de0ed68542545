"""`netgain import FILE --as NAME`: foreign evidence becomes finished runs of a ledger; source, hash and roles are kept.

Each run of the file is a folder LEDGER/runs/NAME-<hash8>/, sealed like any other; LEDGER/studies/NAME.json gives it its
arm and seed, so that report, query, audit and compare read it as they read netgain's own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import netgain
from netgain.errors import UserError
from netgain.interop.find import read
from netgain.interop.samples import Samples
from netgain.ledger.files import canonical_sum, write_bytes
from netgain.ledger.items import SCHEMA
from netgain.ledger.store import Ledger

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
CURVE = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm", "num_input_tokens_seen": "tokens"}
"""A trainer's names of what metrics.jsonl already has a name for."""


@dataclass(frozen=True, slots=True)
class Run:
    """One foreign run on its way into the ledger."""

    name: str
    arm: str
    seed: int | None
    items: pa.Table
    scores: pa.Table


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import wrote."""

    name: str
    ledger: Path
    sigs: tuple[str, ...]
    arms: tuple[str, ...]
    items: int
    scores: int
    notes: tuple[str, ...]
    already: int
    """Runs that the ledger held before, of the same file and roles."""

    def sentence(self) -> str:
        what = f"{self.items} item rows" if self.items else f"{self.scores} aggregate scores, no items"
        before = f" ({self.already} were there already)" if self.already else ""
        arms = ", ".join(self.arms[:8]) + (" and more" if len(self.arms) > 8 else "")
        first = next(iter(self.arms))
        runs = f"{len(self.sigs)} run{'s' if len(self.sigs) > 1 else ''}"
        return f"{what} in {runs}{before} of {arms}: netgain compare {self.ledger}:{first} ..."

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ledger": str(self.ledger), "sentence": self.sentence()}


def import_results(
    file: Path | str,
    name: str,
    ledger: Path | str,
    *,
    roles: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> Imported:
    """`name` is the study's name and, when the file holds one arm, the arm's. `seed` adds a file of one run as one more
    seed of that arm.
    """
    if not NAME.fullmatch(name):
        raise UserError(f'"{name}" cannot name an import; use letters, digits, dots, dashes and underscores.')
    found = read(Path(file), roles)
    into, runs = Ledger(ledger), list(split(found, name, seed))
    sigs = [
        f"{name}-{canonical_sum([found.source.sha256, dict(found.source.roles), r.name, r.seed])[:8]}" for r in runs
    ]
    study = note_study(into, name, runs, sigs, found, more=seed is not None)
    already = 0
    for run, sig in zip(runs, sigs, strict=True):
        folder = into.run(sig)
        with folder.claim():
            if folder.state_on_disk() == "done":
                already += 1
                continue
            folder.start(describe(found, run, name), {"netgain": netgain.__version__})
            folder.write(
                "data.json", {"scores": run.scores.to_pylist(), "params": dict(found.params.get(run.name, {}))}
            )
            folder.append_metrics(curve(run.scores))
            write_bytes(folder.path / "items.parquet", parquet(run.items, sig))
            folder.finish({"kind": "imported", "items": run.items.num_rows, "tasks": {}, "notes": list(found.notes)})
    into.write_study(name, study)
    return Imported(
        name,
        into.root,
        tuple(sigs),
        tuple(dict.fromkeys(run.arm for run in runs)),
        sum(run.items.num_rows for run in runs),
        sum(run.scores.num_rows for run in runs),
        found.notes,
        already,
    )


def split(found: Samples, name: str, seed: int | None) -> Iterator[Run]:
    """The file's runs, each with its arm (renamed to `name` when it is the only one) and seed."""
    keys: dict[str, tuple[str, int | None]] = {}
    for table in (found.rows, found.scores):
        groups = table.select(["run", "arm", "seed"]).group_by(["run", "arm", "seed"], use_threads=False).aggregate([])
        for row in groups.to_pylist():
            keys.setdefault(row["run"], (row["arm"], row["seed"]))
    if not keys:
        raise UserError(f"{found.source.path}: holds neither items nor scores.")
    if seed is not None and len(keys) > 1:
        raise UserError(f"{found.source.path}: holds {len(keys)} runs; one seed cannot be said of all of them.")
    only = len(found.arms) == 1
    for run, (arm, own) in keys.items():
        yield Run(
            run,
            name if only else arm,
            own if seed is None else seed,
            of_run(found.items, run),
            of_run(found.scores, run),
        )


def of_run(table: pa.Table, run: str) -> pa.Table:
    return table.filter(pc.equal(table["run"], run))  # pyright: ignore[reportAttributeAccessIssue]


def note_study(
    ledger: Ledger, name: str, runs: list[Run], sigs: list[str], found: Samples, *, more: bool
) -> dict[str, Any]:
    """The study's file: which runs stand under this name. A used name is refused, unless a seed is added to it."""
    entries = [{"arm": run.arm, "seed": run.seed, "sig": sig} for run, sig in zip(runs, sigs, strict=True)]
    before = ledger.studies().get(name)
    if before is None:
        return {"kind": "imported", "question": f"Imported from {found.source.path.name}.", "runs": entries}
    if before.get("kind") != "imported":
        raise UserError(f"{ledger.root}: {name} is a study of this ledger; import under another name.")
    known = {entry["sig"] for entry in before["runs"]}
    fresh = [entry for entry in entries if entry["sig"] not in known]
    if fresh and not more:
        raise UserError(
            f"{ledger.root}: {name} already holds another import; use another name, or --seed to add one more seed."
        )
    taken = {(entry["arm"], entry["seed"]) for entry in before["runs"]}
    for entry in fresh:
        if (entry["arm"], entry["seed"]) in taken:
            raise UserError(f"{ledger.root}: {name} already has seed {entry['seed']} of {entry['arm']}.")
    return {**before, "runs": [*before["runs"], *fresh]}


def describe(found: Samples, run: Run, name: str) -> dict[str, Any]:
    """What spec.json says of a foreign run."""
    source = found.source
    return {
        "kind": "imported",
        "name": name,
        "run": run.name,
        "arm": run.arm,
        "seed": run.seed,
        "source": str(source.path),
        "sha256": source.sha256,
        "tool": source.tool,
        "version": source.version,
        "roles": dict(source.roles),
    }


def curve(scores: pa.Table) -> list[dict[str, Any]]:
    """A trainer's scores as metrics.jsonl has them: one row a step, dev evaluations marked as events."""
    rows: dict[tuple[int, bool], dict[str, Any]] = {}
    for score in scores.to_pylist():
        step, metric, value = score["step"], score["metric"], score["value"]
        if step is None or value is None:
            continue
        dev = metric.startswith("eval_")
        row = rows.setdefault((step, dev), {"step": step, **({"event": "dev"} if dev else {}), "terms": {}})
        plain = metric.removeprefix("eval_")
        if plain in CURVE:
            row[CURVE[plain]] = int(value) if plain == "num_input_tokens_seen" else value
    return [rows[key] for key in sorted(rows)]


def parquet(items: pa.Table, sig: str) -> bytes:
    """The run's items under its sig."""
    place = items.schema.get_field_index("run")
    stamped = items.set_column(place, SCHEMA.field("run"), pa.repeat(sig, items.num_rows))
    sink = pa.BufferOutputStream()
    pq.write_table(stamped.cast(SCHEMA), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
