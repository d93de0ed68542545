"""`netgain train-judge`: a reward model from preference pairs, with what its word is worth beside its weights."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netgain.data.files import locate
from netgain.data.split import require_disjoint, split
from netgain.errors import UserError
from netgain.ledger.files import sha256, write_json
from netgain.report.console import console, plain_table
from netgain.stats.calibration import Calibration, calibration
from netgain.training.judge import Plan, encode_pairs, fit, load_encoder, margins, read_pairs, save

CARD = "judge.json"


@dataclass(frozen=True)
class Trained:
    """A reward model on disk, and how good it is on pairs whose prompts it never saw."""

    folder: Path
    before: Calibration
    after: Calibration
    card: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"folder": str(self.folder), **self.card}

    def show(self) -> None:
        """Print for people."""
        table = plain_table("confidence", "pairs", "said", "right")
        for each in self.after.bins:
            right = each.right
            table.add_row(
                f"{each.low:.1f} to {each.high:.1f}",
                str(each.n),
                f"{100 * each.confidence:.0f} %",
                f"{100 * right.estimate:.0f} % ({100 * right.low:.0f} to {100 * right.high:.0f})",
            )
        out, pairs, dropped = console(), self.card["pairs"], self.card["dropped"]
        out.print(
            f"{pairs['train']} pairs learned, {pairs['held_out']} of other prompts held out; left out for length: "
            f"{dropped['train']} and {dropped['held_out']}."
        )
        out.print(f"Untrained: {self.before.sentence()}")
        out.print(f"Trained:   {self.after.sentence()}")
        out.print(table)
        if self.after.accuracy.low <= 0.5:
            out.print("This judge is not shown to be better than a coin; do not judge with it.")
        out.print(f"reward model: {self.folder}")


def train_judge(pairs: str, out: Path, encoder: str, plan: Plan, held_out: float, device: str = "cpu") -> Trained:
    """Read, split by prompt, train, measure on what was held out, save."""
    if out.exists():
        raise UserError(f"{out}: exists already; choose a new folder.")
    path = locate(pairs, None)
    train, dev = split(read_pairs(path), held_out, plan.seed)
    require_disjoint(train=train, held_out=dev)
    net, tok = load_encoder(encoder, plan.seed)
    net.to(torch.device(device))  # pyright: ignore[reportArgumentType]
    positions = getattr(net.config, "max_position_embeddings", plan.max_len)
    limit = min(plan.max_len, positions)
    learned, too_long = encode_pairs(tok, train, limit)
    chosen, not_judged = encode_pairs(tok, dev, limit)
    if not learned or not chosen:
        raise UserError(
            f"{path}: no pair whose answers fit {limit} tokens is left to train on or to test; raise --max-len."
        )
    before = _calibration(margins(net, chosen, plan.batch))
    start = time.perf_counter()
    losses = list(fit(net, learned, plan))
    seconds = time.perf_counter() - start
    after = _calibration(margins(net, chosen, plan.batch))
    tok.model_max_length = limit
    save(net, tok, out)
    card = {
        "pairs": {"file": path.name, "sha256": sha256(path), "train": len(learned), "held_out": len(chosen)},
        "dropped": {"train": len(too_long), "held_out": len(not_judged)},
        "encoder": encoder,
        "plan": asdict(plan) | {"max_len": limit},
        "seconds": round(seconds, 1),
        "losses": losses,
        "untrained": asdict(before) | {"sentence": before.sentence()},
        "trained": asdict(after) | {"sentence": after.sentence()},
    }
    write_json(out / CARD, card)
    return Trained(out, before, after, card)


def _calibration(difference: np.ndarray) -> Calibration:
    """p = sigmoid(r_chosen - r_rejected)."""
    return calibration(1 / (1 + np.exp(-np.clip(difference, -700, 700))))
