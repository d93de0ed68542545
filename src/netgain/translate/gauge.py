"""Low-rank updates as what they do, not as how they are written.

(B, A) and (B R, R^-1 A) are one update, so nothing here depends on the factors but through the product B A: inner
products, combinations, truncation. Shapes: m outputs, d inputs, r the rank of one update, N updates, R = sum of ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, solve_triangular

NEGLIGIBLE = 1e-14
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


def stacked(updates: Sequence[Update]) -> Update:
    """Updates of layers that read one input, as one of their outputs in a row: b block-diagonal, a one upon another."""
    if len(updates) == 1:
        return updates[0]
    outputs, ranks = [update.b.shape[0] for update in updates], [update.rank for update in updates]
    b = np.zeros((sum(outputs), sum(ranks)), dtype=updates[0].b.dtype)
    row = column = 0
    for update in updates:
        b[row : row + len(update.b), column : column + update.rank] = update.b
        row, column = row + len(update.b), column + update.rank
    return Update(b, np.concatenate([update.a for update in updates]))


@dataclass(frozen=True)
class Products:
    """The Gram matrices of stacked factors, b'b and a a' (R, R), and how many columns each of N updates has.

    All that inner products and the choice of a combination need: the factors themselves may be gone.
    """

    b: np.ndarray
    a: np.ndarray
    ranks: np.ndarray

    def inner(self) -> np.ndarray:
        """<Delta W_i, Delta W_j> = tr((b_i' b_j)(a_j a_i')), (N, N): no (m, d) matrix is ever made."""
        starts = np.concatenate([[0], np.cumsum(self.ranks)[:-1]])
        product = self.b.astype(np.float64) * self.a.astype(np.float64)
        return np.add.reduceat(np.add.reduceat(product, starts, axis=0), starts, axis=1)

    def best(self, weights: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """left and right (R, rank), so that (b left)(right' a) is the best update of that rank to
        sum_i weights_i Delta W_i, balanced.

        With a a' = C C' the right singular vectors of b D a are a' C^-T v, v the leading eigenvectors of
        (D C)' b'b (D C): R x R numbers, and never m x d.
        """
        root, inverse = _root(self.a.astype(np.float64))
        scaled = np.repeat(np.asarray(weights, dtype=np.float64), self.ranks)[:, None] * root
        inner = scaled.T @ self.b.astype(np.float64) @ scaled
        squares, turns = eigh(inner, subset_by_index=[max(len(inner) - rank, 0), len(inner) - 1])
        kept = np.flatnonzero(squares > NEGLIGIBLE * max(squares[-1], 0.0))[::-1]
        balance = squares[kept] ** 0.25
        left, right = (np.zeros((len(self.a), rank)) for _ in range(2))
        left[:, : len(kept)] = scaled @ turns[:, kept] / balance
        right[:, : len(kept)] = inverse(turns[:, kept]) * balance
        return left, right


def _root(gram: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """C with C C' = gram, and v -> C^-T v: by Cholesky, or on the span where the gram has null directions."""
    try:
        lower = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(gram)
        kept = values > NEGLIGIBLE * values[-1]
        root = np.sqrt(values[kept])
        return vectors[:, kept] * root, lambda v: (vectors[:, kept] / root) @ v
    return lower, lambda v: solve_triangular(lower, v, trans=1, lower=True)


class Bundle:
    """N updates of one layer side by side: b (m, R) and a (R, d), R the sum of their ranks."""

    def __init__(self, b: np.ndarray, a: np.ndarray, ranks: Sequence[int]) -> None:
        self.b, self.a = b, a
        self.ranks = np.array(ranks)

    @classmethod
    def of(cls, updates: Sequence[Update]) -> "Bundle":
        """Updates of one shape."""
        if len({update.shape for update in updates}) != 1:
            raise ValueError("updates of different shapes cannot be combined")
        return cls(
            np.concatenate([update.b for update in updates], axis=1),
            np.concatenate([update.a for update in updates], axis=0),
            [update.rank for update in updates],
        )

    def products(self) -> Products:
        """What is known of the updates without their factors, in the factors' own precision."""
        return Products(self.b.T @ self.b, self.a @ self.a.T, self.ranks)

    def inner(self) -> np.ndarray:
        """<Delta W_i, Delta W_j>, (N, N)."""
        return self.products().inner()

    def combine(self, weights: np.ndarray, rank: int, products: Products | None = None) -> Update:
        """The best update of that rank to sum_i weights_i Delta W_i, balanced: b'b = a a'."""
        left, right = (products or self.products()).best(weights, rank)
        kind = self.b.dtype
        return Update(self.b @ left.astype(kind), right.T.astype(kind) @ self.a)


def cross_inner(bundle: Bundle, other: Update) -> np.ndarray:
    """<Delta W_i, other> of each update in the bundle, (N,)."""
    product = (bundle.b.T @ other.b).astype(np.float64) * (bundle.a @ other.a.T).astype(np.float64)
    return np.add.reduceat(product.sum(1), np.concatenate([[0], np.cumsum(bundle.ranks)[:-1]]))


def truncate(update: Update, rank: int) -> Update:
    """The best update of a smaller rank, or the same one with zero columns up to `rank`."""
    full = canonical(update)
    if rank <= full.rank:
        return Update(full.b[:, :rank], full.a[:rank])
    more = rank - full.rank
    return Update(np.pad(full.b, ((0, 0), (0, more))), np.pad(full.a, ((0, more), (0, 0))))
