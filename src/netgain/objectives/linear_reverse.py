"""Head, cross-entropy and reverse KL in one pass over the words, for a frozen head without bias or soft cap.

    KL(q || p) = E_q[z - t] - lse(z) + lse(t)              z = W h the student's logits, t the reference's
    d KL(q || p) / d h = E_q[(z - t) W] - E_q[z - t] E_q[W]
    d lse(z) / d h = E_q[W]

All are sums over words, gathered tile by tile under a running maximum as attention does, so four matrix products and a
tile of logits are all that it takes. Shapes: K arms, n tokens of a block, H hidden, V vocabulary, w words of a tile.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from netgain.models.lm import Head
from netgain.objectives.linear import fusable, query, refuse_other_vocabulary, slices, tile_words
from netgain.objectives.term import Reading

BLOCK, TILE = 256, 1 << 18
"""Rows of logits at once, and numbers of a tile of them that stay in a processor's cache."""


def one_pass(head: Head, reading: Reading) -> bool:
    """Whether the reverse KL of `head` from this reference can be had so."""
    return fusable(head) and reading.hidden is not None and reading.head.bias is None and reading.head.softcap is None


@dataclass
class _Sums:
    """Sums over the words so far, times exp(-top): of q's, their (z - t - shift), and both times their rows of W."""

    top: Tensor  # (K, n, 1)
    total: Tensor  # (K, n, 1)
    gap: Tensor  # (K, n, 1)
    mean: Tensor  # (K * n, H)
    tilt: Tensor  # (K * n, H)

    def fade(self, high: Tensor) -> None:
        """Put them under another maximum."""
        factor = (self.top - high).exp_()
        flat = factor.view(-1, 1)
        for each, by in ((self.total, factor), (self.gap, factor), (self.mean, flat), (self.tilt, flat)):
            each.mul_(by)
        self.top = high

    def add(self, q: Tensor, gap: Tensor, rows: Tensor) -> None:
        """One more tile: q and q (z - t - shift), (K, n, w), and its words' rows of W."""
        self.total.add_(q.sum(-1, keepdim=True))
        self.gap.add_(gap.sum(-1, keepdim=True))
        self.mean.add_(torch.mm(q.flatten(0, 1).to(rows.dtype), rows))
        self.tilt.add_(torch.mm(gap.flatten(0, 1).to(rows.dtype), rows))


def _block(h: Tensor, r: Tensor, weight: Tensor, other: Tensor, words: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(lse (K, n), KL (K, n), E_q[W] (K, n, H), d KL / d h (K, n, H)) for h (K, n, H) and the reference's r (n, H'),
    in the dtypes of the weights (V, H) and (V, H')."""
    wide = torch.promote_types(h.dtype, torch.float32)
    flat, column = h.flatten(0, 1), h.new_zeros(*h.shape[:2], 1, dtype=wide)
    zeros = (torch.zeros_like(flat, dtype=wide) for _ in range(2))
    own = _Sums(column - math.inf, column.clone(), column.clone(), *zeros)
    top, total, shift = column[0] - math.inf, column[0].clone(), None
    for rows, others in zip(weight.split(words), other.split(words), strict=True):
        z, t = torch.mm(flat, rows.t()).view(*h.shape[:2], -1).to(wide), torch.mm(r, others.t()).to(wide)
        high = torch.maximum(top, t.amax(-1, keepdim=True))
        total.mul_((top - high).exp_())
        top, gap = high, z - t
        total.add_(t.sub_(top).exp_().sum(-1, keepdim=True))
        own.fade(torch.maximum(own.top, z.amax(-1, keepdim=True)))
        q = z.sub_(own.top).exp_()
        if shift is None:  # no gradient depends on it, and without it two large numbers would cancel
            shift = torch.linalg.vecdot(q, gap)[..., None] / q.sum(-1, keepdim=True)
        gap.sub_(shift).mul_(q)
        own.add(q, gap, rows)
    assert shift is not None
    lse, ahead = own.top + own.total.log(), own.gap / own.total
    mean = own.mean.view(h.shape) / own.total
    apart = ahead + shift - (lse - (top + total.log()))  # exactly 0 of two that are the same
    return lse[..., 0], apart[..., 0], mean, own.tilt.view(h.shape) / own.total - ahead * mean


class _ReverseHead(torch.autograd.Function):
    """lse(z) (K, n) and KL(q || p) (K, n), with both gradients made on the way."""

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Head, reading: Reading, chunk: int | None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        assert reading.hidden is not None
        arms, n, _ = hidden.shape
        weight, other = head.weight.detach(), reading.head.weight.detach()
        h, r = query(hidden, head), query(reading.hidden, reading.head)
        size = max(1, BLOCK // arms)
        rows = arms * min(size, n)
        words = tile_words(rows, weight, chunk, max(1, TILE // rows))
        found = [_block(h[:, part], r[part], weight, other, words) for part in slices(n, size)]
        lse, apart, mean, slope = (torch.cat(each, 1) for each in zip(*found, strict=True))
        scale = 1.0 if head.scale is None else head.scale
        ctx.save_for_backward(mean * scale, slope * scale)
        return lse, apart

    @staticmethod
    def backward(ctx, lse: Tensor, apart: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        mean, slope = ctx.saved_tensors
        return lse[..., None] * mean + apart[..., None] * slope, None, None, None


def reverse_head(hidden: Tensor, head: Head, reading: Reading, chunk: int | None) -> tuple[Tensor, Tensor]:
    """(lse(W h) (K, n), KL(q || p) (K, n)) for hidden (K, n, H) in at least float32; see `one_pass`."""
    refuse_other_vocabulary(reading.head, head)
    if hidden.shape[1] == 0:
        empty = hidden.sum(-1)
        return empty, empty
    return _ReverseHead.apply(hidden, head, reading, chunk)
