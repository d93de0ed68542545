"""The head and the loss in one: the (N, V) matrix of logits never exists, only a chunk of its rows at a time.

Shapes: N scored tokens, H hidden, V vocabulary, K arms, T terms. Two engines:

- `logsumexp_head`: lse(W h) with its gradient E_softmax(W h)[W] made in the forward pass, two matrix products. Every
  term of the form lse(W h) - h . q + c (cross-entropy, forward KL) is this one number and a dot product, so the cost
  does not depend on how many such terms there are. Needs a frozen head without bias or soft cap. On a CPU in float32 it
  is one flash attention with query h and keys and values W, whose output is the same softmax-weighted mean of rows.
- `chunked_terms`: any term, any head. Each chunk's logits are made, scored, differentiated and dropped.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives.term import Reading

Engine = Literal["flash", "tiled"]

TILE_TOKENS, TILE_WORDS = 1024, 4096


def slices(total: int, chunk: int | None) -> Iterator[slice]:
    """0..total in pieces of `chunk`; one piece when chunk is None."""
    size = chunk or max(total, 1)
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


# ---- two matrix products: lse(W h) and its gradient


def flash_applies(weight: Tensor) -> bool:
    """Whether the flash engine is there and the faster one: torch's CPU attention that also returns the logsumexp.

    In bfloat16 it takes twice as long as tiles do."""
    there = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    return weight.device.type == "cpu" and weight.dtype != torch.bfloat16 and there


def _flash(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(lse (N,), mean (N, H)) as attention of N queries over V keys. The operator is private to torch."""
    keys = weight[None, None]
    mean, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        hidden[None, None], keys, keys, 0.0, False, attn_mask=None, scale=1.0
    )
    return lse.flatten(), mean[0, 0]


def tile_words(rows: int, weight: Tensor, chunk: int | None, most: int) -> int:
    """Words of a tile of some rows: no more numbers than `chunk` rows of logits have, and on a CPU at most `most`."""
    words = len(weight) if chunk is None else max(1, min(chunk, rows) * len(weight) // rows)
    return min(words, most) if weight.device.type == "cpu" else words


def query(hidden: Tensor, head: Head) -> Tensor:
    """What W is multiplied with for the head's logits, in the dtype of W."""
    return (hidden if head.scale is None else hidden * head.scale).to(head.weight.dtype)


def refuse_other_vocabulary(head: Head, student: Head) -> None:
    """Words are compared one by one, so both heads must have the same number of them."""
    if len(head.weight) != len(student.weight):
        raise UserError(
            f"a reference with {len(head.weight)} words cannot be compared with a student of {len(student.weight)}: "
            "they need the same vocabulary."
        )


def _tiled(hidden: Tensor, weight: Tensor, chunk: int | None) -> tuple[Tensor, Tensor]:
    """(lse (N,), mean (N, H)) from tiles of logits, some tokens by some words, under a running maximum: never more
    than `chunk` rows of logits at a time, and on a CPU as few as stay in its cache."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    lses: list[Tensor] = []
    means: list[Tensor] = []
    for h in hidden.split(TILE_TOKENS):
        words = tile_words(len(h), weight, chunk, TILE_WORDS)
        top = h.new_full((len(h), 1), -math.inf, dtype=wide)
        total, mean = torch.zeros_like(top), h.new_zeros(h.shape, dtype=wide)
        for rows in weight.split(words):
            z = torch.mm(h, rows.t())
            high = torch.maximum(top, z.amax(-1, keepdim=True))
            p = z.to(wide).sub_(high).exp_()
            fade = top.sub_(high).exp_()
            total.mul_(fade).add_(p.sum(-1, keepdim=True))
            mean.mul_(fade).add_(torch.mm(p.to(weight.dtype), rows))
            top = high
        lses.append((top + total.log())[:, 0])
        means.append(mean.div_(total))
    return torch.cat(lses), torch.cat(means)


@torch.no_grad()
def expected_row(hidden: Tensor, head: Head, chunk: int | None, engine: Engine | None = None) -> tuple[Tensor, Tensor]:
    """lse(W h) (N,) and E_p[W] (N, H) with p = softmax(W h), in at least float32.

    Both are all that a forward KL needs to know of a teacher p: KL(p || q) = lse(W h_q) - h_q . E_p[W] + c with
    c = sum_v p_v log p_v = h_p . E_p[W] - lse(W h_p).
    """
    weight = head.weight.detach()
    wide = torch.promote_types(hidden.dtype, torch.float32)
    asked = query(hidden, head)
    if len(asked) == 0:
        return asked.new_zeros(0, dtype=wide), asked.to(wide)
    engine = engine or ("flash" if flash_applies(weight) else "tiled")
    lse, mean = _flash(asked, weight) if engine == "flash" else _tiled(asked, weight, chunk)
    return lse.to(wide), mean.to(wide)


@torch.no_grad()
def soft_statistic(hidden: Tensor, head: Head, student: Head, chunk: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """E_p[W] (N, H) over the student's frozen W, sum_v p_v log p_v (N,) and lse of p's logits (N,), for
    p = softmax(head(hidden)): all that a forward KL and a cross-entropy need to know of the reference p."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    refuse_other_vocabulary(head, student)
    if head.weight.data_ptr() == student.weight.data_ptr() and fusable(head):
        lse, mean = expected_row(hidden, head, chunk)
        scaled = hidden if head.scale is None else hidden * head.scale
        return mean, (scaled.to(wide) * mean).sum(-1) - lse, lse
    means, constants, normalisers = [hidden.new_zeros(0, student.weight.shape[1], dtype=wide)], [], []
    for rows in slices(len(hidden), chunk):
        z = head.logits(hidden[rows]).to(wide)
        p = z.softmax(-1)
        likeliest, at = p.max(-1)
        lse = z.gather(-1, at[:, None])[:, 0] - likeliest.log()
        means.append((p.to(student.weight.dtype) @ student.weight.detach()).to(wide))
        constants.append(torch.linalg.vecdot(p, z) - lse)
        normalisers.append(lse)
    return torch.cat(means), torch.cat(constants), torch.cat(normalisers)


def remembered(reading: Reading, student: Head, chunk: int | None) -> tuple[Tensor, Tensor]:
    """E_p[W] (N, H) and sum_v p_v log p_v (N,) of a reference, read or made now."""
    if reading.mean is not None and reading.entropy_term is not None:
        return reading.mean, reading.entropy_term
    mean, constant, _ = soft_statistic(_states(reading), reading.head, student, chunk)
    return mean, constant


@torch.no_grad()
def judged(reading: Reading, student: Head, targets: Tensor, chunk: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """The same two, and the reference's own cross-entropy with the targets (N,)."""
    hidden, head = _states(reading), reading.head
    mean, constant, lse = soft_statistic(hidden, head, student, chunk)
    z = (hidden.to(lse.dtype) * head.weight[targets].to(lse.dtype)).sum(-1)
    z = z if head.bias is None else z + head.bias[targets]
    z = z if head.scale is None else z * head.scale
    z = z if head.softcap is None else torch.tanh(z / head.softcap) * head.softcap
    return mean, constant, lse - z


def _states(reading: Reading) -> Tensor:
    if reading.hidden is None:
        raise ValueError("the reference remembers no states, and a term needs them")
    return reading.hidden


class _LogSumExpHead(torch.autograd.Function):
    """lse(scale * W h); d lse / d h = scale * E_p[W]."""

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Head, chunk: int | None, engine: Engine | None) -> Tensor:
        lse, mean = expected_row(hidden, head, chunk, engine)
        ctx.save_for_backward(mean if head.scale is None else mean * head.scale)
        return lse

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (mean,) = ctx.saved_tensors
        return grad[:, None] * mean, None, None, None


def fusable(head: Head) -> bool:
    """Whether lse(W h) may be differentiated with respect to h alone, and without its logits."""
    return not head.trainable and head.bias is None and head.softcap is None


def logsumexp_head(hidden: Tensor, head: Head, chunk: int | None, engine: Engine | None = None) -> Tensor:
    """lse(W h) (N,) for hidden (N, H) in at least float32; its gradient is made on the way."""
    return _LogSumExpHead.apply(hidden, head, chunk, engine)


def soft_target_loss(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    a: float,
    b: float = 0.0,
    mu: Tensor | None = None,
    c: Tensor | None = None,
    *,
    chunk: int | None = None,
    engine: Engine | None = None,
) -> Tensor:
    """a CE + b KL(p || q) = (a + b) lse(W h) - h . (a W[y] + b mu) + b c at each token, (N,).

    mu (N, H) = E_p[W] and c (N,) = sum_v p_v log p_v describe the teacher p; without them b must be 0.
    """
    scaled = hidden if head.scale is None else hidden * head.scale
    vector = a * head.weight[targets].to(hidden.dtype)
    if mu is not None:
        vector = vector + b * mu
    loss = (a + b) * logsumexp_head(hidden, head, chunk, engine) - (scaled * vector).sum(-1)
    return loss if c is None else loss + b * c


# ---- any terms, any head

Measure = Callable[[Tensor, Head, slice], Tensor]
"""(hidden (K, c, H), head, which of the n tokens) -> (T, K) sums of each term over those tokens."""


@dataclass(frozen=True)
class _Job:
    head: Head
    measure: Measure
    coefficients: Tensor  # (T, K)
    chunk: int | None


class _ChunkedTerms(torch.autograd.Function):
    """loss_k = sum_t coefficient_tk * sum_n term_t(n, k), with every gradient made in the forward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        job: _Job,
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[:3]
        w = weight.detach().requires_grad_(wanted[1])
        b = None if bias is None else bias.detach().requires_grad_(wanted[2])
        head = replace(job.head, weight=w, bias=b)
        sums = torch.zeros_like(job.coefficients)
        dh = torch.zeros_like(hidden) if wanted[0] else None
        dw = torch.zeros_like(weight) if wanted[1] else None
        db = torch.zeros_like(bias) if bias is not None and wanted[2] else None
        for part in slices(hidden.shape[1], job.chunk):
            h = hidden[:, part].detach().requires_grad_(wanted[0])
            with torch.enable_grad():
                found = job.measure(h, head, part)
                loss = (job.coefficients * found).sum()
            sums += found.detach()
            inputs = [t for t in (h, w, b) if t is not None and t.requires_grad]
            outputs = [t for t in (None if dh is None else dh[:, part], dw, db) if t is not None]
            for output, made in zip(outputs, torch.autograd.grad(loss, inputs), strict=True):
                output.add_(made)
        ctx.save_for_backward(dh, dw, db)
        ctx.mark_non_differentiable(sums)
        return (job.coefficients * sums).sum(0), sums

    @staticmethod
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        dh, dw, db = ctx.saved_tensors
        return (
            None if dh is None else dh * grad[:, None, None].to(dh.dtype),
            None if dw is None else dw * grad[0].to(dw.dtype),
            None if db is None else db * grad[0].to(db.dtype),
            None,
        )


def chunked_terms(
    hidden: Tensor, head: Head, measure: Measure, coefficients: Tensor, chunk: int | None
) -> tuple[Tensor, Tensor]:
    """(loss (K,), sums (T, K)) for hidden (K, n, H): `measure` sees `chunk` tokens at a time, all arms of a token
    together; loss_k = sum_t coefficients[t, k] sums[t, k] is differentiable, the sums are not."""
    arms = len(hidden)
    if head.trainable and arms != 1:
        raise ValueError("a head that learns belongs to one arm, so it cannot be shared by a pack")
    size = None if chunk is None else max(1, chunk // arms)
    tensors: Sequence[Tensor | None] = (hidden, head.weight, head.bias)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        loss, sums = _ChunkedTerms.apply(hidden, head.weight, head.bias, _Job(head, measure, coefficients, size))
        return loss, sums
    sums = torch.zeros_like(coefficients)
    for part in slices(hidden.shape[1], size):
        sums += measure(hidden[:, part], head, part)
    return (coefficients * sums).sum(0), sums
