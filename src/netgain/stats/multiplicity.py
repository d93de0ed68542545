"""Many claims at once: Holm for claims, Benjamini-Hochberg for screens; the family's size is carried and said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Adjusted:
    """p-values adjusted within a declared family."""

    p: Mapping[str, float]
    adjusted: Mapping[str, float]
    rejected: tuple[str, ...]
    family: int
    alpha: float
    method: Literal["Holm", "Benjamini-Hochberg"]

    def sentence(self) -> str:
        kind = "claims" if self.method == "Holm" else "discoveries"
        names = ", ".join(self.rejected) if self.rejected else "none"
        return f"{len(self.rejected)} of {self.family} stand as {kind} after {self.method} at {self.alpha:g}: {names}."


def holm(p: Mapping[str, float], *, alpha: float = 0.05, family: int | None = None) -> Adjusted:
    """adj_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), p ascending; m is the declared family, at least len(p)."""
    names, values, size = ordered(p, family)
    steps = np.minimum(1.0, (size - np.arange(values.size)) * values)
    return collected(p, names, np.maximum.accumulate(steps) if steps.size else steps, size, alpha, "Holm")


def benjamini_hochberg(p: Mapping[str, float], *, alpha: float = 0.05, family: int | None = None) -> Adjusted:
    """adj_(i) = min_{j >= i} min(1, m p_(j) / j), p ascending."""
    names, values, size = ordered(p, family)
    steps = np.minimum(1.0, size * values / np.arange(1, values.size + 1))
    lowest = np.minimum.accumulate(steps[::-1])[::-1] if steps.size else steps
    return collected(p, names, lowest, size, alpha, "Benjamini-Hochberg")


def ordered(p: Mapping[str, float], family: int | None) -> tuple[list[str], np.ndarray, int]:
    names = sorted(p, key=lambda name: p[name])
    size = len(p) if family is None else family
    if size < len(p):
        raise ValueError(f"the family holds {size} claims, yet {len(p)} p-values were given")
    return names, np.array([p[name] for name in names], dtype=np.float64), size


def collected(
    p: Mapping[str, float],
    names: list[str],
    adjusted: np.ndarray,
    family: int,
    alpha: float,
    method: Literal["Holm", "Benjamini-Hochberg"],
) -> Adjusted:
    values = {name: float(value) for name, value in zip(names, adjusted, strict=True)}
    in_order = {name: values[name] for name in p}
    return Adjusted(dict(p), in_order, tuple(n for n in p if values[n] <= alpha), family, alpha, method)
