"""Low-rank updates as what they do, not as how they are written.

(B, A) and (B R, R^-1 A) are one update, so nothing here depends on the factors but through the product B A: inner
products, combinations, truncation. Shapes: m outputs, d inputs, r the rank of one update, N updates, R = sum of ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OVERSAMPLED = 8
"""How many directions beyond the wanted rank the subspace iteration carries."""
ITERATIONS = 24
NEGLIGIBLE = 1e-10
"""Directions with less than this share of the largest squared length are rounding."""


@dataclass(frozen=True)
class Update:
    """Delta W = b a, with b (m, r) and a (r, d); the method's own scale is folded in."""

    b: np.ndarray
    a: np.ndarray

    def __post_init__(self) -> None:
        if self.b.ndim != 2 or self.a.ndim != 2 or self.b.shape[1] != self.a.shape[0]:
            raise ValueError(f"factors {self.b.shape} and {self.a.shape} do not make an update")

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d)."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def rank(self) -> int:
        """r, the number of columns of b."""
        return self.b.shape[1]

    def dense(self) -> np.ndarray:
        """Delta W (m, d)."""
        return self.b @ self.a


def canonical(update: Update) -> Update:
    """The one way to write b a as U sqrt(S), sqrt(S) V': singular values falling, the largest entry of each left
    vector positive. Thin QR of both factors, then an SVD of r x r."""
    left, upper = np.linalg.qr(update.b.astype(np.float64))
    right, lower = np.linalg.qr(update.a.T.astype(np.float64))
    u, s, vt = np.linalg.svd(upper @ lower.T)
    b, a = left @ u, vt @ right.T
    signs = np.sign(b[np.abs(b).argmax(0), np.arange(b.shape[1])])
    root = np.sqrt(s) * np.where(signs == 0, 1.0, signs)
    return Update(b * root, root[:, None] * a)


class Bundle:
    """N updates of one layer side by side, with the Gram matrices of their factors: b'b and a a' (R, R)."""

    def __init__(self, updates: Sequence[Update]) -> None:
        if len({update.shape for update in updates}) != 1:
            raise ValueError("updates of different shapes cannot be combined")
        self.b = np.concatenate([update.b for update in updates], axis=1)
        self.a = np.concatenate([update.a for update in updates], axis=0)
        self.ranks = np.array([update.rank for update in updates])
        self.starts = np.concatenate([[0], np.cumsum(self.ranks)[:-1]])
        self.gram_b = (self.b.T @ self.b).astype(np.float64)
        self.gram_a = (self.a @ self.a.T).astype(np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d)."""
        return self.b.shape[0], self.a.shape[1]

    def inner(self) -> np.ndarray:
        """<Delta W_i, Delta W_j> = tr((b_i' b_j)(a_j a_i')), (N, N): no (m, d) matrix is ever made."""
        product = self.gram_b * self.gram_a
        return np.add.reduceat(np.add.reduceat(product, self.starts, axis=0), self.starts, axis=1)

    def combine(self, weights: np.ndarray, rank: int) -> Update:
        """The best update of that rank to sum_i weights_i Delta W_i, balanced: b'b = a a'.

        Subspace iteration on M = B D A in the coordinates of the stacked factors, where one step costs R^2 numbers and
        not m d. A vector is v = A'c or u = B e; M v has coordinates D (A A') c, and M'u has D (B'B) e.
        """
        scale = np.repeat(np.asarray(weights, dtype=np.float64), self.ranks)[:, None]
        width = min(rank + OVERSAMPLED, len(scale))
        c = np.random.default_rng(0).standard_normal((len(scale), width))
        c = _orthonormal(self.gram_a, c)
        for _ in range(ITERATIONS):
            e = _orthonormal(self.gram_b, scale * (self.gram_a @ c))
            moved = _orthonormal(self.gram_a, scale * (self.gram_b @ e))
            turned = np.linalg.norm(moved - c @ (c.T @ (self.gram_a @ moved))) if moved.shape == c.shape else np.inf
            c = moved
            if turned <= 1e-9 * np.linalg.norm(c):
                break
        e = _orthonormal(self.gram_b, scale * (self.gram_a @ c))
        core = (self.gram_b @ e).T @ (scale * (self.gram_a @ c))
        u, s, vt = np.linalg.svd(core, full_matrices=False)
        kept = min(rank, len(s))
        root = np.zeros(rank)
        root[:kept] = np.sqrt(s[:kept])
        left, right = np.zeros((len(scale), rank)), np.zeros((len(scale), rank))
        left[:, :kept], right[:, :kept] = e @ u[:, :kept], c @ vt[:kept].T
        kind = self.b.dtype
        return Update(self.b @ (left * root).astype(kind), (right * root).T.astype(kind) @ self.a)


def _orthonormal(gram: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Coordinates of an orthonormal basis of the span of c under the inner product `gram`; null directions fall."""
    lengths, turns = np.linalg.eigh(c.T @ (gram @ c))
    kept = lengths > NEGLIGIBLE * max(lengths[-1], 0.0) if len(lengths) else np.zeros(0, dtype=bool)
    return (c @ turns[:, kept]) / np.sqrt(lengths[kept])


def cross_inner(bundle: Bundle, other: Update) -> np.ndarray:
    """<Delta W_i, other> of each update in the bundle, (N,)."""
    product = (bundle.b.T @ other.b).astype(np.float64) * (bundle.a @ other.a.T).astype(np.float64)
    return np.add.reduceat(product.sum(1), bundle.starts)


def truncate(update: Update, rank: int) -> Update:
    """The best update of a smaller rank, or the same one with zero columns up to `rank`."""
    full = canonical(update)
    if rank <= full.rank:
        return Update(full.b[:, :rank], full.a[:rank])
    more = rank - full.rank
    return Update(np.pad(full.b, ((0, 0), (0, more))), np.pad(full.a, ((0, more), (0, 0))))
