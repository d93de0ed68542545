"""Which layers of two models compute alike: linear centred kernel alignment of what they read on the same text.

    CKA(X, Y) = <K_x, K_y> / (|K_x| |K_y|), K = C Z Z' C over positions that end at the same character in both models
It sees neither a rotation nor a scale of the hidden states (Kornblith et al. 2019).
"""

from collections.abc import Sequence

import numpy as np
import torch

from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.translate.files import Place
from netgain.translate.stitch import align, watched

POSITIONS = 512
"""Enough to tell layers apart; the kernels have so many rows."""


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Similarity in [0, 1] of (n, p) and (n, q)."""
    k, m = _kernel(x), _kernel(y)
    lengths = float(np.linalg.norm(k) * np.linalg.norm(m))
    return float((k * m).sum()) / lengths if lengths else 0.0


def _kernel(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(0)
    return centred @ centred.T


def similar_layers(
    source: LM, source_places: Sequence[Place], target: LM, target_places: Sequence[Place], texts: Sequence[str]
) -> dict[int, int]:
    """target layer -> the source layer whose input is most like its own, among layers that have places.

    The first and the last answer to each other, and no layer answers to one before its predecessor's: of all such
    matches the one with the largest sum.
    """
    own, theirs = _firsts(target_places), _firsts(source_places)
    states_x, states_y = _states(source, list(theirs.values()), target, list(own.values()), texts)
    similar = np.array([[cka(x, y) for x in states_x] for y in states_y])
    return {layer: list(theirs)[at] for layer, at in zip(own, _rising(similar), strict=True)}


def _firsts(places: Sequence[Place]) -> dict[int, str]:
    """layer -> the name of its first place."""
    found: dict[int, str] = {}
    for place in sorted(places, key=lambda place: place.layer):
        found.setdefault(place.layer, place.name)
    return found


@torch.no_grad()
def _states(
    source: LM, source_names: Sequence[str], target: LM, target_names: Sequence[str], texts: Sequence[str]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the named layers of both models read at the same positions, (n, d) each."""
    left: list[list[np.ndarray]] = [[] for _ in source_names]
    right: list[list[np.ndarray]] = [[] for _ in target_names]
    seen = 0
    for text in texts:
        pair = align(source, target, text)
        if not len(pair.positions):
            continue
        sides = ((source, source_names, pair.source, 0, left), (target, target_names, pair.target, 1, right))
        for lm, names, ids, column, rows in sides:
            with watched(lm, names) as found:
                lm.hidden(ids.to(lm.device))
            for own, (read, _) in zip(rows, found, strict=True):
                own.append(read[pair.positions[:, column]])
        seen += len(pair.positions)
        if seen >= POSITIONS:
            break
    if seen < 2:
        raise UserError("no token of the two models ends at the same character, so their layers cannot be compared.")
    return [np.concatenate(rows)[:POSITIONS] for rows in left], [np.concatenate(rows)[:POSITIONS] for rows in right]


def _rising(similar: np.ndarray) -> list[int]:
    """The columns (one a row, never falling, first to first and last to last) with the largest sum of (L_y, L_x)."""
    rows, columns = similar.shape
    if rows == 1:
        return [int(similar[0].argmax())]
    best = np.full((rows, columns), -np.inf)
    best[0, 0] = similar[0, 0]
    for i in range(1, rows):
        best[i] = np.maximum.accumulate(best[i - 1]) + similar[i]
    path = [columns - 1]
    for i in range(rows - 2, -1, -1):
        path.append(int(best[i, : path[-1] + 1].argmax()))
    return path[::-1]
