"""Weights that depend on the training: the slope of a learned one, a budget that is held, and a run that resumes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from netgain.adapters.lora import Lora
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.objectives.objective import by_source
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
    """On the toy where it is exact: one small SGD step, in float64; a weight for each of two tasks in one run."""
    lm = model("gpt2")
    lm.net.double()
    weight = Learned(maximum=1.0, initial=0.3, per="source")
    divided = by_source(objective(weight, entropy=True), ("nli", "qa"))
    assert list(divided) == ["ce", "kd-nli", "kd-qa"]
    training = make(lm, Lora(r=4), objective=divided, seed=0)
    training.dev = [training.views(100)]
    training.sources = ["nli" if i % 3 else "qa" for i in range(24)]
    views = training.views
    training.views = lambda k: replace(views(k), origin=torch.arange(8) + 8 * k)
    arm, g = training.arms[0], torch.Generator().manual_seed(1)
    for tensor in arm.parameters():
        tensor.data = tensor.data.double() + 0.05 * torch.randn(tensor.shape, generator=g, dtype=torch.float64)
    start = [tensor.detach().clone() for tensor in arm.parameters()]
    active = training.objective.active([0.0])
    ce, *kd = (each.arms[0] for each in term_gradients(training, training.view(), active))

    def after(weights: Sequence[float], eta: float) -> float:
        """The dev loss after one step of SGD on CE + sum_t w_t * term_t."""
        put(start, -eta * (ce + sum(w * each for w, each in zip(weights, kd, strict=True))))
        (loss,), _ = dev_losses(training.student, 1, training.dev, None)
        put(start, torch.zeros_like(ce))
        return loss

    def put(base: list[Tensor], by: Tensor) -> None:
        at = 0
        for tensor, first in zip(arm.parameters(), base, strict=True):
            tensor.data = first + by[at : at + first.numel()].view_as(first)
            at += first.numel()

    parts = [part for part in training.objective.parts if part.name != "ce"]
    found = [each[0] for each in slopes(training, parts, 0)]
    eta, epsilon = 1e-7, 1.0
    for t in range(2):
        up, down = ([0.3 + sign * epsilon * (k == t) for k in range(2)] for sign in (1, -1))
        slope = (after(up, eta) - after(down, eta)) / (2 * epsilon * eta)
        assert found[t] == pytest.approx(slope, rel=1e-4)
        assert found[t] != 0
    assert found[0] != pytest.approx(found[1], rel=0.05)


def test_each_task_of_a_mixture_learns_a_weight_of_its_own(make: Make, model: Model) -> None:
    """A task that is in no batch has no slope, so its weight stays where it began."""
    weight = Learned(maximum=1.0, initial=0.3, every=2, per="source")
    divided = by_source(objective(weight, entropy=True), ("nli", "qa", "absent"))
    training = make(model(), Lora(r=4), objective=divided, steps=8, learning_rate=2e-2)
    training.dev = [training.views(100)]
    training.sources = ["nli" if i < 12 else "qa" for i in range(24)]
    views = training.views
    training.views = lambda k: replace(views(k), origin=torch.arange(8) * 3)
    last = [record.arms[0].terms for record in train(training) if record.arms[0]][-1]
    weights = {name: value for name, (_, value) in last.items()}
    assert weights["kd-absent"] == pytest.approx(0.3)
    assert len({round(weights[name], 6) for name in ("kd-nli", "kd-qa", "kd-absent")}) == 3


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
