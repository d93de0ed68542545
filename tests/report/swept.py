"""Ledgers of a swept weight made of drawn rows: what is true of every level is chosen by the test."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from drawn import ENV

from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.spec.study import Planned, Study, planned

LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
Rate = Callable[[float, str], float]


def study(levels: Sequence[float] = LEVELS, tasks: Sequence[str] = ("nli",), seeds: Sequence[int] = (0, 1, 2)) -> Study:
    """A swept weight, one control, and a task axis of classification and span tasks."""
    axis: dict[str, Any] = {f"lambda={value:g}": {"optim.learning_rate": 1e-3 * (1 + value)} for value in levels}
    axis["zero-shot"] = {"optim.learning_rate": 9.0}
    kinds = {name: {"tasks.target": {"kind": "entities" if name == "ner" else "sentiment"}} for name in tasks}
    source = {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1}
    return Study.model_validate(
        {
            "name": "swept",
            "question": "How much?",
            "base": {
                "model": "tiny-llama", "method": "lora", "data": {"sources": {"rows": source}},
                "optim": {"learning_rate": 1e-3, "steps": 20, "batch": 4}, "dev": {"every": 10},
                "tasks": {"target": {"kind": "sentiment"}},
            },
            "seeds": list(seeds),
            "vary": {"lambda": axis, "task": kinds},
        }
    )  # fmt: skip


def value_of(arm: str) -> float:
    """The swept number of an arm's name; the control counts as level 0."""
    first = arm.split()[0]
    return float(first.removeprefix("lambda=")) if first.startswith("lambda=") else 0.0


def fill(root: Path, asked: Study, items: int, rate: Rate, dev: Rate = lambda value, task: 1.0 + value) -> Ledger:
    """Finished runs whose items are right with probability rate(level, task) and whose dev loss is dev(level, task)."""
    ledger = Ledger(root)
    wanted = planned(asked)
    runs = [{"sig": each.sig, "arm": each.arm, "seed": each.seed} for each in wanted]
    ledger.write_study(asked.key, {"name": asked.name, "scale": None, "study": asked.to_dict(), "runs": runs})
    for index, each in enumerate(wanted):
        _write(ledger, each, index, items, rate, dev)
    return ledger


def _write(ledger: Ledger, each: Planned, index: int, items: int, rate: Rate, dev: Rate) -> None:
    task, value = each.arm.split()[-1], value_of(each.arm)
    easiness = np.random.default_rng(5).random(items)
    noise = np.random.default_rng(100 + index).random(items)
    right = 0.8 * easiness + 0.2 * noise < rate(value, task)
    folder = ledger.run(each.sig)
    folder.start({"arm": each.arm}, ENV)
    folder.append_metrics([{"event": "dev", "step": 20, "loss": dev(value, task)}])
    rows: list[Item] = []
    for i in range(items):
        good = bool(right[i])
        if task == "ner":
            counts = {"span_tp": 2.0 * good, "span_fp": float(not good), "span_fn": 2.0 * (not good)}
            values = {"sentence_accuracy": float(good), **counts}
        else:
            values = {"accuracy": float(good)}
        rows += [
            Item("target", metric, f"i{i}", "final", v, cluster=f"g{i // 2}", label="a", prediction="a", parsed=True)
            for metric, v in values.items()
        ]
    folder.write_part("final", rows)
    folder.seal_items(("final",))
    ner = task == "ner"
    metrics = ["span_f1", "sentence_accuracy"] if ner else ["accuracy"]
    card = {
        "direction": "higher", "mode": "generate", "shots": 0, "chance": 0.5, "majority": 0.5, "labels": {},
        "kind": "entities" if ner else task, "metric": metrics[0], "metrics": metrics, "binary": metrics[-1:],
        "items": items, "clusters": items // 2, "ids": "a" * 64,
    }  # fmt: skip
    folder.finish(
        {"steps": 20, "template": "t" * 16, "tasks": {"target": card}, "tokens": 180, "train_seconds": 1.0,
         "measure_seconds": 1.0, "initial_adapter": "c" * 64}
    )  # fmt: skip
