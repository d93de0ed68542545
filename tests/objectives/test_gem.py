"""GEM pushes the gold token up against a sharpened student: its slope in the logits is r - e_y."""

import pytest
import torch

from netgain.objectives.term import Scores
from netgain.objectives.terms.gem import Gem

torch.set_num_threads(1)


@pytest.mark.parametrize("beta", [0.5, 0.7, 1.0])
def test_the_slope_is_the_sharpened_student_less_the_gold_token(beta: float) -> None:
    z = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    gold = torch.tensor([0, 3, 10, 4, 4])
    values = Gem(beta=beta).values(Scores(z, gold), {})
    (slope,) = torch.autograd.grad(values.sum(), z)
    sharper = (z.detach() / beta).softmax(-1)
    torch.testing.assert_close(slope, sharper - torch.nn.functional.one_hot(gold, 11).double())
    torch.testing.assert_close(values, (sharper * z).sum(-1) - z.gather(-1, gold.expand(2, 5)[..., None])[..., 0])


def test_a_leading_gold_token_is_left_alone_sooner_than_by_cross_entropy() -> None:
    z = torch.tensor([[[4.0, 0.0, 0.0]]], requires_grad=True)
    (slope,) = torch.autograd.grad(Gem(beta=0.5).values(Scores(z, torch.tensor([0])), {}).sum(), z)
    assert slope.abs().sum() < (z.softmax(-1) - torch.tensor([1.0, 0, 0])).abs().sum() / 10
