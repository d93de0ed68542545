"""The reverse KL in one pass over the words: the plain formula's value and gradient, and never the logits."""

import pytest
import torch
import torch.nn.functional as F
from test_linear_head import Largest
from torch import Tensor

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives import linear_reverse
from netgain.objectives.linear_reverse import reverse_head
from netgain.objectives.objective import Loss, Objective
from netgain.objectives.selection import Selected, Selection
from netgain.objectives.term import Reading
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.reverse_kl import ReverseKl
from netgain.spec.run import Weighted

torch.set_num_threads(1)
K, N, H, V = 3, 11, 16, 301


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Students (K, N, H), a reference near them (N, H) with a head of its own, and W (V, H)."""
    g = torch.Generator().manual_seed(5)
    hidden = torch.randn(K, N, H, generator=g, dtype=torch.float64)
    weight = torch.randn(V, H, generator=g, dtype=torch.float64)
    teacher = hidden[0] + 0.3 * torch.randn(N, H, generator=g, dtype=torch.float64)
    other = weight + 0.1 * torch.randn(V, H, generator=g, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(), teacher.to(dtype), weight.to(dtype), other.to(dtype)


def plain(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """(lse, KL(q || p)) from full logits."""
    q, p = z.log_softmax(-1), t.log_softmax(-1)
    return z.logsumexp(-1), F.kl_div(p.expand_as(q), q, reduction="none", log_target=True).sum(-1)


def both(lse: Tensor, apart: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Each one's gradient, tokens weighed unevenly."""
    token = torch.linspace(0.5, 1.5, lse.shape[1], dtype=lse.dtype)
    first = torch.autograd.grad((lse * token).sum(), hidden, retain_graph=True)[0]
    return first, torch.autograd.grad((apart * token).sum(), hidden)[0]


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize(("block", "tile"), [(256, 1 << 18), (4, 50), (1, 1)])
def test_blocks_and_tiles_of_any_size_give_the_plain_formula(
    block: int, tile: int, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_reverse, "BLOCK", block)
    monkeypatch.setattr(linear_reverse, "TILE", tile)
    hidden, teacher, weight, other = drawn()
    head, reading = Head(weight, scale=0.7), Reading(teacher, Head(other, scale=1.2))
    found = reverse_head(hidden, head, reading, chunk)
    right = plain(head.logits(hidden), reading.head.logits(teacher))
    for ours, theirs in zip(found, right, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(both(*found, hidden), both(*right, hidden), strict=True):
        assert (ours - theirs).norm() <= 1e-10 * theirs.norm()


def test_the_custom_gradient_passes_gradcheck() -> None:
    hidden, teacher, weight, other = drawn()
    reading = Reading(teacher[:3], Head(other))
    assert torch.autograd.gradcheck(
        lambda h: reverse_head(h, Head(weight, scale=0.7), reading, 4), (hidden[:, :3].detach().requires_grad_(),)
    )


def test_a_constant_between_the_logits_of_both_models_costs_no_precision() -> None:
    """W has a column that is the same for every word, so the reference may be ahead by 100 at all of them."""
    hidden, teacher, weight, _ = drawn()
    with torch.no_grad():
        weight[:, 0] = 10.0
        teacher[:, 0] += 10.0
    truth = both(*plain(hidden @ weight.T, teacher @ weight.T), hidden)[1]
    own = hidden.detach().float().requires_grad_()
    wide = reverse_head(own, Head(weight.float()), Reading(teacher.float(), Head(weight.float())), None)
    found = both(*wide, own)[1].double()
    assert (found - truth).norm() <= 2e-5 * truth.norm()


def test_bfloat16_is_as_close_to_the_truth_as_bfloat16_logits_are() -> None:
    hidden, teacher, weight, other = drawn(torch.bfloat16)
    exact = hidden.detach().double().requires_grad_()
    truth = both(*plain(exact @ weight.double().T, teacher.double() @ other.double().T), exact)[1]
    naive = hidden.detach().requires_grad_()
    rounded = both(*plain((naive @ weight.T).float(), (teacher @ other.T).float()), naive)[1].double()
    own = hidden.detach().float().requires_grad_()
    found = both(*reverse_head(own, Head(weight), Reading(teacher, Head(other)), None), own)[1].double()
    assert (found - truth).norm() <= 1.5 * (rounded - truth).norm()


def test_a_student_that_is_its_reference_is_nowhere_and_pushed_nowhere() -> None:
    hidden, _, weight, _ = drawn(torch.float32)
    one = hidden[:1].detach().requires_grad_()
    _, apart = reverse_head(one, Head(weight), Reading(one[0].detach(), Head(weight)), None)
    assert torch.equal(apart, torch.zeros_like(apart))
    assert torch.autograd.grad(apart.sum(), one)[0].abs().max() == 0


def test_no_tensor_has_a_row_for_every_token_and_a_column_for_every_word() -> None:
    n, h, v = 128, 8, 32_000
    hidden, weight = torch.randn(2, n, h, requires_grad=True), torch.randn(v, h)
    reading = Reading(torch.randn(n, h), Head(weight))
    with Largest() as largest:
        lse, apart = reverse_head(hidden, Head(weight), reading, 64)
        (lse + apart).sum().backward()
    assert largest.numel <= linear_reverse.TILE


def loss(terms: dict[str, Weighted], hidden: Tensor, head: Head, readings: dict[str, Reading]) -> tuple[Loss, set[str]]:
    """One objective for all arms, and the operators that it took."""
    objective = Objective([{"ce": Weighted(term=Ce()), **terms}] * K)
    tokens: Selection = {"all": Selected(torch.ones(N), float(N))}
    with Largest() as seen:
        made = objective(
            objective.active([0.0] * K), hidden, head, torch.arange(N), tokens, references=readings, chunk=None
        )
    return made, seen.called


def test_one_reverse_kl_beside_any_soft_targets_makes_no_softmax_and_two_share_one() -> None:
    hidden, teacher, weight, other = drawn()
    readings = {"a": Reading(teacher, Head(weight)), "b": Reading(teacher, Head(other))}
    away = {"away": Weighted(term=ReverseKl(reference="a"), weight=0.5)}
    near = {"near": Weighted(term=Kl(reference="b"), weight=0.25)}
    second = {"second": Weighted(term=ReverseKl(reference="b"), weight=0.125)}
    logits, a, b = hidden @ weight.T, teacher @ weight.T, teacher @ other.T
    ce = (logits.logsumexp(-1) - (hidden * weight[torch.arange(N)]).sum(-1)).mean(-1)
    forward = F.kl_div(logits.log_softmax(-1), b.log_softmax(-1).expand_as(logits), reduction="none", log_target=True)
    right = ce + 0.5 * plain(logits, a)[1].mean(-1) + 0.25 * forward.sum(-1).mean(-1)
    one, called = loss({**away, **near}, hidden, Head(weight), readings)
    assert torch.allclose(one.arms, right, rtol=1e-10)
    assert "_log_softmax" not in called
    more, called = loss({**away, **near, **second}, hidden, Head(weight), readings)
    assert torch.allclose(more.arms, right + 0.125 * plain(logits, b)[1].mean(-1), rtol=1e-10)
    assert "_log_softmax" in called


def test_another_vocabulary_is_refused() -> None:
    hidden, teacher, weight, other = drawn()
    with pytest.raises(UserError, match="the same vocabulary"):
        reverse_head(hidden, Head(weight), Reading(teacher, Head(other[:40])), None)
