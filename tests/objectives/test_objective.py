"""loss_k = sum_i w_ik sum_n weight_n term_i(n) / D: whichever engine, chunk or pack computes it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from netgain.errors import UserError
from netgain.models.lm import Head
from netgain.objectives.linear import fusable
from netgain.objectives.objective import Loss, Objective, needs
from netgain.objectives.schedule import weight_at
from netgain.objectives.selection import Selected
from netgain.objectives.term import Reading, Scores, SoftTarget, Term
from netgain.objectives.terms.ce import Ce
from netgain.spec.run import Schedule, Weighted

torch.set_num_threads(1)
N, H, V, K = 19, 12, 53, 3


class ForwardKl(Term):
    """KL(reference || student), by the plain formula."""

    kind: Literal["test_kl"] = "test_kl"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"teacher"})

    def values(self, student: Scores, references: Mapping[str, Scores]) -> Tensor:
        p = references["teacher"].logp
        return (p.exp() * (p - student.logp)).sum(-1)


class FusedForwardKl(ForwardKl):
    """The same, offered as a soft target."""

    def soft_target(
        self, head: Head, targets: Tensor, references: Mapping[str, Reading], chunk: int | None
    ) -> SoftTarget:
        hidden = references["teacher"].hidden
        assert hidden is not None
        z = hidden @ head.weight.T
        mu = z.softmax(-1) @ head.weight
        return SoftTarget(mu, (hidden * mu).sum(-1) - z.logsumexp(-1))


class Entropy(Term):
    """sum p log p."""

    kind: Literal["test_entropy"] = "test_entropy"

    def values(self, student: Scores, references: Mapping[str, Scores]) -> Tensor:
        return (student.logp.exp() * student.logp).sum(-1)


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(K, N, H, generator=g, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, H, generator=g, dtype=dtype)
    bias = torch.randn(V, generator=g, dtype=dtype)
    teacher = torch.randn(N, H, generator=g, dtype=dtype)
    token_weight = torch.rand(N, generator=g) + 0.5
    return hidden, weight, bias, teacher, torch.randint(V, (N,), generator=g), token_weight


def arms(kl: Term, weights: Sequence[tuple[float, float, float]]) -> list[dict[str, Weighted]]:
    return [
        {
            "ce": Weighted(term=Ce(), weight=a),
            "kl": Weighted(term=kl, weight=b),
            "h": Weighted(term=Entropy(), weight=c),
        }
        for a, b, c in weights
    ]


WEIGHTS = [(1.0, 0.5, 0.1), (0.3, 0.0, 0.2), (0.0, 2.0, 0.0)]


def call(
    objective: Objective, hidden: Tensor, head: Head, targets: Tensor, weight: Tensor, total: float, **more: Any
) -> Loss:
    active = objective.active([0.0] * len(hidden))
    return objective(active, hidden, head, targets, {"all": Selected(weight, total)}, **more)


def run(objective: Objective, hidden: Tensor, head: Head, *rest: Tensor, chunk: int | None = None) -> Loss:
    teacher, targets, weight = rest
    references = {"teacher": Reading(teacher, Head(head.weight.detach()))}
    return call(objective, hidden, head, targets, weight, 7.0, references=references, chunk=chunk)


@pytest.mark.parametrize("chunk", [None, 4, 5, 64])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_the_generic_engine_is_the_formula(chunk: int | None, softcap: float | None, scale: float | None) -> None:
    hidden, weight, bias, teacher, targets, token_weight = drawn()
    head = Head(weight, bias, scale, softcap)
    loss = run(Objective(arms(ForwardKl(), WEIGHTS)), hidden, head, teacher, targets, token_weight, chunk=chunk)
    logp = head.logits(hidden).log_softmax(-1)
    p = (teacher @ weight.T).log_softmax(-1)
    ce = -logp.gather(-1, targets.expand(K, N)[..., None]).squeeze(-1)
    kl = (p.exp() * (p - logp)).sum(-1)
    entropy = (logp.exp() * logp).sum(-1)
    raw = torch.stack([term @ token_weight.double() for term in (ce, kl, entropy)])
    expected = (torch.tensor(WEIGHTS, dtype=torch.float64).T * raw).sum(0) / 7.0
    assert loss.names == ("ce", "kl", "h")
    weighed = torch.tensor(WEIGHTS).T != 0
    assert torch.allclose(loss.raw[weighed], raw[weighed], rtol=1e-12)
    assert not loss.raw[~weighed].any(), "a term is not computed for an arm that does not weigh it"
    assert torch.allclose(loss.arms, expected, rtol=1e-12)
    ours = torch.autograd.grad(loss.arms.sum(), hidden)[0]
    assert torch.allclose(ours, torch.autograd.grad(expected.sum(), hidden)[0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("chunk", [None, 5])
def test_the_fused_engine_equals_the_generic_one(chunk: int | None) -> None:
    hidden, weight, _, teacher, targets, token_weight = drawn()
    head = Head(weight, scale=0.8)
    teacher_head = Head(weight)
    assert fusable(head)
    results = []
    for kl in (FusedForwardKl(), ForwardKl()):
        objective = Objective(
            [
                {"ce": Weighted(term=Ce(), weight=a), "kl": Weighted(term=kl, weight=b)}
                for a, b in ((1.0, 0.5), (0.2, 2.0), (1.0, 0.0))
            ]
        )
        references = {"teacher": Reading(teacher, teacher_head)}
        loss = call(objective, hidden, head, targets, token_weight, 3.0, references=references, chunk=chunk)
        results.append(
            (loss.arms, loss.raw[torch.tensor(loss.weights) != 0], torch.autograd.grad(loss.arms.sum(), hidden)[0])
        )
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_cross_entropy_is_torchs_mean() -> None:
    hidden, weight, _, _, targets, _ = drawn(torch.float32)
    objective = Objective([{"ce": Weighted(term=Ce())}] * K)
    loss = call(objective, hidden, Head(weight), targets, torch.ones(N), N)
    for k in range(K):
        assert float(loss.arms[k].detach()) == pytest.approx(
            float(F.cross_entropy(hidden[k].detach() @ weight.T, targets)), rel=1e-6
        )


@pytest.mark.parametrize("chunk", [None, 4])
def test_a_head_that_learns_gets_its_gradient(chunk: int | None) -> None:
    hidden, weight, bias, _, targets, _ = drawn()
    one = hidden[:1].detach().requires_grad_()
    weight.requires_grad_()
    bias.requires_grad_()
    objective = Objective([{"ce": Weighted(term=Ce())}])
    loss = call(objective, one, Head(weight, bias), targets, torch.ones(N), N, chunk=chunk)
    expected = F.cross_entropy(F.linear(one[0], weight, bias), targets)
    inputs = [one, weight, bias]
    for ours, theirs in zip(
        torch.autograd.grad(loss.arms.sum(), inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_the_chunked_function_passes_gradcheck() -> None:
    hidden, weight, bias, teacher, targets, token_weight = drawn()
    objective = Objective(arms(ForwardKl(), WEIGHTS[:1]))

    tensors = [t.detach().clone().requires_grad_() for t in (hidden[:1, :5], weight, bias)]
    references = {"teacher": Reading(teacher[:5], Head(weight))}

    def loss(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        head = Head(w, b, softcap=4.0)
        return call(objective, h, head, targets[:5], token_weight[:5], 7.0, references=references, chunk=2).arms

    assert torch.autograd.gradcheck(loss, tensors, fast_mode=True)


def test_a_term_of_weight_zero_is_no_part_of_the_objective() -> None:
    hidden, weight, _, _, targets, token_weight = drawn(torch.float32)
    with_zero = Objective([{"ce": Weighted(term=Ce()), "kl": Weighted(term=ForwardKl(), weight=0.0)}] * K)
    without = Objective([{"ce": Weighted(term=Ce())}] * K)
    assert needs(with_zero.active([0.0] * K)) == frozenset()
    found = [call(o, hidden, Head(weight), targets, token_weight, 3.0) for o in (with_zero, without)]
    assert torch.equal(found[0].arms, found[1].arms)
    grads = [torch.autograd.grad(loss.arms.sum(), hidden)[0] for loss in found]
    assert torch.equal(*grads)


def test_a_pack_gives_each_arm_what_it_gets_alone() -> None:
    hidden, weight, _, teacher, targets, token_weight = drawn()
    packed = run(Objective(arms(ForwardKl(), WEIGHTS)), hidden, Head(weight), teacher, targets, token_weight, chunk=9)
    gradient = torch.autograd.grad(packed.arms.sum(), hidden)[0]
    for k in range(K):
        one = hidden[k : k + 1].detach().requires_grad_()
        alone = run(Objective(arms(ForwardKl(), WEIGHTS[k : k + 1])), one, Head(weight), teacher, targets, token_weight)
        assert torch.allclose(alone.arms[0], packed.arms[k], rtol=1e-12)
        assert torch.allclose(torch.autograd.grad(alone.arms.sum(), one)[0][0], gradient[k], rtol=1e-10, atol=1e-14)


def test_a_term_waits_for_its_schedule_and_asks_for_nothing_before() -> None:
    late = Schedule(value=1.0, start=0.5)
    objective = Objective([{"ce": Weighted(term=Ce()), "kl": Weighted(term=ForwardKl(), weight=late)}])
    assert needs(objective.active([0.4])) == frozenset()
    assert needs(objective.active([0.5])) == frozenset({"teacher"})


def test_an_objective_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to learn"):
        Objective([{"ce": Weighted(term=Ce(), weight=0.0)}])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (0.3, [0.3, 0.3, 0.3, 0.3, 0.3]),
        (Schedule(value=2.0, warmup=0.5), [0.0, 1.0, 2.0, 2.0, 2.0]),
        (Schedule(value=2.0, start=0.5), [0.0, 0.0, 2.0, 2.0, 2.0]),
        (Schedule(value=2.0, decay=0.5), [2.0, 2.0, 2.0, 1.0, 0.0]),
        (Schedule(value=4.0, start=0.25, warmup=0.25, decay=0.75), [0.0, 0.0, 4.0, 4.0, 0.0]),
    ],
)
def test_a_schedule_is_off_then_ramps_then_holds_then_falls(schedule: float | Schedule, expected: list[float]) -> None:
    assert [weight_at(schedule, p / 4) for p in range(5)] == pytest.approx(expected)
