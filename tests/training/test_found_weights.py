"""Weights that depend on the training: the slope of a learned one, a budget that is held, and a run that resumes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from netgain.adapters.lora import Lora
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.entropy import Entropy
from netgain.objectives.terms.kl import Kl
from netgain.spec.run import Budget, Learned, Ratio, Weight, Weighted
from netgain.training import checkpoint
from netgain.training.arms import base_reference
from netgain.training.bilevel import slopes
from netgain.training.gradients import term_gradients
from netgain.training.loop import Training, train
from netgain.training.stop import dev_losses

torch.set_num_threads(1)
Make = Callable[..., Training]
Model = Callable[..., LM]


def objective(weight: Weight, *, entropy: bool = False) -> dict[str, Weighted]:
    return {"ce": Weighted(term=Ce()), "kd": Weighted(term=Entropy() if entropy else Kl(), weight=weight)}


def trained(make: Make, model: Model, weight: Weight, **more: object) -> Training:
    training = make(model(), Lora(r=4), objective=objective(weight), **{"steps": 12, "learning_rate": 2e-2, **more})
    training.references = {"base": base_reference(training.student)}
    training.dev = [training.views(k) for k in (100, 101)]
    return training


def test_the_slope_of_a_learned_weight_is_that_of_finite_differences(make: Make, model: Model) -> None:
    """On the toy where it is exact: one small SGD step, in float64."""
    lm = model()
    lm.net.double()
    weight = Learned(maximum=1.0, initial=0.3)
    training = make(lm, Lora(r=4), objective=objective(weight, entropy=True), seed=0)
    training.dev = [training.views(100)]
    arm, g = training.arms[0], torch.Generator().manual_seed(1)
    for tensor in arm.parameters():
        tensor.data = tensor.data.double() + 0.05 * torch.randn(tensor.shape, generator=g, dtype=torch.float64)
    start = [tensor.detach().clone() for tensor in arm.parameters()]
    ce, kd = (each.arms[0] for each in term_gradients(training, training.view(), training.objective.active([0.0])))

    def after(w: float, eta: float) -> float:
        """The dev loss after one step of SGD on CE + w * term."""
        put(start, -eta * (ce + w * kd))
        (loss,), _ = dev_losses(training.student, 1, training.dev, None)
        put(start, torch.zeros_like(ce))
        return loss

    def put(base: list[Tensor], by: Tensor) -> None:
        at = 0
        for tensor, first in zip(arm.parameters(), base, strict=True):
            tensor.data = first + by[at : at + first.numel()].view_as(first)
            at += first.numel()

    part = next(part for part in training.objective.parts if part.name == "kd")
    (slope,) = slopes(training, part, 0).values()
    eta, epsilon = 1e-4, 10.0  # the norms of this family compute in float32, so the step may not be smaller
    found = (after(0.3 + epsilon, eta) - after(0.3 - epsilon, eta)) / (2 * epsilon * eta)
    assert slope == pytest.approx(found, rel=5e-3)
    assert slope != 0


def test_a_learned_weight_moves_only_when_it_is_due(make: Make, model: Model) -> None:
    training = trained(make, model, Learned(maximum=1.0, initial=0.3, every=4))
    weights = [record.arms[0].terms["kd"][1] for record in train(training) if record.arms[0]]
    changes = [k for k in range(1, 12) if weights[k] != weights[k - 1]]
    assert changes == [4, 8], "at step 0 the student is its base, so the term has no slope"
    assert all(0 < w < 1 for w in weights)


def test_a_learned_weight_needs_dev_rows(make: Make, model: Model) -> None:
    training = trained(make, model, Learned(maximum=1.0, initial=0.3))
    training.dev = ()
    with pytest.raises(UserError, match="needs dev rows"):
        next(train(training))


def test_a_budget_holds_the_drift_of_a_real_run(make: Make, model: Model) -> None:
    budget = Budget(target=0.01, initial=20.0, gain=0.5)
    runs = [trained(make, model, w, steps=60, learning_rate=5e-3, schedule="constant") for w in (1e-6, budget)]
    far, near = ([r.arms[0].terms["kd"][0] for r in train(each) if r.arms[0]][-15:] for each in runs)
    assert min(far) > 0.02
    assert 0.007 < sum(near) / 15 < 0.013


@pytest.mark.parametrize(
    "weight",
    [Ratio(ratio=0.3, maximum=1e9), Budget(target=0.02), Learned(maximum=1.0, initial=0.3, every=2)],
    ids=lambda w: str(w),
)
def test_a_resumed_run_continues_with_the_weights_it_had(
    make: Make, model: Model, tmp_path: Path, weight: Weight
) -> None:
    whole = trained(make, model, weight)
    expected = [record.arms for record in train(whole)]
    first = trained(make, model, weight)
    steps = train(first)
    for _ in range(5):
        next(steps)
    checkpoint.save(first, [tmp_path / "state.safetensors"])
    second = trained(make, model, weight)
    checkpoint.load(second, [tmp_path / "state.safetensors"])
    assert [record.arms for record in train(second)] == expected[5:]
    weights = [arms[0].terms["kd"][1] for arms in expected if arms[0]]
    assert len(set(weights)) > 3
