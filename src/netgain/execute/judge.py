"""`netgain train-judge`: a reward model from preference pairs, with what its word is worth beside its weights.

whole   the encoder and its head learn by gradient steps; measured on pairs of prompts that were held out
head    a line through one layer of the encoder as it is; measured on all pairs by nested cross-validation

Beside either stands what the length alone would say, and how the judge does on pairs of two answers as long.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.data.split import require_disjoint, split
from netgain.errors import UserError
from netgain.ledger.files import sha256, write_json
from netgain.report.console import console, plain_table
from netgain.spec.identity import stream
from netgain.stats.calibration import Calibration, calibration
from netgain.stats.intervals import rate
from netgain.stats.preference import chosen, cross_validated, weights
from netgain.stats.result import Estimate
from netgain.training.judge import REJECTED, Plan, encode_pairs, fit, load_encoder, margins, read_pairs, save
from netgain.training.judge_head import cut_pairs, differences, with_head

CARD = "judge.json"
ALIKE = 0.8
"""Answers are of one length when the shorter has at least this share of the longer one's characters."""
FOLDS = 10


@dataclass(frozen=True)
class Lengths:
    """What length alone says about the same pairs, and how often the judge is right where it says nothing."""

    baseline: Estimate
    alike: Estimate | None
    n: int

    def sentence(self) -> str:
        if self.alike is None:
            matched = "No two answers are of one length."
        else:
            matched = (
                f"Of {self.n} pairs whose answers are of one length it is right on {100 * self.alike.estimate:.1f} % "
                f"({100 * self.alike.low:.1f} to {100 * self.alike.high:.1f} %)."
            )
        base = self.baseline
        return (
            f"Length alone is right on {100 * base.estimate:.1f} % ({100 * base.low:.1f} to {100 * base.high:.1f} %). "
            f"{matched}"
        )


@dataclass(frozen=True)
class Trained:
    """A reward model on disk, and how good it is on pairs whose prompts it never saw."""

    folder: Path
    before: Calibration | None
    after: Calibration
    lengths: Lengths
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
        out = console()
        out.print(self.card["sentence"])
        if self.before is not None:
            out.print(f"Untrained: {self.before.sentence()}")
        out.print(f"Trained:   {self.after.sentence()}")
        out.print(self.lengths.sentence())
        out.print(table)
        if self.after.accuracy.low <= 0.5:
            out.print("This judge is not shown to be better than a coin; do not judge with it.")
        out.print(f"reward model: {self.folder}")


def train_judge(
    pairs: str,
    out: Path,
    encoder: str,
    plan: Plan,
    held_out: float,
    device: str = "cpu",
    learn: Literal["whole", "head"] = "whole",
) -> Trained:
    """Read, train, measure on what was not learned from, save."""
    if out.exists():
        raise UserError(f"{out}: exists already; choose a new folder.")
    path = locate(pairs, None)
    train = _whole if learn == "whole" else _head
    made = train(path, out, encoder, plan, held_out, device)
    write_json(out / CARD, made.card)
    return made


def _whole(path: Path, out: Path, encoder: str, plan: Plan, held_out: float, device: str) -> Trained:
    """All weights, by gradient steps; some prompts are held out."""
    train, dev = split(read_pairs(path), held_out, plan.seed)
    require_disjoint(train=train, held_out=dev)
    net, tok, limit = _encoder(encoder, plan, device)
    learned, too_long = encode_pairs(tok, train, limit)
    tested, not_judged = encode_pairs(tok, dev, limit)
    if not learned or not tested:
        raise UserError(
            f"{path}: no pair whose answers fit {limit} tokens is left to train on or to test; raise --max-len."
        )
    before = calibration(_p(margins(net, tested, plan.batch)))
    start = time.perf_counter()
    losses = list(fit(net, learned, plan))
    seconds = time.perf_counter() - start
    p = _p(margins(net, tested, plan.batch))
    after = calibration(p)
    skipped = {pair.id for pair in not_judged}
    lengths = _lengths([pair for pair in dev if pair.id not in skipped], p, plan.seed)
    tok.model_max_length = limit
    save(net, tok, out)
    sentence = (
        f"{len(learned)} pairs learned, {len(tested)} of other prompts held out; left out for length: "
        f"{len(too_long)} and {len(not_judged)}."
    )
    card = _card(encoder, plan, limit, after, lengths) | {
        "learned": "whole",
        "sentence": sentence,
        "pairs": _file(path) | {"train": len(learned), "held_out": len(tested)},
        "dropped": {"train": len(too_long), "held_out": len(not_judged)},
        "seconds": round(seconds, 1),
        "losses": losses,
        "untrained": asdict(before) | {"sentence": before.sentence()},
    }
    return Trained(out, before, after, lengths, card)


def _head(path: Path, out: Path, encoder: str, plan: Plan, held_out: float, device: str) -> Trained:
    """A line through the layer that inner folds choose; every pair is predicted by folds without its prompt."""
    pairs = read_pairs(path)
    net, tok, limit = _encoder(encoder, plan, device)
    start = time.perf_counter()
    encoded, cut = cut_pairs(tok, pairs, limit)
    found = differences(net, encoded, plan.batch)
    groups = [pair.group for pair in pairs]
    if len(set(groups)) < 2 * FOLDS:
        raise UserError(f"{path}: {len(set(groups))} prompts; a head is cross-validated on {2 * FOLDS} or more.")
    p = cross_validated(found, groups, FOLDS, stream(plan.seed, "folds"))
    best = chosen(found, groups, FOLDS, stream(plan.seed, "folds"))
    judge = with_head(net, int(best.name), weights(found[best.name], best.ridge))
    seconds = time.perf_counter() - start
    after, lengths = calibration(p), _lengths(pairs, p, plan.seed)
    tok.model_max_length = limit
    save(judge, tok, out)
    sentence = (
        f"{len(pairs)} pairs, each predicted by one of {FOLDS} folds that never saw its prompt; {int(cut.sum())} are "
        f"read by the beginning of an answer, which is longer than {limit} tokens allow. The judge that is saved "
        f"learned from all of them: layer {best.name} of the encoder, ridge {best.ridge:g}."
    )
    card = _card(encoder, plan, limit, after, lengths) | {
        "learned": "head",
        "sentence": sentence,
        "pairs": _file(path) | {"cross_validated": len(pairs), "cut": int(cut.sum())},
        "chosen": asdict(best),
        "seconds": round(seconds, 1),
    }
    return Trained(out, None, after, lengths, card)


def _encoder(name: str, plan: Plan, device: str) -> tuple[Any, Any, int]:
    """(network, tokenizer, how many tokens the judge reads)."""
    net, tok = load_encoder(name, plan.seed)
    net.to(torch.device(device))  # pyright: ignore[reportArgumentType]
    net.eval()
    return net, tok, min(plan.max_len, getattr(net.config, "max_position_embeddings", plan.max_len))


def _p(difference: np.ndarray) -> np.ndarray:
    """p = sigmoid(r_chosen - r_rejected)."""
    return 1 / (1 + np.exp(-np.clip(difference, -700, 700)))


def _lengths(pairs: list[Example], p: np.ndarray, seed: int) -> Lengths:
    """The judge beside a rule that knows how long both answers are and, by cross-validation, which end wins."""
    sizes = np.array([(len(pair.answer), len(pair.meta[REJECTED])) for pair in pairs], dtype=float)
    d = np.log(sizes[:, :1]) - np.log(sizes[:, 1:])
    groups = [pair.group for pair in pairs]
    told = cross_validated({"length": d}, groups, min(FOLDS, max(2, len(set(groups)) // 4)), stream(seed, "folds"))
    alike = sizes.min(axis=1) >= ALIKE * sizes.max(axis=1)
    n = int(alike.sum())
    return Lengths(
        baseline=rate(int((told > 0.5).sum()), len(told), what="accuracy"),
        alike=rate(int((p[alike] > 0.5).sum()), n, what="accuracy") if n else None,
        n=n,
    )


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256(path)}


def _card(encoder: str, plan: Plan, limit: int, after: Calibration, lengths: Lengths) -> dict[str, Any]:
    """What both ways of training say about a judge."""
    return {
        "encoder": encoder,
        "plan": asdict(plan) | {"max_len": limit},
        "trained": asdict(after) | {"sentence": after.sentence()},
        "lengths": asdict(lengths) | {"sentence": lengths.sentence()},
    }
