"""`netgain query`: a person's SQL over a ledger, with DuckDB's complaint as one sentence."""

from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.ledger.query import connect


def ask(ledger: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """(column names, rows) of one statement."""
    import duckdb

    db = connect(ledger)
    try:
        result = db.execute(sql)
    except duckdb.Error as error:
        raise UserError(f"the query failed: {str(error).splitlines()[0]}") from None
    if result.description is None:
        return [], []
    return [column[0] for column in result.description], result.fetchall()
