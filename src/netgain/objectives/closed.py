"""Divergences of log-probabilities with their slopes made on the way: one tensor is kept, where autograd keeps five.

p and q (..., M) are log-probabilities of reference and student; the slope is with respect to q, and none goes to p.
"""

import math

import torch
from torch import Tensor


class _Reverse(torch.autograd.Function):
    """sum_v e^q (q - p); d / dq = e^q (q - p + 1)."""

    @staticmethod
    def forward(ctx, q: Tensor, p: Tensor) -> Tensor:  # type: ignore[override]
        own = q.exp()
        slope = (q - p).mul_(own)
        value = slope.sum(-1)
        ctx.save_for_backward(slope.add_(own))
        return value

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return grad[..., None] * slope, None


class _JensenShannon(torch.autograd.Function):
    """b sum_v e^p (p - m) + (1 - b) sum_v e^q (q - m), e^m = b e^p + (1 - b) e^q; d / dq = (1 - b) e^q (q - m)."""

    @staticmethod
    def forward(ctx, q: Tensor, p: Tensor, b: float) -> Tensor:  # type: ignore[override]
        m = torch.logaddexp(p + math.log(b), q + math.log1p(-b))
        value = b * (p - m).mul_(p.exp()).sum(-1)
        slope = m.neg_().add_(q).mul_(q.exp()).mul_(1 - b)
        ctx.save_for_backward(slope)
        return value + slope.sum(-1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return grad[..., None] * slope, None, None


def reverse(p: Tensor, q: Tensor) -> Tensor:
    """KL(q || p), (...)."""
    return _Reverse.apply(q, p)


def jensen_shannon(p: Tensor, q: Tensor, b: float) -> Tensor:
    """b KL(p || m) + (1 - b) KL(q || m), (...)."""
    return _JensenShannon.apply(q, p, b)
