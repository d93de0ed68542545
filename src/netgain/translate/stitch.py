"""Translation without anchors: linear maps between what two models compute on the same generic text.

    Delta W_Y = Q' Delta W_X P'        P: inputs of the target layer -> inputs of the source layer, x_X = P' x_Y
                                       Q: outputs of the source layer -> outputs of the target layer, o_Y = Q' o_X
Both maps are fitted at positions where a token ends at the same character in both tokenizations, so the tokenizers may
differ. Where several source layers do the work of one target layer, their outputs stand in a row; the result is
truncated to the rank that one of them had. A layer whose outputs are wider than its inputs says nothing of the
directions that it never writes, and what an update writes there is lost.

`subspace` needs no text: it writes the update in the leading singular directions of the source's own weight and reads
it in the target's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.translate.files import Place
from netgain.translate.gauge import Update, truncate

Fit = Literal["ridge", "procrustes"]
STRENGTHS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge strengths that are tried, in units of the mean eigenvalue."""
ENOUGH = 6
"""Pairs of rows for each number of the widest layer: more text is not read."""
ALIKE, EXACT = 0.01, 1e-9
"""Strengths predict alike when they differ by less than this share of what the best leaves unexplained, or by rounding
where it leaves nothing."""
HELD_OUT = 4
"""Every HELD_OUT-th text chooses the strength and says how well a map predicts."""


@dataclass
class Moments:
    """Sums over n pairs of rows (x, y): enough for any linear map from x (p,) to y (q,)."""

    xx: np.ndarray
    xy: np.ndarray
    x: np.ndarray
    y: np.ndarray
    yy: float = 0.0
    n: int = 0

    @classmethod
    def empty(cls, p: int, q: int) -> "Moments":
        return cls(np.zeros((p, p)), np.zeros((p, q)), np.zeros(p), np.zeros(q))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """More pairs, (n, p) and (n, q); summed in float64, since weak directions decide how exact a map is."""
        x, y = x.astype(np.float64), y.astype(np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.yy += float((y**2).sum())
        self.n += len(x)

    def centred(self) -> tuple[np.ndarray, np.ndarray, float]:
        """(cov xx, cov xy, var y), each times n."""
        mean_x, mean_y = self.x / self.n, self.y / self.n
        total = self.yy - self.n * float(mean_y @ mean_y)
        return self.xx - self.n * np.outer(mean_x, mean_x), self.xy - self.n * np.outer(mean_x, mean_y), total

    def explained(self, linear: np.ndarray) -> float:
        """The share of y's variance that x times the map explains: 1 - ||Y - X M||^2 / ||Y||^2, centred."""
        xx, xy, yy = self.centred()
        gap = yy - 2 * float((linear * xy).sum()) + float((linear * (xx @ linear)).sum())
        return 1 - gap / yy if yy > 0 else 0.0


@dataclass(frozen=True)
class Map:
    """A linear map (p, q) and the share of held-out variance that it explains."""

    linear: np.ndarray
    explained: float


def fit(train: Moments, held_out: Moments, kind: Fit) -> Map:
    """The map from x to y: ridge with the strength that predicts held-out pairs best, or a scaled rotation."""
    xx, xy, _ = train.centred()
    if kind == "procrustes":
        u, s, vt = np.linalg.svd(xy, full_matrices=False)
        linear = (s.sum() / max(float(np.trace(xx)), np.finfo(float).tiny)) * (u @ vt)
        return Map(linear, held_out.explained(linear))
    values, vectors = np.linalg.eigh(xx)
    values = values.clip(0)
    unit = float(values.mean())
    turned = vectors.T @ xy
    tried = [vectors @ (turned / (values + s * unit)[:, None]) for s in STRENGTHS]
    scored = [held_out.explained(linear) for linear in tried]
    # Of strengths that predict alike the largest: what the text says nothing of must not be amplified.
    enough = max(scored) - EXACT - ALIKE * max(1 - max(scored), 0.0)
    best = max(i for i, score in enumerate(scored) if score >= enough)
    return Map(tried[best], scored[best])


@dataclass(frozen=True)
class Stitched:
    """One translated update, and how much of each side its maps explain."""

    place: Place
    update: Update
    inputs: float
    outputs: float


def stitch(
    source: LM,
    target: LM,
    updates: Mapping[Place, tuple[Sequence[Place], Update]],
    texts: Sequence[str],
    kind: Fit = "ridge",
    rank: int | None = None,
) -> Iterator[Stitched]:
    """`updates` maps each target place to its source places and the update there; texts are any generic text."""
    wide = max(max(update.shape) for _, update in updates.values())
    aligned, rows = list[Aligned](), 0
    for text in texts:
        pair = align(source, target, text)
        if len(pair.positions):
            aligned.append(pair)
            rows += len(pair.positions)
        if rows >= ENOUGH * wide and len(aligned) >= 2 * HELD_OUT:
            break
    if len(aligned) < 2 * HELD_OUT:
        raise UserError(f"{len(aligned)} texts have tokens that end together in both models; give at least 8.")
    for chunk in _chunks(target, list(updates.items())):
        moments = _collect(source, target, chunk, aligned)
        for (place, (_, update)), (inputs, outputs) in zip(chunk, moments, strict=True):
            into, out = fit(*inputs, kind), fit(*outputs, kind)
            b = (out.linear.T @ update.b).astype(np.float32)
            a = (update.a @ into.linear.T).astype(np.float32)
            made = Update(b, a)
            if rank is not None and made.rank > rank:
                made = truncate(made, rank)
            yield Stitched(place, made, into.explained, out.explained)


AT_ONCE = 2**29
"""Bytes of moments that are summed in one pass over the text: more passes rather than more memory."""
Work = tuple[Place, tuple[Sequence[Place], Update]]


def _chunks(target: LM, items: Sequence[Work]) -> Iterator[list[Work]]:
    """The work in parts whose moments fit."""
    chunk: list[Work] = []
    held = 0
    for place, (there, update) in items:
        (m_x, d_x), shape = update.shape, target.net.get_parameter(f"{place.name}.weight").shape
        wide = int(max(shape))
        needed = 2 * 8 * (wide * (wide + d_x) + m_x * (m_x + wide))
        if chunk and held + needed > AT_ONCE:
            yield chunk
            chunk, held = [], 0
        chunk.append((place, (there, update)))
        held += needed
    yield chunk


@dataclass(frozen=True)
class Aligned:
    """One text in both vocabularies, and the pairs of positions (n, 2) whose tokens end at the same character."""

    source: Tensor
    target: Tensor
    positions: np.ndarray


def align(source: LM, target: LM, text: str) -> Aligned:
    """Both tokenizations of a text, each behind its own first token."""
    ids_x, ends_x = _tokens(source, text)
    ids_y, ends_y = _tokens(target, text)
    where = {end: j for j, end in enumerate(ends_y) if end}
    pairs = [(i, where[end]) for i, end in enumerate(ends_x) if end and end in where]
    return Aligned(torch.tensor([ids_x]), torch.tensor([ids_y]), np.array(pairs, dtype=int).reshape(-1, 2))


def _tokens(lm: LM, text: str) -> tuple[list[int], list[int]]:
    """(ids, the character each ends at); the first token of a text ends nowhere."""
    first = lm.tok.bos_token_id if lm.tok.bos_token_id is not None else lm.tok.eos_token_id
    limit = (lm.max_positions or 1024) - 1
    found = lm.tok(text, return_offsets_mapping=True, add_special_tokens=False)
    ids, ends = found["input_ids"][:limit], [end for _, end in found["offset_mapping"]][:limit]
    return [int(first), *ids], [0, *ends]  # type: ignore[arg-type]


Pair = tuple[Moments, Moments]
Sides = tuple[np.ndarray, np.ndarray]
"""What a layer read (T, d) and wrote (T, m)."""


@torch.no_grad()
def _collect(source: LM, target: LM, chunk: list[Work], aligned: Sequence[Aligned]) -> list[tuple[Pair, Pair]]:
    """For each place ((train, held out) of the inputs' map, (train, held out) of the outputs')."""
    found: list[tuple[Pair, Pair]] = []
    for number, each in enumerate(aligned):
        with watched(source, [there.name for _, (places, _) in chunk for there in places]) as seen:
            source.hidden(each.source.to(source.device))
        with watched(target, [place.name for place, _ in chunk]) as seen_y:
            target.hidden(each.target.to(target.device))
        seen_x = _in_a_row(seen, [len(places) for _, (places, _) in chunk])
        part = 1 if number % HELD_OUT == HELD_OUT - 1 else 0
        for i in range(len(chunk)):
            in_x, out_x = (side[each.positions[:, 0]] for side in seen_x[i])
            in_y, out_y = (side[each.positions[:, 1]] for side in seen_y[i])
            if len(found) <= i:
                sizes = (in_y.shape[1], in_x.shape[1]), (out_x.shape[1], out_y.shape[1])
                empty = [(Moments.empty(*size), Moments.empty(*size)) for size in sizes]
                found.append((empty[0], empty[1]))
            found[i][0][part].add(in_y, in_x)
            found[i][1][part].add(out_x, out_y)
    return found


def _in_a_row(seen: Sequence[Sides], counts: Sequence[int]) -> list[Sides]:
    """What layers that read one input saw, as if they were one layer: `counts` of them each."""
    found: list[Sides] = []
    first = 0
    for count in counts:
        own = seen[first : first + count]
        found.append((own[0][0], np.concatenate([out for _, out in own], axis=1)))
        first += count
    return found


@contextmanager
def watched(lm: LM, names: Sequence[str]) -> Iterator[list[Sides]]:
    """Inside, a forward pass of one text leaves (inputs, outputs) of each named layer in the list."""
    seen: list[Sides] = [(np.zeros(0), np.zeros(0))] * len(names)

    def keep(i: int):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[i] = inputs[0][0].float().cpu().numpy(), output[0].float().cpu().numpy()

        return hook

    handles = [lm.net.get_submodule(name).register_forward_hook(keep(i)) for i, name in enumerate(names)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def subspace(source_weight: np.ndarray, target_weight: np.ndarray, update: Update, rank: int) -> Update:
    """U_Y (U_X' Delta W_X V_X) V_Y' over the leading singular directions of both weights (m, d).

    Where both weights have one shape, it is the projection U_Y U_Y' Delta W_X V_Y V_Y' onto the target's own subspace.
    """
    ux, vx = _leading(source_weight, rank)
    uy, vy = _leading(target_weight, rank)
    if source_weight.shape == target_weight.shape:
        return Update(uy @ (uy.T @ update.b), (update.a @ vy) @ vy.T)
    width = min(ux.shape[1], uy.shape[1], vx.shape[1], vy.shape[1])
    core_b = ux[:, :width].T @ update.b
    core_a = update.a @ vx[:, :width]
    return Update(uy[:, :width] @ core_b, core_a @ vy[:, :width].T)


def _leading(weight: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading left (m, rank) and right (d, rank) singular vectors, the largest entry of each left one positive."""
    u, _, vt = np.linalg.svd(weight, full_matrices=False)
    u, v = u[:, :rank], vt[:rank].T
    signs = np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])
    return u * signs, v * signs
