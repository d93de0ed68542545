"""A run whose micro-batches had to be halved: told in its metrics and its log, known when it goes on, in its record."""

from collections.abc import Iterator, Sequence
from typing import Any

from netgain.ledger.store import RunFolder
from netgain.spec.run import Runtime
from netgain.training.loop import StepRecord, Training

EVENT = "memory"


def noted(records: Iterator[StepRecord], training: Training, folders: Sequence[RunFolder]) -> Iterator[StepRecord]:
    """Pass the records on; whenever micro-batches have become smaller, say so."""
    known = training.runtime.micro_batch
    for record in records:
        if (now := training.runtime.micro_batch) != known:
            known = now
            for folder in folders:
                folder.append_metrics([{"event": EVENT, "step": record.step, "micro_batch": now}])
                folder.note(f"memory ran out at step {record.step}: micro-batches of {now} rows from now on")
        yield record


def remembered(runtime: Runtime, folder: RunFolder) -> Runtime:
    """The runtime with the micro-batch that the run was left at."""
    told = [row["micro_batch"] for row in folder.metrics() if row.get("event") == EVENT]
    return runtime.model_copy(update={"micro_batch": told[-1]}) if told else runtime


def halvings(rows: Sequence[dict[str, Any]], batch: int) -> dict[str, Any]:
    """What the record says: at which step, to how many rows of a micro-batch, how many of which make a step."""
    told = [row for row in rows if row.get("event") == EVENT]
    if not told:
        return {}
    sizes = [(row["step"], row["micro_batch"]) for row in told]
    return {"halved": [{"step": step, "micro_batch": n, "accumulation": -(-batch // n)} for step, n in sizes]}
