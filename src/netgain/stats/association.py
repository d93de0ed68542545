"""Do two numbers of the same things go together? Spearman's rho with an interval that few points deserve.

z = atanh(rho),   SE(z) = sqrt((1 + rho^2 / 2) / (n - 3))                    (Bonett and Wright, 2000)

A perfect order of n points is no proof of a perfect order: for the interval |rho| counts as at most 1 - 1/n.
"""

import math
from dataclasses import replace

import numpy as np

from netgain.errors import UserError
from netgain.stats.distributions import normal_quantile
from netgain.stats.ranking import rank_correlation
from netgain.stats.result import Estimate, Floats

METHOD = "Spearman, Fisher's z with Bonett and Wright's error"


def association(x: Floats, y: Floats, *, level: float = 0.95, what: str = "rank correlation") -> Estimate:
    """x (n,), y (n,) of independent things. With fewer than four, or with one side constant, anything is possible."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"A correlation is of two equally long lists, not of {x.shape} and {y.shape}.")
    if np.isnan(x).any() or np.isnan(y).any():
        raise UserError("A correlation takes no missing values; leave the things out that lack one.")
    rho, n = (rank_correlation(x, y) if x.size else math.nan), x.size
    found = Estimate(what, rho, -1.0, 1.0, level, METHOD, n)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return found
    held = math.copysign(min(abs(rho), 1 - 1 / n), rho)
    half = normal_quantile(0.5 + level / 2) * math.sqrt((1 + held**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(held) - half), math.tanh(math.atanh(held) + half)
    return replace(found, low=min(low, rho), high=max(high, rho))
