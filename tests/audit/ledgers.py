"""A small ledger, clean by default, that tests then spoil in one way."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netgain.ledger.items import Item
from netgain.ledger.store import Ledger

N = 240
LABELS = ("yes", "no", "maybe")
Spoil = Callable[[str, int, Item], Item | tuple[Item, ...] | None]


def right(item: int, arm: str, seed: int) -> bool:
    """About 60 % in the base and 75 % in the tuned arm, differently for every seed."""
    hashed = (item * 2654435761 + len(arm) * 40503 + seed * 69069) % 1000
    return hashed < (600 if arm == "plain" else 750)


def items(arm: str, seed: int, checkpoint: str, task: str = "qa") -> list[Item]:
    """N answers to a three-label task."""
    found = []
    for i in range(N):
        gold = LABELS[i % 3]
        wrong = LABELS[(i + 1 + (i // 3) % 2) % 3]
        good = right(i, arm, seed)
        said = gold if good else wrong
        text = f"The answer is {said}." if (i + seed + len(arm)) % 2 else f"{said}."
        found.append(
            Item(
                task=task, metric="accuracy", item=f"q{i}", checkpoint=checkpoint, value=float(good), label=gold,
                prediction=said, output=text, parsed=True, truncated=False, tokens=4 + i % 7,
            )
        )  # fmt: skip
    return found


def losses(steps: int = 40) -> list[dict[str, Any]]:
    """A loss that falls, of two terms that act."""
    terms = {"ce": {"raw": 1.0, "weight": 1.0}, "kl": {"raw": 0.1, "weight": 0.5, "grad_norm": 0.02}}
    return [{"step": s, "progress": s / steps, "loss": 2.0 - s / steps, "terms": terms} for s in range(1, steps + 1)]


def data() -> dict[str, Any]:
    """What prepare writes of a run's data."""
    clean = {"left": "train", "right": "qa", "left_rows": 500, "right_rows": N, "ids": 0, "groups": 0, "texts": 0}
    return {
        "tokens": 9000,
        "supervised": 2000,
        "mixture": {"planned": {"a": 400, "b": 100}, "drawn": {"a": 400, "b": 100}},
        "overlap": [{**clean, "ngrams": 0, "example": None}],
    }


def adapter(zero: bool) -> bytes:
    """A safetensors file with one lora_A and one lora_B."""
    header = {
        "q.lora_A.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "q.lora_B.weight": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack("<4f", 0.5, 0.25, 0.0, 0.0 if zero else 0.1)


def make(
    root: Path,
    spoil: Spoil | None = None,
    *,
    arms: Sequence[str] = ("plain", "kl"),
    seeds: Sequence[int] = (1, 2, 3),
    checkpoints: Sequence[str] = ("final", "best"),
    metrics: list[dict[str, Any]] | None = None,
    summary: dict[str, Any] | None = None,
    steps: int = 40,
    zero: bool = False,
    failed: bool = False,
    study: dict[str, Any] | None = None,
) -> Path:
    """A ledger of one study: a base, and each arm with each seed."""
    ledger = Ledger(root)
    runs = [("base", 0, ("base",)), *((arm, seed, checkpoints) for arm in arms for seed in seeds)]
    entries = []
    for arm, seed, points in runs:
        sig = f"{arm}{seed}".replace("=", "")
        run = ledger.run(sig)
        run.start({"run": {"optim": {"steps": 40}}}, {})
        if failed and arm == arms[-1] and seed == seeds[-1]:
            run.fail("the loss is not finite")
        else:
            _fill(run, arm, seed, points, spoil, metrics, summary, steps, zero)
        entries.append({"arm": arm, "seed": seed, "sig": sig})
    ledger.write_study("demo", {"runs": entries, **({"study": study} if study else {})})
    return root


def _fill(run: Any, arm: str, seed: int, points: Sequence[str], spoil: Spoil | None, metrics: Any, summary: Any,
          steps: int, zero: bool) -> None:  # fmt: skip
    for point in points:
        rows = items(arm, seed, point)
        kept = [spoil(arm, seed, item) for item in rows] if spoil else rows
        run.write_part(point, [i for item in kept for i in (item if isinstance(item, tuple) else (item,)) if i])
    run.seal_items(points)
    if arm != "base":
        run.append_metrics(losses() if metrics is None else metrics)
        run.write("data.json", summary or data())
        (run.path / "adapter").mkdir()
        (run.path / "adapter" / "adapter_model.safetensors").write_bytes(adapter(zero))
    run.finish({"steps": steps if arm != "base" else 0, "stopped_early": False})


def only(arm: str, **change: Any) -> Spoil:
    """Change every item of one arm."""
    return lambda name, seed, item: replace(item, **change) if name == arm else item
