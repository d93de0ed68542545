"""A step that memory does not hold is taken in smaller micro-batches, and is the same step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from netgain.adapters.lora import Lora
from netgain.models.lm import LM
from netgain.objectives.sampling import Answers
from netgain.objectives.term import Term
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.diversity import Diversity
from netgain.objectives.terms.kl import Kl
from netgain.spec.run import DevSpec, Runtime, Weighted
from netgain.training.arms import base_reference
from netgain.training.loop import StepRecord, Training, train
from netgain.training.probes import probe
from netgain.training.stop import watch

torch.set_num_threads(1)
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
}
Make = Callable[..., Training]


def short_of_memory(lm: LM, limit: int, error: Exception, after: int = 0) -> list[int]:
    """From the forward pass number `after` on, more than `limit` rows at once do not fit; the rows of each pass."""
    seen: list[int] = []

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(len(inputs[0]))
        if len(seen) > after and seen[-1] > limit:
            raise error

    lm.net.get_input_embeddings().register_forward_pre_hook(hook)
    return seen


def made(make: Make, lm: LM, term: Term | None = None, **runtime: Any) -> Training:
    objective = {"ce": Weighted(term=Ce()), "other": Weighted(term=term or Kl(), weight=0.3)}
    training = make(lm, Lora(r=4, dropout=0.1), objective=objective, runtime=Runtime(**runtime))
    training.references = {"base": base_reference(training.student)}
    return training


def taken(training: Training, dev: bool = False) -> list[StepRecord]:
    records = probe(train(training), training, 2)
    if dev:
        records = watch(records, training, [training.views(1000)], DevSpec(every=3), lambda arm: None)
    return list(records)


@pytest.mark.parametrize(
    ("kind", "begin", "limit", "after", "left"),
    [("cuda", None, 7, 0, 4), ("cpu", None, 4, 9, 4), ("cuda", 4, 2, 18, 2), ("cpu", 4, 1, 19, 1)],
)
def test_a_step_that_does_not_fit_is_the_same_step_in_parts(
    make: Make, model: Callable[..., LM], kind: str, begin: int | None, limit: int, after: int, left: int
) -> None:
    """Passes 17 to 20 are the third step in two parts: it fails when one of them is already in the gradients."""
    whole, small = model(), model()
    whole.net.double()
    small.net.double()
    expected = made(make, whole)
    steps = taken(expected, dev=True)
    seen = short_of_memory(small, limit, ERRORS[kind], after)
    training = made(make, small, micro_batch=begin)
    found = taken(training, dev=True)
    assert training.runtime.micro_batch == left
    assert max(seen[-8:]) <= limit
    equal(training, found, expected, steps)


def equal(training: Training, found: list[StepRecord], expected: Training, steps: list[StepRecord]) -> None:
    """The same steps, to rounding in float64."""
    for ours, theirs in zip(found, steps, strict=True):
        assert ours.tokens == theirs.tokens
        assert (ours.dev or ()) == pytest.approx(theirs.dev or (), rel=1e-9)
        a, b = ours.arms[0], theirs.arms[0]
        assert a is not None
        assert b is not None
        assert (a.loss, a.grad_norm) == pytest.approx((b.loss, b.grad_norm), rel=1e-9)
        assert a.probes.keys() == b.probes.keys()
        for name in a.probes:
            assert a.probes[name] == pytest.approx(b.probes[name], rel=1e-9)
    for name, tensor in expected.arms[0].adapter.state().items():
        assert torch.allclose(tensor, training.arms[0].adapter.state()[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("limit", "left", "through"), [(15, 8, lambda each: list(train(each))), (5, 4, taken)])
def test_sampled_answers_that_do_not_fit_are_the_same_answers_in_parts(
    make: Make, model: Callable[..., LM], limit: int, left: int, through: Callable[[Training], list[StepRecord]]
) -> None:
    """Rows are 8 a step, answers 16, of 4 prompts: they are drawn, read and differentiated by fewer at a time."""
    term = Diversity(samples=4, prompts=4, max_new_tokens=5, every=2, toward_base=0.1)
    runs: list[tuple[Training, list[StepRecord]]] = []
    for most in (limit, 10**9):
        lm = model()
        lm.net.double()
        seen = short_of_memory(lm, most, ERRORS["cuda"])
        training = made(make, lm, term)
        training.judge = lambda term, origin, texts: Answers(
            tuple(texts), lambda own: float(len({texts[i] for i in own}))
        )
        runs.append((training, through(training)))
        assert max(seen[-8:]) <= most
    (small, found), (whole, steps) = runs
    assert small.runtime.micro_batch == left
    assert [each.arms[0] and each.arms[0].sampled.keys() for each in found[:2]] == [{"other"}, set()]
    equal(small, found, whole, steps)


def test_a_row_that_never_fits_is_said_as_it_is(make: Make, model: Callable[..., LM]) -> None:
    lm = model()
    short_of_memory(lm, 0, ERRORS["cuda"])
    with pytest.raises(torch.OutOfMemoryError, match=r"2\.00 GiB"):
        taken(made(make, lm))


def test_what_is_not_about_memory_is_raised(make: Make, model: Callable[..., LM]) -> None:
    lm = model()
    seen = short_of_memory(lm, 0, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        taken(made(make, lm))
    assert len(seen) == 1
