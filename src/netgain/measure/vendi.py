"""The Vendi score: how many different things a set effectively holds (Friedman and Dieng 2023)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-12


def effective_number(weights: Floats, q: float = 1.0) -> float:
    """Hill number of order q of non-negative weights: (sum p^q)^(1/(1-q)); exp(-sum p log p) at q = 1."""
    p = weights[weights > NEGLIGIBLE * weights.sum()] / weights.sum()
    if q == 1.0:
        return float(np.exp(-(p * np.log(p)).sum()))
    return float((p**q).sum() ** (1.0 / (1.0 - q)))


def vendi(embeddings: Floats, q: float = 1.0) -> float:
    """Effective number of the eigenvalues of the cosine matrix E E' / N of N unit rows (N, D).

    E'E / N has the same positive eigenvalues, so the smaller of the two is decomposed: min(N, D) squared in memory.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return effective_number(np.maximum(np.linalg.eigvalsh(gram), 0.0), q)


def vendi_of_kernel(similarity: Floats, q: float = 1.0) -> float:
    """The same for any positive semi-definite similarity (N, N) with ones on its diagonal."""
    return effective_number(np.maximum(np.linalg.eigvalsh(similarity), 0.0), q)
