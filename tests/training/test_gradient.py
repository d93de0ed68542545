"""How a step is executed never changes its gradient: micro-batches, chunks, checkpointing, dropout or none."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.adapters.method import Method
from netgain.models.lm import LM
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.l2_to_init import L2ToInit
from netgain.objectives.terms.reverse_kl import ReverseKl
from netgain.spec.run import Last, Runtime, Share, Weighted
from netgain.training.arms import base_reference
from netgain.training.loop import Training, backward

torch.set_num_threads(1)
Make = Callable[..., Training]
Model = Callable[..., LM]
OBJECTIVES: dict[str, dict[str, Weighted]] = {
    "ce": {"ce": Weighted(term=Ce())},
    "selected": {
        "ce": Weighted(term=Ce(), tokens=Share(share=0.6)),
        "kd": Weighted(term=Kl(), weight=0.5, tokens=Last(last=2)),
        "drift": Weighted(term=ReverseKl(gate="soft"), weight=0.3, tokens="content"),
    },
    "fused": {"ce": Weighted(term=Ce()), "kd": Weighted(term=Kl(gate="soft"), weight=0.5, tokens=Last(last=2))},
    "penalty": {"ce": Weighted(term=Ce()), "start": Weighted(term=L2ToInit(), weight=0.1)},
}
METHODS = {"lora": Lora(r=4), "dropout": Lora(r=4, dropout=0.2), "dora": Lora(r=4, use_dora=True), "full": Full()}


def gradient(training: Training) -> tuple[Tensor, Tensor]:
    """(gradient of step 0, loss), after moving the adapter away from zero."""
    arm = training.arms[0]
    g = torch.Generator().manual_seed(1)
    arm.adapter.set_state({n: t + 0.02 * torch.randn(t.shape, generator=g) for n, t in arm.adapter.state().items()})
    loss = backward(training, training.views(0), [0.0], [True])
    grads = [p.grad for p in arm.parameters()]
    return torch.cat([grad.flatten() for grad in grads if grad is not None]), loss.arms


@pytest.mark.parametrize("name", METHODS)
def test_cutting_a_step_never_changes_its_gradient(make: Make, model: Model, name: str) -> None:
    method: Method = METHODS[name]
    whole, loss = gradient(make(model(), method, runtime=Runtime(chunk=10_000)))
    for micro in (1, 3, 8):
        for chunk in (5, 64):
            cut, other = gradient(make(model(), method, runtime=Runtime(micro_batch=micro, chunk=chunk)))
            assert (cut - whole).norm() <= 1e-6 * whole.norm(), (micro, chunk)
            assert torch.allclose(loss, other, rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_cutting_a_step_never_changes_what_a_term_sees(make: Make, model: Model, name: str) -> None:
    def cut(runtime: Runtime) -> tuple[Tensor, Tensor]:
        training = make(model(), Lora(r=4, dropout=0.1), objective=OBJECTIVES[name], runtime=runtime)
        training.references = {"base": base_reference(training.student)}
        return gradient(training)

    whole, loss = cut(Runtime(chunk=10_000))
    assert whole.norm() > 0
    for micro in (1, 3, 8):
        for chunk in (5, 64):
            other, same = cut(Runtime(micro_batch=micro, chunk=chunk))
            assert (other - whole).norm() <= 1e-6 * whole.norm(), (micro, chunk)
            assert torch.allclose(loss, same, rtol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_recomputing_activations_never_changes_the_gradient(make: Make, model: Model, name: str) -> None:
    whole, _ = gradient(make(model(), METHODS[name]))
    again, _ = gradient(make(model(), METHODS[name], runtime=Runtime(gradient_checkpointing=True)))
    assert (again - whole).norm() <= 1e-6 * whole.norm()


def test_dropout_acts_in_training(make: Make, model: Model) -> None:
    with_dropout, _ = gradient(make(model(), Lora(r=4, dropout=0.2)))
    without, _ = gradient(make(model(), Lora(r=4)))
    assert (with_dropout - without).norm() > 0.05 * without.norm()


def test_the_fused_and_the_plain_loss_agree(make: Make, model: Model) -> None:
    fused, _ = gradient(make(model(), Lora(r=4)))
    training = make(model(), Lora(r=4))
    arm, view, lm = training.arms[0], training.views(0), training.student.lm
    g = torch.Generator().manual_seed(1)
    arm.adapter.set_state({n: t + 0.02 * torch.randn(t.shape, generator=g) for n, t in arm.adapter.state().items()})
    logits = lm.net(input_ids=view.input_ids, attention_mask=view.attention_mask.long()).logits
    torch.nn.functional.cross_entropy(logits[view.scored], view.targets).backward()
    plain = torch.cat([p.grad.flatten() for p in arm.parameters() if p.grad is not None])
    assert (fused - plain).norm() <= 1e-6 * plain.norm()


@pytest.mark.parametrize("micro", [None, 3])
def test_a_step_runs_the_body_once_for_each_micro_batch(make: Make, model: Model, micro: int | None) -> None:
    training = make(model(), Lora(r=4), runtime=Runtime(micro_batch=micro))
    rows: list[int] = []
    handle = training.student.lm.body.register_forward_hook(
        lambda module, args, kwargs, out: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    backward(training, training.views(0), [0.0], [True])
    handle.remove()
    assert rows == ([8] if micro is None else [3, 3, 2])
