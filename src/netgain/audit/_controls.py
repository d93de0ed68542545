"""Which arms were shown no input, or taught nothing of a task, on purpose: what would be a defect in any other arm is
what such a control is for."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def blind(db: "duckdb.DuckDBPyConnection") -> set[tuple[str, str]]:
    """(arm, task) of every task whose card says that its prompts have lost their input."""
    rows = db.execute("SELECT DISTINCT arm, record FROM runs WHERE record LIKE '%blind%'").fetchall()
    cards = ((arm, json.loads(record).get("tasks", {})) for arm, record in rows)
    return {(arm, task) for arm, tasks in cards for task, card in tasks.items() if card.get("blind")}


class Untaught:
    """Which arms had the rows of a task at hand and were given a share of 0 of them, as a single-task run is beside a
    joint one. A task is of the source whose name it has, or begins with: `sentiment-written` of `sentiment`."""

    def __init__(self, db: "duckdb.DuckDBPyConnection") -> None:
        rows = db.execute("SELECT DISTINCT arm, data FROM runs WHERE data LIKE '%drawn%'").fetchall()
        drawn = ((arm, (json.loads(data).get("mixture") or {}).get("drawn") or {}) for arm, data in rows)
        self.sources = {(arm, source) for arm, counts in drawn for source, count in counts.items() if count == 0}

    def __contains__(self, arm_and_task: tuple[str, str]) -> bool:
        arm, task = arm_and_task
        return any(arm == own and f"{task}-".startswith(f"{source}-") for own, source in self.sources)
