"""Ledgers made of drawn rows: as many items as wanted, hostile texts, several arms and seeds, no model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netgain.ledger import prompts
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.spec.study import Planned, Study, planned

ENV = {
    "python": "3.11.7",
    "platform": "Linux",
    "processor": "a processor",
    "cores": 2,
    "threads": 1,
    "device": "cpu",
    "packages": {"netgain": "0.1.0", "numpy": "2.0.0"},
    "code": {"commit": "0" * 40, "diff": "", "diff_cut": False},
    "study_folder": None,
}

Words = Callable[[str, int], str]


def study(
    arms: Sequence[str] = ("sft",), seeds: Sequence[int] = (0, 1), question: str = "What changed?", name: str = "drawn"
) -> Study:
    """Arms that learn against a base that does not, on one classification and one text task."""
    sources = {"rows": {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1}}
    text = {"kind": "ppl", "source": {"kind": "embedded", "suite": "text", "n": 10, "seed": 3}}
    label = {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 2}}
    weights = {arm: {"optim.learning_rate": 1e-3 * (i + 1)} for i, arm in enumerate(arms)}
    return Study.model_validate(
        {
            "name": name,
            "question": question,
            "base": {
                "model": "tiny-llama",
                "method": "lora",
                "data": {"sources": sources},
                "optim": {"learning_rate": 1e-3, "steps": 20, "batch": 4},
                "dev": {"every": 5},
                "tasks": {"label": label, "text": text},
            },
            "seeds": list(seeds),
            "vary": {"arm": {"base": {"method": "none"}, **weights}},
            "contrasts": [
                {"arm": "*", "versus": "base", "task": "label", "metric": "accuracy"},
                {"arm": "*", "versus": "base", "task": "text", "metric": "nll", "retain": 0.05},
            ],
        }
    )


def plain_words(arm: str, i: int) -> str:
    return f"{arm} wrote answer {i}"


def fill(root: Path, asked: Study, items: int, words: Words = plain_words, texts: int = 20) -> Ledger:
    """Finished runs with `items` rows of the label task and `texts` rows of the text task each."""
    ledger = Ledger(root)
    wanted = planned(asked)
    runs = [{"sig": each.sig, "arm": each.arm, "seed": each.seed} for each in wanted]
    ledger.write_study(asked.key, {"name": asked.name, "scale": None, "study": asked.to_dict(), "runs": runs})
    asks = {"label": prompts.write(ledger, {f"item-{i:06d}": f"What follows from premise {i}?" for i in range(items)})}
    for index, each in enumerate(wanted):
        _write(ledger, each, index, items, texts, words, asks)
    return ledger


def _write(
    ledger: Ledger, each: Planned, index: int, items: int, texts: int, words: Words, asks: dict[str, str]
) -> None:
    rng = np.random.default_rng(index)
    learns = each.run.method.learns
    folder = ledger.run(each.sig)
    folder.start({"arm": each.arm}, ENV)
    if learns:
        folder.append_metrics(_metrics(rng))
    checkpoints = ("final", "best") if learns else ("base",)
    right = rng.random(items) < (0.6 if learns else 0.5)
    nll = 2.0 + 0.1 * np.random.default_rng(99).random(texts) + (0.01 * rng.random(texts) if learns else 0.0)
    for checkpoint in checkpoints:
        rows = [
            Item("label", "accuracy", f"item-{i:06d}", checkpoint, float(right[i]), label="yes", cluster=f"g{i}",
                 prediction="yes" if right[i] else "no", output=words(each.arm, i), parsed=True, truncated=False)
            for i in range(items)
        ]  # fmt: skip
        rows += [
            Item("text", "nll", f"text-{i}", checkpoint, float(nll[i]), weight=10.0 + i, cluster=f"t{i}")
            for i in range(texts)
        ]
        folder.write_part(checkpoint, rows)
    folder.seal_items(checkpoints)
    folder.finish({**_record(learns, items, texts), "prompts": asks})


def _metrics(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(1, 21):
        share = float(rng.random())
        terms = {
            "ce": {"raw": 1.0, "weight": 1.0, "grad_share": share},
            "kl": {"raw": 0.1, "weight": 0.3, "grad_share": 1 - share},
        }
        loss = float(2 / step + 0.05 * rng.random())
        rows.append({"step": step, "progress": step / 20, "loss": loss, "terms": terms, "lr": 1e-3, "tokens": 9 * step})
        if step % 5 == 0:
            rows.append({"event": "dev", "step": step, "loss": float(1 + 2 / step)})
    return rows


def _record(learns: bool, items: int, texts: int) -> dict[str, Any]:
    card = {"direction": "higher", "mode": "generate", "shots": 0, "chance": 0.5, "majority": 0.6, "labels": {}}
    label = {**card, "kind": "sentiment", "metric": "accuracy", "metrics": ["accuracy"], "binary": ["accuracy"]}
    text = {**card, "kind": "ppl", "metric": "nll", "metrics": ["nll"], "binary": [], "chance": None, "majority": None}
    return {
        "steps": 20 if learns else 0,
        "template": "t" * 16,
        "tasks": {
            "label": {**label, "items": items, "clusters": items, "ids": "a" * 64},
            "text": {**text, "items": texts, "clusters": texts, "ids": "b" * 64},
        },
        "tokens": 180 if learns else None,
        "train_seconds": 12.5 if learns else None,
        "measure_seconds": 3.25,
        "initial_adapter": "c" * 64 if learns else None,
    }


def doctor(html: str, old: str, new: str) -> str:
    """The page with one text replaced once, in what is shown."""
    cut = html.index('<script type="application/json"')
    assert old in html[:cut], f"{old} is not shown"
    return html[:cut].replace(old, new, 1) + html[cut:]


def payload(html: str, name: str) -> Any:
    """A JSON block as a browser would parse it."""
    opening = f'<script type="application/json" id="data-{name}">'
    start = html.index(opening) + len(opening)
    return json.loads(html[start : html.index("</script>", start)])
