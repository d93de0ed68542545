"""A small ledger, clean by default, that tests then spoil in one way."""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
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


def lora(zero: bool) -> dict[str, tuple[float, float]]:
    """One lora_A and one lora_B."""
    return {"q.lora_A.weight": (0.5, 0.25), "q.lora_B.weight": (0.0, 0.0 if zero else 0.1)}


def adapter(tensors: Mapping[str, tuple[float, float]]) -> bytes:
    """A safetensors file of tensors of two numbers."""
    header = {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * i, 8 * i + 8]} for i, name in enumerate(tensors)
    }
    text = json.dumps(header).encode()
    numbers = [number for pair in tensors.values() for number in pair]
    return struct.pack("<Q", len(text)) + text + struct.pack(f"<{len(numbers)}f", *numbers)


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
    tensors: Mapping[str, tuple[float, float]] | None = None,
    record: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
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
        run.start({"run": {"optim": {"steps": 40}, **(spec or {})}}, {})
        if failed and arm == arms[-1] and seed == seeds[-1]:
            run.fail("the loss is not finite")
        else:
            _fill(run, arm, seed, points, spoil, metrics, summary, tensors or lora(zero))
            taken = {"steps": steps if arm != "base" else 0, "stopped_early": False}
            run.finish({**taken, **(record if record and arm != "base" else {})})
        entries.append({"arm": arm, "seed": seed, "sig": sig})
    ledger.write_study("demo", {"runs": entries, **({"study": study} if study else {})})
    return root


def _fill(run: Any, arm: str, seed: int, points: Sequence[str], spoil: Spoil | None, metrics: Any, summary: Any,
          tensors: Mapping[str, tuple[float, float]]) -> None:  # fmt: skip
    for point in points:
        rows = items(arm, seed, point)
        kept = [spoil(arm, seed, item) for item in rows] if spoil else rows
        run.write_part(point, [i for item in kept for i in (item if isinstance(item, tuple) else (item,)) if i])
    run.seal_items(points)
    if arm != "base":
        run.append_metrics(losses() if metrics is None else metrics)
        run.write("data.json", summary or data())
        (run.path / "adapter").mkdir()
        (run.path / "adapter" / "adapter_model.safetensors").write_bytes(adapter(tensors))


def only(arm: str, **change: Any) -> Spoil:
    """Change every item of one arm."""
    return lambda name, seed, item: replace(item, **change) if name == arm else item
