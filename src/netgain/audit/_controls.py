"""Which arms were shown no input on purpose: what would be a defect in any other arm is what such a control is for."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def blind(db: "duckdb.DuckDBPyConnection") -> set[tuple[str, str]]:
    """(arm, task) of every task whose card says that its prompts have lost their input."""
    rows = db.execute("SELECT DISTINCT arm, record FROM runs WHERE record LIKE '%blind%'").fetchall()
    cards = ((arm, json.loads(record).get("tasks", {})) for arm, record in rows)
    return {(arm, task) for arm, tasks in cards for task, card in tasks.items() if card.get("blind")}
