"""SQL over all that ledgers hold: the views runs, items, metrics and probes, rebuilt from the files each time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from netgain.errors import UserError
from netgain.ledger.items import SCHEMA
from netgain.ledger.store import Ledger, RunFolder

if TYPE_CHECKING:
    import duckdb

RUNS = pa.schema(
    [
        ("run", pa.string()),
        ("study", pa.string()),
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("state", pa.string()),
        ("spec", pa.string()),
        ("record", pa.string()),
        ("data", pa.string()),
        ("folder", pa.string()),
    ]
)

METRIC_COLUMNS = (
    "{step: 'BIGINT', progress: 'DOUBLE', loss: 'DOUBLE', lr: 'DOUBLE', grad_norm: 'DOUBLE', tokens: 'BIGINT', "
    "seconds: 'DOUBLE', event: 'VARCHAR', kl_base: 'DOUBLE', terms: 'JSON'}"
)

PROBE_COLUMNS = ("raw", "weight", "grad_norm", "grad_share", "grad_cosine")


def connect(*roots: str | Path | Ledger) -> "duckdb.DuckDBPyConnection":
    """An in-memory database over the finished runs of the given ledgers; of a Ledger, what it has read is not read
    again.

    runs     one row per (study, run): run, study, arm, seed, state, spec, record, data (JSON texts), folder
    items    one row per item of items.parquet, with study, arm and seed
    metrics  one row per line of metrics.jsonl
    probes   one row per (metrics line, term): raw value, weight, share of the loss, and where the step was probed
             the norm of the term's own gradient, its share of all terms' and its cosine with their sum
    """
    import duckdb

    folders: list[RunFolder] = []
    rows: list[dict[str, Any]] = []
    for ledger in map(_existing, roots):
        members = _members(ledger)
        folders += (runs := ledger.runs())
        rows += [row for run in runs for row in _rows(run, members.get(run.sig, []))]
    db = duckdb.connect()
    db.register("_runs", pa.Table.from_pylist(rows, schema=RUNS))
    db.execute("CREATE VIEW runs AS SELECT * FROM _runs")
    done = [run for run in folders if run.state() == "done"]
    for run in done:
        run.verify_evidence()
    files = [str(run.path / "items.parquet") for run in done]
    if files:
        db.execute(f"CREATE VIEW _items AS SELECT * FROM read_parquet({_list(files)}, hive_partitioning=false)")
    else:
        db.register("_items", SCHEMA.empty_table())
    db.execute("CREATE VIEW items AS SELECT r.study, r.arm, r.seed, i.* FROM _items i JOIN _runs r USING (run)")
    _metrics(db, folders)
    return db


def _metrics(db: "duckdb.DuckDBPyConnection", runs: list[RunFolder]) -> None:
    files = [str(run.path / "metrics.jsonl") for run in runs if (run.path / "metrics.jsonl").exists()]
    if files:
        db.execute(
            "CREATE VIEW metrics AS SELECT parse_path(filename)[-2] AS run, * EXCLUDE (filename) FROM read_json("
            f"{_list(files)}, format='newline_delimited', columns={METRIC_COLUMNS}, filename=true, ignore_errors=true, "
            "hive_partitioning=false)"
        )
    else:
        db.execute(
            "CREATE VIEW metrics AS SELECT ''::VARCHAR AS run, 0::BIGINT AS step, 0.0 AS progress, 0.0 AS loss, "
            "0.0 AS lr, 0.0 AS grad_norm, 0::BIGINT AS tokens, 0.0 AS seconds, ''::VARCHAR AS event, "
            "0.0 AS kl_base, '{}'::JSON AS terms WHERE false"
        )
    columns = ", ".join(f"CAST(t.value->>'{name}' AS DOUBLE) AS {name}" for name in PROBE_COLUMNS)
    db.execute(
        f"CREATE VIEW probes AS SELECT m.run, m.step, m.progress, t.key AS term, {columns}, "
        "raw * weight / nullif(m.loss, 0) AS loss_share, t.value AS more FROM metrics m, json_each(m.terms) t"
    )


def _existing(root: str | Path | Ledger) -> Ledger:
    ledger = root if isinstance(root, Ledger) else Ledger(root)
    if not (ledger.root / "runs").is_dir():
        raise UserError(f"{ledger.root}: no ledger here; `netgain run STUDY --ledger {ledger.root}` makes one.")
    return ledger


def _members(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Sig -> the places that the run has in studies."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, study in ledger.studies().items():
        for entry in study["runs"]:
            found.setdefault(entry["sig"], []).append({"study": key, "arm": entry["arm"], "seed": entry["seed"]})
    return found


def _rows(run: RunFolder, members: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {"run": run.sig, "state": run.state(), "folder": str(run.path)}
    row |= {column: run.text(f"{column}.json") for column in ("spec", "record", "data")}
    for member in members or [{"study": None, "arm": run.sig, "seed": None}]:
        yield {**row, **member}


def _list(files: list[str]) -> str:
    return "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"
