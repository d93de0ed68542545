"""Run the rules over documents, ledgers and other tools' item rows."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netgain.audit.evidence import SUFFIX, Evidence, sidecar
from netgain.audit.finding import Finding, Severity, Silenced
from netgain.audit.report import Report
from netgain.audit.rule import Rule, rules
from netgain.errors import UserError, did_you_mean
from netgain.interop import documents

if TYPE_CHECKING:
    import duckdb

    from netgain.ledger.store import Ledger

DOCUMENTS = (*documents.PROSE, *documents.TABLES)
RESULTS = (".json", ".jsonl", ".eval")
NOT_THERE = (
    "runs (run VARCHAR, study VARCHAR, arm VARCHAR, seed BIGINT, state VARCHAR, spec VARCHAR, record VARCHAR, "
    "data VARCHAR, folder VARCHAR)",
    "probes (run VARCHAR, step BIGINT, term VARCHAR, raw DOUBLE, weight DOUBLE, more JSON)",
)
"""What a ledger has and another tool's rows have not."""
SURE = {"item", "item_id", "doc_id", "question_id", "qid"}
ITEM_COLUMNS = SURE | {"id", "example_id", "sample_id"}
"""Names of a column that says which item a row is about; the others only in a table that is long."""


def run(
    paths: Sequence[str | Path],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fail_on: Severity = Severity.ERROR,
) -> Report:
    """Audit every path: a document, a folder of documents, a ledger, or a file of item rows that interop reads.

    Codes are chosen by prefix: NG2 is a family, NG201 a rule.
    """
    report = Report(fail_on=fail_on)
    for path in _expanded([Path(p) for p in paths]):
        report.files.append(str(path))
        evidence, silenced = _gathered(path)
        chosen = _chosen(rules(document=evidence.document is not None, ledger=evidence.db is not None), select, ignore)
        _apply(chosen, evidence, silenced, report)
    report.sort()
    return report


def findings_for(ledger: "str | Path | Ledger", study: str) -> list[Finding]:
    """What is found, and not silenced, in the runs of one study (its key) of a ledger, worst first.

    `finding.concerns(arm, task)` says whether a verdict on that arm and task rests on it.
    """
    from netgain.ledger.query import connect

    path = Path(ledger) if isinstance(ledger, (str, Path)) else ledger.root
    beside, report = sidecar(path), Report(files=[str(path)])
    with connect(ledger) as db:
        key = study.replace("'", "''")
        db.execute(f"CREATE OR REPLACE VIEW runs AS SELECT * FROM _runs WHERE study = '{key}'")
        db.execute(
            "CREATE OR REPLACE VIEW items AS SELECT r.study, r.arm, r.seed, i.* FROM _items i JOIN runs r USING (run)"
        )
        db.execute("ALTER VIEW metrics RENAME TO _metrics")
        db.execute("CREATE VIEW metrics AS SELECT * FROM _metrics WHERE run IN (SELECT run FROM runs)")
        evidence = Evidence(str(path), db=db, n=beside.n, study=study)
        _apply(rules(document=False), evidence, dict(beside.ignore), report)
    report.sort()
    return report.findings


def _gathered(path: Path) -> tuple[Evidence, dict[str, str]]:
    """What the rules will look at, and what is silenced there."""
    beside = sidecar(path)
    if path.is_dir() or path.suffix in RESULTS:
        return Evidence(str(path), db=_database(path), n=beside.n), dict(beside.ignore)
    if path.suffix in documents.TABLES and (roles := _item_roles(path, beside.columns)) is not None:
        return Evidence(str(path), db=_database(path, roles), n=beside.n), dict(beside.ignore)
    document = documents.read(path, beside.columns)
    silenced = {code: reason for code, reason, _ in document.silenced}
    return Evidence(str(path), document=document, n=beside.n), {**silenced, **beside.ignore}


def _item_roles(path: Path, noted: Mapping[str, str]) -> dict[str, str] | None:
    """Role -> column of a table with one row an item; None for a summary. Its header and its length tell, unparsed."""
    from netgain.interop import tables

    roles = {"value" if role == "score" else role: column for column, role in noted.items()}
    try:
        names = tables.names_of(path)
        tables.infer(path, names, roles)
    except UserError:
        return None  # no item or no score in it, or no table at all: the reader of documents says what it is
    known = {name.strip().lower() for name in names}
    return roles if known & SURE or (known & ITEM_COLUMNS and _long(path)) else None


def _long(path: Path) -> bool:
    """More rows than a table for people has?"""
    if path.suffix == ".parquet":
        from netgain.interop.tables import open_parquet

        return open_parquet(path).metadata.num_rows > documents.MAX_ROWS
    with path.open("rb") as file:
        return file.read(documents.MAX_BYTES).count(b"\n") > documents.MAX_ROWS


def _database(path: Path, roles: Mapping[str, str] | None = None) -> "duckdb.DuckDBPyConnection":
    """The ledger's views; for another tool's rows the same views, empty where it has nothing to say."""
    if (path / "runs").is_dir():
        from netgain.ledger.query import connect

        return connect(path)
    import duckdb

    from netgain.interop.find import read

    found = read(path, roles or None)
    db = duckdb.connect()
    db.register("_rows", found.rows)
    db.register("_scores", found.scores)
    db.execute("CREATE VIEW items AS SELECT NULL::VARCHAR AS study, * FROM _rows")
    db.execute(
        "CREATE VIEW metrics AS SELECT run, step, max(value) AS loss, NULL::DOUBLE AS grad_norm, "
        "NULL::VARCHAR AS event FROM _scores "
        "WHERE metric = 'loss' AND step IS NOT NULL GROUP BY run, step"
    )
    for table in NOT_THERE:
        db.execute(f"CREATE TABLE {table}")
    return db


def _apply(chosen: list[type[Rule]], evidence: Evidence, silenced: dict[str, str], report: Report) -> None:
    for rule in chosen:
        if not rule.applies(evidence):
            continue
        report.checked.add(rule.code)
        for finding in rule(evidence).check():
            reason = silenced.get(finding.code)
            if reason is None:
                report.findings.append(finding)
            else:
                report.silenced.append(Silenced(finding, reason))


def _expanded(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder.")
        if path.is_dir() and not (path / "runs").is_dir():
            inside = sorted(f for f in path.rglob("*") if f.suffix in DOCUMENTS and f.is_file())
            yield from inside or [path]
        elif not path.name.endswith(SUFFIX):
            yield path


def _chosen(known: list[type[Rule]], select: Sequence[str], ignore: Sequence[str]) -> list[type[Rule]]:
    everything = {rule.code for rule in rules()} if select or ignore else set()
    for prefix in (*select, *ignore):
        if not any(code.startswith(prefix.upper()) for code in everything):
            raise UserError(f'no rule begins with "{prefix}".{did_you_mean(prefix.upper(), everything)}')
    wanted = tuple(p.upper() for p in select) or ("NG",)
    unwanted = tuple(p.upper() for p in ignore)
    return [r for r in known if r.code.startswith(wanted) and not (unwanted and r.code.startswith(unwanted))]
