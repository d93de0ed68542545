"""A bfloat16 model learns every objective: states are widened for the sums, and the head's products stay narrow."""

import pytest
import torch
from torch import Tensor

from netgain.models.lm import Head
from netgain.objectives.objective import Objective
from netgain.objectives.selection import Selected
from netgain.objectives.term import Reading, Term
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.js import Js
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.reverse_kl import ReverseKl
from netgain.spec.run import Weighted

TOKENS, WIDTH, VOCAB = 12, 16, 50


def loss_and_gradient(term: Term, dtype: torch.dtype, remembered: torch.dtype) -> tuple[float, Tensor]:
    """Of CE + 0.5 term, with states and head of `dtype` and a reference whose states are kept in `remembered`."""
    generator = torch.Generator().manual_seed(0)
    hidden, other = torch.randn(2, 1, TOKENS, WIDTH, generator=generator).to(torch.bfloat16)
    head = Head(torch.randn(VOCAB, WIDTH, generator=generator).to(torch.bfloat16).to(dtype))
    states = hidden.to(dtype).requires_grad_()
    objective = Objective([{"ce": Weighted(term=Ce()), "held": Weighted(term=term, weight=0.5)}])
    loss = objective(
        objective.active([0.0]), states, head, torch.arange(TOKENS), {"all": Selected(torch.ones(TOKENS), TOKENS)},
        references={"base": Reading(other[0].to(remembered), head)}, chunk=5,
    )  # fmt: skip
    loss.arms.sum().backward()
    assert states.grad is not None
    return float(loss.arms.sum().detach()), states.grad.float()


@pytest.mark.parametrize("term", [Kl(), ReverseKl(), Js()], ids=lambda term: term.kind)
@pytest.mark.parametrize("remembered", [torch.bfloat16, torch.float32], ids=str)
def test_every_divergence_is_learned_in_half_precision(term: Term, remembered: torch.dtype) -> None:
    right, gradient = loss_and_gradient(term, torch.float32, torch.float32)
    found, half = loss_and_gradient(term, torch.bfloat16, remembered)
    assert found == pytest.approx(right, rel=2e-2)
    assert (half - gradient).norm() < 2e-2 * gradient.norm()


def test_a_teacher_kept_at_half_size_is_read_by_a_wide_head() -> None:
    right, gradient = loss_and_gradient(Js(), torch.float32, torch.float32)
    found, kept = loss_and_gradient(Js(), torch.float32, torch.bfloat16)
    assert found == pytest.approx(right, rel=1e-5)
    assert (kept - gradient).norm() < 1e-5 * gradient.norm()
