"""Every term against its plain formula over full softmaxes in float64: value and gradient, in whichever engine."""

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives.compared import Referred
from netgain.objectives.linear import soft_statistic
from netgain.objectives.objective import Loss, NoGradient, Objective
from netgain.objectives.selection import Selected, Selection
from netgain.objectives.term import Reading, Scores, Term
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.entropy import Entropy
from netgain.objectives.terms.js import Js
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.label_smoothing import LabelSmoothing
from netgain.objectives.terms.logit_mse import LogitMse
from netgain.objectives.terms.reverse_kl import ReverseKl
from netgain.spec.run import Weighted

torch.set_num_threads(1)
K, N, H, V = 2, 21, 10, 67
Formula = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(student logits, reference logits, targets) -> values."""


def forward(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    return kl_divergence(Categorical(logits=zt), Categorical(logits=zs))


def backward(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    return kl_divergence(Categorical(logits=zs), Categorical(logits=zt))


def mixed(beta: float) -> Formula:
    def js(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
        p, q = Categorical(logits=zt), Categorical(logits=zs)
        m = Categorical(probs=beta * p.probs + (1 - beta) * q.probs)
        return beta * kl_divergence(p, m) + (1 - beta) * kl_divergence(q, m)

    return js


def heated(formula: Formula, t: float) -> Formula:
    return lambda zs, zt, y: t**2 * formula(zs / t, zt / t, y)


def bucketed(formula: Formula, k: int) -> Formula:
    """The formula over k + 1 outcomes, the last one being all the others."""

    def coarse(z: Tensor, ids: Tensor) -> Tensor:
        p = z.softmax(-1)
        own = p.gather(-1, ids.expand(*z.shape[:-1], k))
        return torch.cat([own, 1 - own.sum(-1, keepdim=True)], -1).log()

    return lambda zs, zt, y: formula(coarse(zs, zt.topk(k, -1).indices), coarse(zt, zt.topk(k, -1).indices), y)


def squares(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    """The seed's: the mean over the k largest reference logits of the squared difference of raw logits."""
    values, ids = zt.topk(8, -1)
    return (values - zs.gather(-1, ids.expand(*zs.shape[:-1], 8))).pow(2).sum(-1) / 8


def gated(formula: Formula, kind: str) -> Formula:
    def values(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            s, t = (F.cross_entropy(z.reshape(-1, V), y.repeat(len(z)), reduction="none") for z in (zs, zt[None]))
            lead = s.view(len(zs), -1) - t
            g = (lead > 0).to(zs.dtype) if kind == "better" else ((lead - 0.15) / 0.35).clamp(0, 1)
        assert 0 < float(g.mean()) < 1
        return g * formula(zs, zt, y)

    return values


def negative_entropy(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    return -Categorical(logits=zs).entropy()


def uniform(zs: Tensor, zt: Tensor, y: Tensor) -> Tensor:
    return -zs.log_softmax(-1).mean(-1)


CASES: dict[str, tuple[Term, Formula]] = {
    "kl": (Kl(reference="t"), forward),
    "kl, hot": (Kl(reference="t", temperature=2.5), heated(forward, 2.5)),
    "kl, top 5": (Kl(reference="t", top_k=5), bucketed(forward, 5)),
    "kl, better": (Kl(reference="t", gate="better"), gated(forward, "better")),
    "kl, soft": (Kl(reference="t", gate="soft"), gated(forward, "soft")),
    "reverse kl": (ReverseKl(reference="t"), backward),
    "reverse kl, hot": (ReverseKl(reference="t", temperature=0.7), heated(backward, 0.7)),
    "reverse kl, top 5": (ReverseKl(reference="t", top_k=5), bucketed(backward, 5)),
    "reverse kl, soft": (ReverseKl(reference="t", gate="soft"), gated(backward, "soft")),
    "js": (Js(reference="t"), mixed(0.5)),
    "js, 0.2": (Js(reference="t", mixture=0.2), mixed(0.2)),
    "js, better": (Js(reference="t", gate="better"), gated(mixed(0.5), "better")),
    "squares": (LogitMse(reference="t", k=8), squares),
    "squares, soft": (LogitMse(reference="t", k=8, gate="soft"), gated(squares, "soft")),
    "entropy": (Entropy(), negative_entropy),
    "label smoothing": (LabelSmoothing(), uniform),
}


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    hidden = torch.randn(K, N, H, generator=g, dtype=torch.float64, requires_grad=True)
    teacher = hidden[0].detach() + torch.randn(N, H, generator=g, dtype=torch.float64)
    return hidden, teacher, torch.randn(V, H, generator=g, dtype=torch.float64), torch.randint(V, (N,), generator=g)


def loss(term: Term, hidden: Tensor, head: Head, targets: Tensor, reading: Reading, chunk: int | None = 4) -> Loss:
    """CE + 0.7 * term, with uneven token weights."""
    objective = Objective([{"ce": Weighted(term=Ce()), "term": Weighted(term=term, weight=0.7)}] * len(hidden))
    weight = torch.linspace(0.5, 1.5, len(targets))
    active = objective.active([0.0] * len(hidden))
    tokens: Selection = {"all": Selected(weight, 5.0)}
    return objective(active, hidden, head, targets, tokens, references={"t": reading}, chunk=chunk)


@pytest.mark.parametrize("style", ["own head", "other head", "odd head"])
@pytest.mark.parametrize("name", CASES)
def test_a_term_is_its_formula(name: str, style: Literal["own head", "other head", "odd head"]) -> None:
    term, formula = CASES[name]
    hidden, teacher, weight, targets = drawn()
    head = Head(weight, softcap=5.0 if style == "odd head" else None, scale=0.9)
    other = head if style == "own head" else Head(weight.flip(0).clone(), torch.linspace(-1, 1, V).double())
    ours = loss(term, hidden, head, targets, Reading(teacher, other))
    zs, zt = head.logits(hidden), other.logits(teacher)
    ce = F.cross_entropy(zs.reshape(-1, V), targets.repeat(K), reduction="none").view(K, N)
    token = torch.linspace(0.5, 1.5, N).double()
    raw = torch.stack([ce @ token, formula(zs, zt, targets) @ token])
    expected = (raw[0] + 0.7 * raw[1]) / 5.0
    assert torch.allclose(ours.raw, raw, rtol=1e-6, atol=1e-9)
    assert torch.allclose(ours.arms, expected, rtol=1e-9)
    found = torch.autograd.grad(ours.arms.sum(), hidden)[0]
    truth = torch.autograd.grad(expected.sum(), hidden)[0]
    assert (found - truth).norm() <= 1e-6 * truth.norm()


@pytest.mark.parametrize("chunk", [None, 4])
def test_what_a_cache_keeps_of_a_teacher_is_enough_for_forward_kl(chunk: int | None) -> None:
    hidden, teacher, weight, targets = drawn()
    head, other = Head(weight), Head(weight.flip(0).clone())
    mean, constant, _ = soft_statistic(teacher, other, head, chunk)
    term = Kl(reference="t")
    assert term.reads == "mean"
    remembered = loss(term, hidden, head, targets, Reading(None, other, mean, constant), chunk)
    whole = loss(term, hidden, head, targets, Reading(teacher, other), chunk)
    assert torch.allclose(remembered.arms, whole.arms, rtol=1e-12)
    beside = Objective(
        [{"kl": Weighted(term=term), "h": Weighted(term=Entropy(), weight=0.2), "ce": Weighted(term=Ce())}] * K
    )
    active = beside.active([0.0] * K)
    tokens: Selection = {"all": Selected(torch.ones(N), 1.0)}
    results = [
        beside(active, hidden, head, targets, tokens, references={"t": reading}, chunk=chunk)
        for reading in (Reading(None, other, mean, constant), Reading(teacher, other))
    ]
    assert torch.allclose(results[0].raw, results[1].raw, rtol=1e-10), "a term of another form beside it"
    grads = [torch.autograd.grad(result.arms.sum(), hidden)[0] for result in results]
    assert torch.allclose(*grads, rtol=1e-9, atol=1e-12)


def scores(z: Tensor, targets: Tensor) -> Scores:
    return Scores(z, targets)


@pytest.mark.parametrize("gap", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("beta", [0.5, 0.1])
def test_js_is_bounded_by_ln_2(gap: float, beta: float) -> None:
    g = torch.Generator().manual_seed(0)
    zs, zt = (gap * torch.randn(200, V, generator=g, dtype=torch.float64) for _ in range(2))
    y = torch.zeros(200, dtype=torch.long)
    values = Js(reference="t", mixture=beta).values(scores(zs, y), {"t": scores(zt, y)})
    bound = -(beta * math.log(beta) + (1 - beta) * math.log1p(-beta))
    assert bound <= math.log(2) + 1e-12
    assert (values <= bound + 1e-9).all()
    assert (values >= -1e-12).all()


@pytest.mark.parametrize("kind", [Kl, ReverseKl, Js])
def test_buckets_bound_the_full_divergence_from_below_and_reach_it(kind: type[Kl] | type[ReverseKl] | type[Js]) -> None:
    hidden, teacher, weight, targets = drawn()
    student, other = (scores(h.detach() @ weight.T, targets) for h in (hidden, teacher))
    full = kind(reference="t").values(student, {"t": other})
    last = torch.zeros_like(full)
    for k in (1, 5, 30, V - 1, V, 10 * V):
        part = kind(reference="t", top_k=k).values(student, {"t": other})
        assert (part <= full + 1e-9).all()
        assert (part >= last - 1e-9).all()
        last = part
    assert torch.allclose(last, full, rtol=1e-12)


def test_squares_without_their_mean_ignore_a_constant_as_a_softmax_does() -> None:
    hidden, teacher, weight, targets = drawn()
    z, other = hidden[0].detach() @ weight.T, scores(teacher @ weight.T, targets)
    found = [
        LogitMse(reference="t", k=8, shift_invariant=invariant).values(scores(z + shift, targets), {"t": other})
        for invariant in (True, False)
        for shift in (0.0, 3.0)
    ]
    assert torch.allclose(found[0], found[1], rtol=1e-10)
    assert (found[3] - found[2]).abs().min() > 1e-3


class Detached(Referred):
    """A number that looks like a loss."""

    kind: Literal["test_detached"] = "test_detached"

    def between(self, student: Scores, other: Scores) -> Tensor:
        return (student.logp.detach().exp() * (student.logp.detach() - other.logp)).sum(-1)


def test_a_detached_term_is_refused() -> None:
    hidden, teacher, weight, targets = drawn()
    with pytest.raises(NoGradient, match=r"objective\.term: its value does not depend on the student .* 0\.7"):
        loss(Detached(reference="t"), hidden, Head(weight), targets, Reading(teacher, Head(weight)))


def test_another_vocabulary_is_refused() -> None:
    hidden, teacher, weight, targets = drawn()
    with pytest.raises(UserError, match="the same vocabulary"):
        loss(Kl(reference="t"), hidden, Head(weight), targets, Reading(teacher, Head(weight[:40])))
