"""How far adapters are from one another in what they do, in nats a token on probe text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from netgain.adapters._torch.peft import PeftAdapter, from_folder
from netgain.models.lm import LM
from netgain.translate import maps
from netgain.translate.anchors import Anchors
from netgain.translate.files import tensors

PROBES = 24
"""How many texts measure an adapter."""
LONGEST = 256
"""Tokens of a text that are read."""
ANCHORS = 6
"""How many anchors are translated by the others and measured."""
SCALES = (0.25, 0.5, 1.0, 1.5)
"""How much of a translated adapter is put in."""


@dataclass(frozen=True)
class Functional:
    """KL(true || other) in nats a token, over anchors that the others translated: of the translated adapter at the
    scale where it is smallest, of the anchors' mean, and of the untouched model."""

    anchors: int
    scale: float
    translated: float
    mean: float
    untouched: float

    def sentence(self) -> str:
        """What it says of the adapter that is written."""
        verdict = "closer than" if self.translated < self.mean else "no closer than"
        return (
            f"In function, {self.anchors} anchors translated by the others at scale {self.scale:g}, the best of "
            f"{', '.join(f'{scale:g}' for scale in SCALES)}, are {self.translated:.3g} nats a token from their true "
            f"adapters on probe text: {verdict} the anchors' mean ({self.mean:.3g}; no adapter {self.untouched:.3g}). "
            "The adapter is written at that scale."
        )


def functional(
    lm: LM, anchors: Anchors, grams: list[maps.Grams], method: str, texts: Sequence[str], *, seed: int, k: int
) -> Functional:
    """Each of the first anchors, translated by all others, against its own adapter."""
    probes = list(_probes(lm, texts))
    config = anchors.anchors[0].target.config
    count = min(ANCHORS, len(anchors.anchors))
    sums = np.zeros(len(SCALES) + 2)
    for i in range(count):
        others = [gram.left_out(i) for gram in grams]

        def made(how: str, others: list[maps.Grams] = others, i: int = i) -> np.ndarray:
            return np.insert(maps.weights(how, others, seed=seed, k=k), i, 0.0, axis=1)

        with _attached(lm, anchors.anchors[i].target.folder) as adapter:
            truth = [_log_p(lm, ids) for ids in probes]
            with adapter.off():
                sums[-1] += _apart(lm, probes, truth)
            for at, weights in enumerate([*(scale * made(method) for scale in SCALES), made("mean")]):
                adapter.set_state(tensors(config, anchors.mix(weights)))
                sums[at] += _apart(lm, probes, truth)
    best = int(sums[: len(SCALES)].argmin())
    translated, plain, untouched = (float(sums[at] / count) for at in (best, -2, -1))
    return Functional(count, SCALES[best], translated, plain, untouched)


def effect(lm: LM, folder: Path, texts: Sequence[str]) -> float:
    """KL(base || adapted) in nats a token on the first probe texts: how much an adapter changes its model."""
    probes = list(_probes(lm, texts))
    before = [_log_p(lm, ids) for ids in probes]
    with _attached(lm, folder):
        return _apart(lm, probes, before)


def _probes(lm: LM, texts: Sequence[str]) -> Iterator[Tensor]:
    for text in texts[:PROBES]:
        yield torch.tensor([lm.tok.encode(text)[:LONGEST]], device=lm.device)


@contextmanager
def _attached(lm: LM, folder: Path) -> Iterator[PeftAdapter]:
    """Inside, `lm` computes with the adapter in `folder`."""
    adapter = from_folder(lm, folder)
    try:
        yield adapter
    finally:
        adapter.remove()


@torch.no_grad()
def _log_p(lm: LM, ids: Tensor) -> Tensor:
    return lm.head.logits(lm.hidden(ids)).float().log_softmax(-1)


def _apart(lm: LM, probes: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Mean over all tokens of KL(truth || lm as it is now)."""
    moved = sum(float((p.exp() * (p - _log_p(lm, ids))).sum()) for ids, p in zip(probes, truth, strict=True))
    return moved / sum(ids.shape[1] for ids in probes)
