"""Which runs may train as one pack: all that decides a forward pass is the same, and so is the step they stand at."""

import json
from collections.abc import Sequence

from netgain.adapters.packed import packable
from netgain.errors import UserError
from netgain.execute.job import STATE
from netgain.ledger.store import RunFolder
from netgain.objectives.sampling import rollouts_of
from netgain.spec.run import Run
from netgain.spec.study import Planned
from netgain.training import checkpoint

LIMIT = 16
"""Arms in one pack: beyond it the batched products gain nothing more, and a lost pack loses more."""

Member = tuple[Planned, RunFolder]


def pack_key(run: Run) -> str | None:
    """Runs of one key differ in their objective and in how they are optimised; None for a run that trains alone.

    A stop rule measures its run while it learns, and sampled answers are the arm's own, so a run that has either is
    alone.
    """
    if not packable(run.method) or run.stop is not None or rollouts_of(run.objective):
        return None
    shared = run.model_dump(mode="json", exclude={"objective", "optim"})
    return json.dumps({**shared, "batch": run.optim.batch}, sort_keys=True)


def rows_key(run: Run) -> str:
    """Runs of one key learn from the same rows and are measured on the same items, so that these are read once."""
    return run.model_dump_json(include={"model", "data", "tasks", "seed"})


def stage(run: Run, folder: RunFolder) -> str:
    """How far a run has come: the step that it goes on from, or that nothing is left to learn."""
    path = folder.path / STATE
    if not path.exists():
        return "step 0"
    try:
        state = checkpoint.counters(path)
    except UserError:
        if path.exists():
            raise
        return "trained"  # whoever holds the run has just finished it
    over = state["ended"] is not None or state["step"] >= run.optim.steps
    return "trained" if over else f"step {state['step']}"


def alike(members: Sequence[Member]) -> list[list[Member]]:
    """Members that can go on together, in the order of their first."""
    found: dict[object, list[Member]] = {}
    for each, folder in members:
        key = pack_key(each.run)
        found.setdefault(each.sig if key is None else (key, stage(each.run, folder)), []).append((each, folder))
    return list(found.values())
