"""Quantiles and tails of the few distributions the room needs.

scipy.special is loaded on first use: `scipy.stats` alone costs half a second, which a small audit does not have.
"""

import math
from statistics import NormalDist

NORMAL = NormalDist()


def normal_quantile(p: float) -> float:
    """z with Phi(z) = p."""
    return NORMAL.inv_cdf(p)


def normal_tail(x: float) -> float:
    """P(Z > x), accurate far out in the tail."""
    return 0.5 * math.erfc(x / math.sqrt(2.0))


def t_quantile(p: float, df: float) -> float:
    """t with P(T_df <= t) = p; the normal quantile when df is infinite."""
    if math.isinf(df):
        return normal_quantile(p)
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def t_tail(x: float, df: float) -> float:
    """P(T_df > x)."""
    if math.isinf(df):
        return normal_tail(x)
    from scipy.special import stdtr

    return float(stdtr(df, -x))


def beta_quantile(p: float, a: float, b: float) -> float:
    """x with P(Beta(a, b) <= x) = p."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, p))


def binomial_cdf(k: int, n: int) -> float:
    """P(Bin(n, 1/2) <= k)."""
    from scipy.special import bdtr

    return float(bdtr(k, n, 0.5)) if k >= 0 else 0.0


def f_quantile(p: float, df1: float, df2: float) -> float:
    """f with P(F_{df1, df2} <= f) = p."""
    from scipy.special import fdtri

    return float(fdtri(df1, df2, p))
